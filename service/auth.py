"""Who may call what: API keys and tokens in a header, and a signed cookie for the pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from itsdangerous import BadSignature, TimestampSigner
from starlette.concurrency import run_in_threadpool

from service import idempotency
from service.idempotency import IdempotencyKey, Write
from service.keys import ERP, OPS, PLANNER, Key, digest_of
from service.problems import ProblemError, store_unavailable
from service.quotas import ADDRESS, KEY, Quotas, address_of
from service.tokens import Tokens, is_token
from service.view import View

COOKIE = "orpr_session"
SESSION_S = 12 * 3600
CLOCKS_DIFFER_S = 300  # a cookie may come from a process whose clock is so much ahead

_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key of this installation.")
_bearer = HTTPBearer(auto_error=False, description="The same key as a bearer token, or a JWT of the OIDC issuer.")


async def caller(
    request: Request,
    key: Annotated[str | None, Security(_header)],
    bearer: Annotated[object | None, Security(_bearer)],
) -> Key:
    """The key that the request carries.

    Raises:
        ProblemError: 401 without one that is good, 429 where its quota is used up, or that of an address for bad ones.
    """
    given = key or getattr(bearer, "credentials", None)
    tokens: Tokens | None = request.app.state.tokens
    if tokens is not None and key is None and given and is_token(given):
        found: Key | None = await _holder(request, tokens, given)
    else:
        found = await find_key(request, given)
    if found is None:
        problem = "no API key was sent" if not given else "the API key is not known, revoked or at its end"
        raise ProblemError(401, "unauthorized", "An API key is required", f"X-API-Key: {problem}")
    quotas: Quotas = request.app.state.quotas
    request.state.quota = quotas.count(KEY, found.digest)
    quotas.check(request.state.quota)
    request.state.key = found.name
    return found


async def _holder(request: Request, tokens: Tokens, token: str) -> Key:
    """Whose token it is. A signature cannot be guessed, so it is looked at whatever else came from the address."""
    found = await run_in_threadpool(tokens.holder, token)
    if isinstance(found, Key):
        return found
    _count_failure(request)
    raise ProblemError(401, "unauthorized", "An API key is required", f"Authorization: the token {found}")


def _count_failure(request: Request) -> None:
    quotas: Quotas = request.app.state.quotas
    request.state.quota = quotas.count(ADDRESS, address_of(request))
    quotas.check(request.state.quota)


async def find_key(request: Request, given: str | None) -> Key | None:
    """The good key of a text that a request carries; None where it is none, which is counted.

    Raises:
        ProblemError: 429 where too many were none from the same address. Keys that were good before are let through, so
            that nobody who shares an address with a guesser is shut out.
    """
    view: View = request.app.state.view
    quotas: Quotas = request.app.state.quotas
    if given is None or not quotas.knows(digest_of(given)):
        request.state.quota = quotas.count(ADDRESS, address_of(request), 0)
        quotas.check(request.state.quota, before=True)
    if view.behind:
        await run_in_threadpool(view.catch_up)
    found = view.key(digest_of(given)) if given else None
    if found is None and given and not request.app.state.store.database.down:
        await run_in_threadpool(view.try_refresh)  # it may be new; how often somebody can bring this about is limited
        found = view.key(digest_of(given))
    if found is None:
        if view.as_of is None:
            raise store_unavailable("No key is known yet; send the request again in a moment.")
        _count_failure(request)
        if given and request.app.state.store.database.down:  # it may have been made a moment ago
            raise store_unavailable(
                "The key is not known, and whether it is new cannot be found out; send the request again in a moment."
            )
        return None
    quotas.remember(found.digest)
    return found


Caller = Annotated[Key, Depends(caller)]


def check_scope(key: Key, *scopes: str) -> None:
    """Raise a ProblemError, 403, where the key may not do this: it takes one of the scopes."""
    if not key.scopes & set(scopes):
        has = ", ".join(sorted(key.scopes)) or "none"
        detail = f"X-API-Key: the key {key.name!r} lacks the scope {' or '.join(scopes)}; it has {has}"
        raise ProblemError(403, "scope-missing", "The key may not do this", detail)


def _writing(scope: str) -> Callable[..., object]:
    async def write_of(request: Request, key: Caller, idempotency_key: IdempotencyKey = None) -> Write:
        check_scope(key, scope)
        return Write(key.name, idempotency_key, await idempotency.digest_of(request))

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
            digest, issued = self._signer.unsign(cookie, return_timestamp=True)
        except (BadSignature, ValueError):
            return None
        if not -CLOCKS_DIFFER_S <= (datetime.now(UTC) - issued).total_seconds() <= SESSION_S:
            return None
        self._view.catch_up()
        found = self._view.key(digest.decode())
        return found if found is not None and PLANNER in found.scopes else None
