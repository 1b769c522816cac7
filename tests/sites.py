"""What stand-in ERPs share: an HTTP server over records in memory whose answers can be lost."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

Row = dict[str, Any]
MOMENT = "%Y-%m-%d %H:%M:%S"


class Refusal(Exception):
    """Becomes an error answer: its status, the exception's name in the ERP, and what it says."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status, self.name, self.message = status, name, message


class Site:
    """An HTTP server; subclasses answer. `lose` is the number of writes that are done and whose answers are lost."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.lose = 0
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                site.calls.append(f"{self.command} {unquote(urlsplit(self.path).path)}")
                try:
                    status, told = 200, site.answer(self.command, self.path, dict(self.headers), body)
                except Refusal as refusal:
                    status, told = refusal.status, site.error(refusal)
                if site.lose and status == 200 and site.writes(self.command, self.path):
                    site.lose -= 1
                    self.close_connection = True
                    return
                content = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _any  # noqa: N815 - http.server names them

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

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        raise NotImplementedError

    def error(self, refusal: Refusal) -> Any:
        raise NotImplementedError

    def writes(self, method: str, path: str) -> bool:
        raise NotImplementedError


def compared(found: Any, operator: str, value: Any) -> bool:
    """Whether a field meets one condition, as SQL would say."""
    if operator in ("=", "!=", "in", "not in"):
        same = found in value if "in" in operator else found == value
        return same if operator in ("=", "in") else not same
    if operator in ("like", "ilike"):
        pattern = ".*".join(re.escape(part) for part in str(value).split("%"))
        whole = "%" in str(value)
        return bool(found) and bool((re.fullmatch if whole else re.search)(pattern, str(found)))
    if found is None or found is False:
        return False
    return bool({"<": found < value, "<=": found <= value, ">": found > value, ">=": found >= value}[operator])
