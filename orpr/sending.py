"""HTTP requests that are sent until they are answered: the tries, waits and error words of all that calls another system."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

TIMEOUT = httpx.Timeout(120.0, connect=5.0)
WAITS_S = (0.5, 2.0, 8.0)  # before the second, third and fourth try
LONGEST_WAIT_S = 60.0  # a server that asks for more is not waited for
PASSING = (429, 502, 503, 504)
UNDER_WAY = "request-under-way"  # the same write, sent before, has not ended yet
MOST_WORDS = 300


class Unanswered(RuntimeError):
    """The other side could not be reached, or broke off; what was sent may have been done or not."""


class Sender:
    """Sends to one base URL."""

    def __init__(
        self, url: str, headers: Mapping[str, str], waits_s: Sequence[float] = WAITS_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        """Nothing is sent yet.

        Args:
            url: what all paths are added to.
            headers: of every request.
            waits_s: seconds before the second and every further try; their number bounds the tries.
            sleep: what waits.

        Raises:
            ValueError: where the URL names no host, or carries a name or password; where a header cannot be sent.
        """
        try:
            parts = urlsplit(url)
            httpx.URL(url)
        except (ValueError, httpx.InvalidURL) as error:
            raise ValueError(f"{url}: the URL must be http(s)://HOST ({error})") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url}: the URL must be http(s)://HOST and names no host")
        if parts.username or parts.password:
            raise ValueError(f"{parts.scheme}://…@{parts.hostname}: a URL must not carry a name or password")
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):  # httpx would name the value, which may be a secret
                raise ValueError(f"{name}: holds a character that no header may hold, a line break perhaps")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._waits, self._sleep = tuple(waits_s), sleep
        self._http = httpx.Client(headers=dict(headers), timeout=TIMEOUT)
        self.close = weakref.finalize(self, self._http.close)  # called at the latest when the sender is gone

    @property
    def tries(self) -> int:
        """How often a request is sent at most."""
        return len(self._waits) + 1

    def send(self, method: str, path: str, *, repeatable: bool = True, **parts: Any) -> httpx.Response:
        """The answer, also where it is an error; the last one where all were errors that may pass.

        Args:
            method: of HTTP.
            path: after the base URL.
            repeatable: whether sending it twice does it once; what is not is sent once.
            parts: of `httpx.Client.request`: params, json, content, headers.

        Raises:
            Unanswered: where no answer came.
        """
        said = ""
        for wait in (*(self._waits if repeatable else ()), None):
            response = None
            try:
                response = self._http.request(method, f"{self.url}{path}", **parts)
            except httpx.TransportError as error:
                said = f"{type(error).__name__}: {error}"
            if response is not None and (wait is None or not may_pass(response)):
                return response
            asked = 0.0 if response is None else _retry_after(response)
            if response is not None and asked > LONGEST_WAIT_S:
                return response
            if wait is not None:
                self._sleep(max(wait, asked))
        tries = self.tries if repeatable else 1
        raise Unanswered(f"no answer after {tries} {'try' if tries == 1 else 'tries'}: {one_line(said)}")


def may_pass(response: httpx.Response) -> bool:
    """Whether the same request may be answered otherwise in a moment."""
    if response.status_code == httpx.codes.CONFLICT:
        told = json_of(response)
        return isinstance(told, dict) and told.get("type") == UNDER_WAY
    return response.status_code in PASSING


def json_of(response: httpx.Response) -> Any:
    """The body as JSON; None where it is none."""
    try:
        return response.json()
    except ValueError:
        return None


def one_line(text: str) -> str:
    """Text as it may stand in a log: one line, and not a long one."""
    line = " ".join(text.split())
    return line if len(line) <= MOST_WORDS else f"{line[:MOST_WORDS]}…"


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the server asks to wait; 0 where it names none, or a date."""
    told = response.headers.get("Retry-After", "")
    return float(told) if told.isdecimal() else 0.0
