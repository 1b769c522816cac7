"""How commands ask a running service: its address, and what becomes of its refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from orpr.client import Client

WAITS_S = (0.5, 2.0)  # before the second and the third try; somebody sits at the screen
HERE = "http://127.0.0.1:8000"

Url = Annotated[str, typer.Option(help="Where the service listens.", envvar="ORPR_URL")]


@contextmanager
def service_at(url: str, key: str) -> Iterator[Client]:
    """The service that is asked; what it refuses is the caller's to mend, what may pass is not.

    Raises:
        ValueError: where it refuses, or what it would be sent cannot be right.
        RuntimeError: where it does not answer, or has no time.
    """
    from pydantic import ValidationError

    from orpr.client import Client, ServiceProblem
    from orpr.sending import PASSING

    with Client(url, key, waits_s=WAITS_S) as client:
        try:
            yield client
        except ServiceProblem as problem:
            if problem.status in PASSING:
                raise
            raise ValueError(str(problem)) from None
        except ValidationError as error:  # of a body, before it is sent
            said = (
                f"{'.'.join(map(str, one['loc']))}: {one['msg']}, got {one['input']!r:.80}" for one in error.errors()
            )
            raise ValueError("; ".join(said)) from None
