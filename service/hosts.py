"""By which names the service is reached, and which sites' pages may write to it: the checks of Host and Origin.

A page of another site cannot have a browser use our cookie (Origin), nor reach a service on the planner's own machine
by pointing a name of its own at it (Host).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from service.auth import COOKIE
from service.planner.mount import CHANNEL
from service.problems import ProblemError

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
PROBES = ("/healthz", "/readyz", "/metrics")  # asked by address, and they tell nothing about the data
_SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"(https?)://" + _HOST.pattern)
_PORTS = {"http": "80", "https": "443"}


def host_name(address: str) -> str:
    """An address as it stands in a Host header."""
    return f"[{address}]" if ":" in address else address


class Origin(NamedTuple):
    """Where a page comes from."""

    scheme: str
    host: str
    port: str


def origin_of(text: str) -> Origin | None:
    """An Origin header's parts; None where it names none, as `null` does."""
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    scheme, host, port = found.groups()
    return Origin(scheme, host.lower(), port or _PORTS[scheme])


class HostAndOrigin:
    """ASGI middleware: requests and channels under an unknown name, or from another site's page, go no further.

    An Origin is asked of everything that changes something on the strength of the cookie, and wherever one is sent with
    an unsafe method or to the planner's channel it has to be the service's own or one of `origins`.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], origins: Collection[str], *, tls: bool) -> None:
        self._app, self._tls = app, tls
        self._hosts = {host.lower() for host in hosts}
        self._origins = {origin_of(origin) for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"] not in PROBES:
            self._check(scope)
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        named = _values(scope, b"host")
        host = _HOST.fullmatch(named[0]) if len(named) == 1 else None
        if host is None or not (host[1].lower() in self._hosts or "*" in self._hosts):
            detail = (
                f"Host: {', '.join(named)[:100]!r} is no name of this service; an operator adds names to ORPR_HOSTS"
            )
            raise ProblemError(400, "host-unknown", "The service does not go by this name", detail)
        channel = scope["type"] == "websocket" or scope["path"].startswith(CHANNEL)
        if scope.get("method", "GET") in _SAFE and not channel:
            return
        given = _values(scope, b"origin")
        if not given:
            safe = scope.get("method") in _SAFE  # the channel's first steps; a browser sends no Origin with its own
            if not safe and _has_cookie(scope):
                detail = f"Origin: a request with the cookie {COOKIE} needs one; programs send an API key instead"
                raise ProblemError(403, "origin-missing", "The request names no origin", detail)
        elif not self._may_write(given, host):
            detail = (
                f"Origin: {', '.join(given)[:100]!r} is not this service's own; an operator adds others to ORPR_ORIGINS"
            )
            raise ProblemError(403, "origin-foreign", "The request comes from another site's page", detail)

    def _may_write(self, given: list[str], host: re.Match[str]) -> bool:
        origin = origin_of(given[0]) if len(given) == 1 else None
        if origin is None:
            return False
        if origin in self._origins:
            return True
        own = Origin(origin.scheme, host[1].lower(), host[2] or _PORTS[origin.scheme])
        return origin == own and (origin.scheme == "https" or not self._tls)


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _has_cookie(scope: Scope) -> bool:
    return any(COOKIE in cookies for cookies in _values(scope, b"cookie"))
