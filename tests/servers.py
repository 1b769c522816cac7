"""HTTP servers of a test's own, on loopback and in a thread: of any making, and one that stands before a service and falters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import httpx


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str  # with its query
    headers: dict[str, str]
    body: bytes

    def header(self, name: str) -> str | None:
        """A header, whatever its case."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)


class Answer(NamedTuple):
    """What is answered to it."""

    status: int
    content: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})


class Server:
    """Answers each request as `answer` says; None: the connection is broken off without an answer."""

    def __init__(self, answer: Callable[[Asked], Answer | None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                told = answer(Asked(self.command, self.path, dict(self.headers), body))
                if told is None:
                    self.close_connection = True
                    return
                self.send_response(told.status)
                for name, value in {**told.headers, "Content-Length": str(len(told.content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(told.content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - http.server names them

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Flaky(Server):
    """Stands before a service and treats each request as the next word of its plan says; after that all pass.

    `lost`: the service gets it and answers, the caller sees a broken connection. A number: it gets this status and a
    `Retry-After` of 7, and the service nothing. `pass`: as if nobody stood there.
    """

    def __init__(self, target: str, *plan: str | int) -> None:
        super().__init__(self._answer)
        self.seen: list[tuple[str, str, str | None]] = []  # method, path, Idempotency-Key
        self._target, self._plan = target, plan

    def _answer(self, asked: Asked) -> Answer | None:
        word = self._plan[len(self.seen)] if len(self.seen) < len(self._plan) else "pass"
        self.seen.append((asked.method, asked.path, asked.header("Idempotency-Key")))
        if isinstance(word, int):
            return Answer(word, b"busy", {"Retry-After": "7"})
        kept = {name: value for name, value in asked.headers.items() if name.lower() not in ("host", "connection")}
        told = httpx.request(
            asked.method, f"{self._target}{asked.path}", content=asked.body, headers=kept, timeout=30, trust_env=False
        )
        if word == "lost":
            return None
        return Answer(told.status_code, told.content, {"Content-Type": told.headers["Content-Type"]})
