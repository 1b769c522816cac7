"""What happens around every request: a number of its own, a limit on its body, and an answer to what nothing else answered."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from service.problems import ProblemError, answer_to

HEADER = "X-Request-ID"
_GOOD = re.compile(r"[A-Za-z0-9._:-]{1,100}")


class Requests:
    """ASGI middleware, around all others but the metrics.

    The caller's `X-Request-ID` is kept where it is harmless in a log line, else one is drawn; answers carry it. A body
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
        given = dict(scope["headers"]).get(HEADER.lower().encode(), b"").decode("latin-1")
        number = given if _GOOD.fullmatch(given) else uuid4().hex
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = number
        read, whole, started = 0, False, False
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

        async def named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers[HEADER] = number
                headers.update(state["quota"].headers if "quota" in state else {})
            await send(message)

        try:
            await self._app(scope, limited, named)
        except Exception as error:
            if started:  # half an answer cannot be taken back: the server breaks the connection off
                raise
            await answer_to(error)(scope, receive, named)

    async def _channel(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except ProblemError as error:
            await WebSocketClose(1008, error.problem.type)(scope, receive, send)
