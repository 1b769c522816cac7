"""Who may call: API keys in a header, and a signed cookie for the pages."""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from itsdangerous import BadSignature, TimestampSigner

from service.idempotency import Key, Write, digest_of
from service.problems import ProblemError
from service.store import Store

COOKIE = "orpr_session"
SESSION_S = 12 * 3600

_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key of this installation.")
_bearer = HTTPBearer(auto_error=False, description="The same key as a bearer token.")


def caller(
    request: Request,
    key: Annotated[str | None, Security(_header)],
    bearer: Annotated[object | None, Security(_bearer)],
) -> str:
    """The name of the key that the request carries.

    Raises:
        ProblemError: 401 without a valid key.
    """
    given = key or getattr(bearer, "credentials", None)
    store: Store = request.app.state.store
    name = store.key_name(given) if given else None
    if name is None:
        problem = "no API key was sent" if not given else "the API key is not known"
        raise ProblemError(401, "unauthorized", "An API key is required", f"X-API-Key: {problem}")
    return name


Caller = Annotated[str, Depends(caller)]


async def write_of(request: Request, name: Caller, key: Key = None) -> Write:
    """A request that changes something, by its caller."""
    return Write(name, key, await digest_of(request))


Writing = Annotated[Write, Depends(write_of)]


class Sessions:
    """Cookies that say a browser has shown a valid key."""

    def __init__(self, secret: str) -> None:
        self._signer = TimestampSigner(secret, salt="orpr-pages")

    def issue(self, name: str) -> str:
        """A cookie value for the key of that name."""
        return self._signer.sign(base64.urlsafe_b64encode(name.encode())).decode()

    def name_of(self, cookie: str | None) -> str | None:
        """Whose cookie it is; None where it is missing, forged or older than twelve hours."""
        if not cookie:
            return None
        try:
            return base64.urlsafe_b64decode(self._signer.unsign(cookie, max_age=SESSION_S)).decode()
        except (BadSignature, ValueError):
            return None
