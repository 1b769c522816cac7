"""How much the service takes on at once: beyond it requests wait a moment, and then are told to come back."""

from __future__ import annotations

import asyncio

from prometheus_client import Counter
from starlette.types import ASGIApp, Receive, Scope, Send

from service.hosts import PROBES
from service.planner.mount import CHANNEL
from service.problems import ProblemError

RETRY_S = 1


class Shedding:
    """ASGI middleware: at most `most` requests are in work; others wait in line, up to `wait_s`, and then get a 503.

    So whoever is let in is served in bounded time, and under ten times the load the service still answers everyone. Probes
    never wait: an orchestrator that restarts a busy process makes it worse. The planner page's channel does not count,
    as it stays open for as long as its page.
    """

    def __init__(self, app: ASGIApp, most: int, wait_s: float, shed: Counter) -> None:
        self._app, self._most, self._wait_s, self._shed = app, most, wait_s, shed
        self._places = asyncio.Semaphore(most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES or scope["path"].startswith(CHANNEL):
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._wait_s):
                await self._places.acquire()
        except TimeoutError:
            self._shed.labels("overloaded").inc()
            detail = f"{self._most} requests are in work; nothing was done, send it again in a moment"
            raise ProblemError(503, "overloaded", "Too much at once", detail, retry_after_s=RETRY_S) from None
        try:
            await self._app(scope, receive, send)
        finally:
            self._places.release()
