"""The policy with its graph in one piece, as anybody runs it who has no rows that were read ahead."""

from __future__ import annotations

from pathlib import Path

from service.bundle import GRAPH
from service.graph import load
from service.policy import Policy


class WholePolicy(Policy):
    """Answers by one ONNX run of each chunk."""

    def __init__(self, bundle: Path) -> None:
        super().__init__(bundle)
        self.graph = load((bundle / GRAPH).read_bytes())
