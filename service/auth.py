"""Who may call what: API keys in a header, and a signed cookie for the pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import APIKeyHeader, HTTPBearer
from itsdangerous import BadSignature, TimestampSigner

from service.idempotency import IdempotencyKey, Write, digest_of
from service.keys import ERP, OPS, PLANNER, Key
from service.keys import digest_of as digest_of_key
from service.problems import ProblemError
from service.view import View

COOKIE = "orpr_session"
SESSION_S = 12 * 3600

_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key of this installation.")
_bearer = HTTPBearer(auto_error=False, description="The same key as a bearer token.")


async def caller(
    request: Request,
    key: Annotated[str | None, Security(_header)],
    bearer: Annotated[object | None, Security(_bearer)],
) -> Key:
    """The key that the request carries.

    Raises:
        ProblemError: 401 without one that is good.
    """
    given = key or getattr(bearer, "credentials", None)
    view: View = request.app.state.view
    if view.behind:
        await run_in_threadpool(view.catch_up)
    found = view.key(digest_of_key(given)) if given else None
    if found is None:
        problem = "no API key was sent" if not given else "the API key is not known, revoked or at its end"
        raise ProblemError(401, "unauthorized", "An API key is required", f"X-API-Key: {problem}")
    return found


def key_of(view: View, given: str | None) -> Key | None:
    """The good key of that text; None where it is none. The view is brought up to date first where it is not."""
    if not given:
        return None
    view.catch_up()
    return view.key(digest_of_key(given))


Caller = Annotated[Key, Depends(caller)]


def check_scope(key: Key, scope: str) -> None:
    """Raise a ProblemError, 403, where the key may not do this."""
    if scope not in key.scopes:
        detail = (
            f"X-API-Key: the key {key.name!r} lacks the scope {scope}; it has {', '.join(sorted(key.scopes)) or 'none'}"
        )
        raise ProblemError(403, "scope-missing", "The key may not do this", detail)


def _writing(scope: str) -> Callable[..., object]:
    async def write_of(request: Request, key: Caller, idempotency_key: IdempotencyKey = None) -> Write:
        check_scope(key, scope)
        return Write(key.name, idempotency_key, await digest_of(request))

    return write_of


ErpWrite = Annotated[Write, Depends(_writing(ERP))]
PlannerWrite = Annotated[Write, Depends(_writing(PLANNER))]
OpsWrite = Annotated[Write, Depends(_writing(OPS))]


class Sessions:
    """Cookies that say a browser has shown a key; they end with it."""

    def __init__(self, secret: str, view: View) -> None:
        self._signer, self._view = TimestampSigner(secret, salt="orpr-pages"), view

    def issue(self, key: Key) -> str:
        """A cookie value for a key."""
        return self._signer.sign(key.digest).decode()

    def key_of(self, cookie: str | None) -> Key | None:
        """Whose cookie it is; None where it is missing, forged, older than twelve hours, or its key is no longer good."""
        if not cookie:
            return None
        try:
            digest = self._signer.unsign(cookie, max_age=SESSION_S).decode()
        except (BadSignature, ValueError):
            return None
        self._view.catch_up()
        found = self._view.key(digest)
        return found if found is not None and PLANNER in found.scopes else None
