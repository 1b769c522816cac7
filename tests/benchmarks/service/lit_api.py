"""The decision as a LitServe API; a module of its own, because LitServe is not always installed, its worker imports it anew, and
it reads annotations as they stand, which postponed ones do not.
"""

from pathlib import Path
from typing import Any

import litserve

from tests.benchmarks.service.peers import Decider


class DecisionAPI(litserve.LitAPI):
    """Decode, predict, encode."""

    def __init__(self, source: str, data: Path, database_url: str) -> None:
        super().__init__()
        self._made_of = source, data, database_url

    def setup(self, device: str) -> None:
        """In the worker."""
        self._decider = Decider(*self._made_of)

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        """Features, stock and rules."""
        return self._decider.decode(request)

    def predict(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The network."""
        return self._decider.predict(asked)

    def encode_response(self, told: dict[str, Any]) -> dict[str, Any]:
        """Orders."""
        return self._decider.encode(told)
