"""What happens around every request: a number of its own, and a limit on its body."""

from __future__ import annotations

import re
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-ID"
_GOOD = re.compile(r"[A-Za-z0-9._:-]{1,100}")


class Requests:
    """ASGI middleware.

    The caller's `X-Request-ID` is kept where it is harmless in a log line, else one is drawn; answers carry it, all but those to a
    failure of the service itself. A body
    that is longer than allowed ends in a problem document, whether its length was announced or not.
    """

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app, self._most_bytes = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(HEADER.lower().encode(), b"").decode("latin-1")
        number = given if _GOOD.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = number
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most_bytes:
                raise HTTPException(413, f"the body is longer than {self._most_bytes:,} bytes")
            return message

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = number
            await send(message)

        await self._app(scope, limited, named)
