"""What happens around every request: a number of its own, a line in the log, a limit on its body, and an answer to what
nothing else answered."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Any
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose
from structlog.contextvars import bound_contextvars

from service.hosts import PROBES
from service.problems import ProblemError, answer_to
from service.tracing import trace_of

LOG = logging.getLogger(__name__)
GONE = 499  # what the log says of a caller who did not stay for the answer
HEADER = "X-Request-ID"
_GOOD = re.compile(r"[A-Za-z0-9._:-]{1,100}")


class Requests:
    """ASGI middleware, around all others but the metrics.

    The caller's `X-Request-ID` is kept where it is harmless in a log line, else one is drawn; answers carry it, and with
    the trace it stands in every line that the request leaves in the log. A body
    that is longer than allowed, whether its length was announced or not, or slower, ends in a problem document; so does
    every error that the middlewares and routes inside let out.
    """

    def __init__(self, app: ASGIApp, most_bytes: int, body_wait_s: float) -> None:
        self._app, self._most_bytes, self._body_wait_s = app, most_bytes, body_wait_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._channel(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        given = headers.get(HEADER.lower().encode(), b"").decode("latin-1")
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = number = given if _GOOD.fullmatch(given) else uuid4().hex
        trace = trace_of(headers.get(b"traceparent", b"").decode("latin-1"))
        began = time.perf_counter()
        with bound_contextvars(request_id=number, **trace._asdict()):
            status = 500
            try:
                status = await self._answer(scope, receive, send)
            finally:
                _note(scope, status, time.perf_counter() - began)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Let the request through; the status that it was answered with."""
        state, status = scope["state"], 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                headers = MutableHeaders(scope=message)
                headers[HEADER] = state["request_id"]
                headers.update(state["quota"].headers if "quota" in state else {})
            await send(message)

        try:
            await self._app(scope, self._limited(receive), named)
        except ClientDisconnect:
            return GONE
        except Exception as error:
            response = answer_to(error)
            if status:  # half an answer cannot be taken back: the server breaks the connection off
                raise
            await response(scope, receive, named)
        return status

    def _limited(self, receive: Receive) -> Receive:
        read, whole = 0, False
        until = asyncio.get_running_loop().time() + self._body_wait_s

        async def limited() -> Message:
            nonlocal read, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the body did not arrive within {self._body_wait_s:g} s") from None
            read, whole = read + len(message.get("body", b"")), not message.get("more_body", False)
            if read > self._most_bytes:
                raise HTTPException(413, f"the body is longer than {self._most_bytes:,} bytes")
            return message

        return limited

    async def _channel(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except ProblemError as error:
            await WebSocketClose(1008, error.problem.type)(scope, receive, send)


def _note(scope: Scope, status: int, seconds: float) -> None:
    """One line a request; probes that succeed are for those who look for everything."""
    level = logging.DEBUG if scope["path"] in PROBES and status < 400 else logging.INFO
    if LOG.isEnabledFor(level):
        route = getattr(scope.get("route"), "path", None) or "other"
        said = {"method": scope["method"], "route": route, "status": status, "duration_ms": round(seconds * 1000, 2)}
        LOG.log(level, "request", extra=said | {"key": scope["state"].get("key")})
