"""Bearer tokens of an OpenID Connect issuer (JWT, RFC 7519) beside API keys: whose they are, and what they allow.

The issuer's public keys are read from its discovery document, kept, and read again when a token names an unknown one, at
most once in ten seconds. Symmetric signatures are never accepted.
"""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import jwt
from pydantic import BaseModel

from service.keys import OIDC, SCOPES, Key
from service.problems import ProblemError

LOG = logging.getLogger(__name__)
LEEWAY_S = 30  # clocks differ
KEEP_S = 3600.0  # how long keys are good without asking again
RETRY_S = 10.0  # the least time between two questions to the issuer
FETCH_S = 2.0
PREFIX = "orpr:"  # what a scope may be called at an issuer that serves other programs, too
LONGEST_NAME = 200
_ALGORITHMS = {"RSA": ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"], "EC": ["ES256", "ES384", "ES512"],
               "OKP": ["EdDSA"]}  # fmt: skip
_REASONS: list[tuple[type[jwt.InvalidTokenError], str]] = [
    (jwt.ExpiredSignatureError, "is expired"),
    (jwt.ImmatureSignatureError, "is not valid yet"),
    (jwt.InvalidAudienceError, "is for another audience"),
    (jwt.InvalidIssuerError, "is from another issuer"),
    (jwt.MissingRequiredClaimError, "lacks one of the claims exp, iss, aud and sub"),
    (jwt.InvalidAlgorithmError, "is not signed by an algorithm that is accepted"),
]


class _Discovery(BaseModel):
    issuer: str
    jwks_uri: str


class _KeySet(BaseModel):
    keys: list[dict[str, Any]]


class _Signer(NamedTuple):
    key: Any
    algorithms: list[str]


def is_token(text: str) -> bool:
    """Whether a credential has the form of a JWT; no API key has."""
    return text.count(".") == 2


def is_private(url: str) -> bool:
    """Whether nobody on the way can change what comes from there: HTTPS, or this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1"))


class Tokens:
    """Reads the tokens of one issuer."""

    def __init__(self, issuer: str, audience: str, claim: str) -> None:
        self._issuer, self._audience, self._claim = issuer, audience, claim
        self._keys: dict[str | None, _Signer] = {}
        self._fetched = self._tried = float("-inf")
        self._lock = threading.Lock()

    def holder(self, token: str) -> Key | str:
        """Whose token it is, or what is wrong with it.

        Raises:
            ProblemError: 503 where the issuer's keys are not known and it does not answer.
        """
        try:
            key = self._key(jwt.get_unverified_header(token).get("kid"))
            if key is None:
                return "is signed by a key that the issuer does not name"
            claims = jwt.decode(
                token, key.key, algorithms=key.algorithms, audience=self._audience, issuer=self._issuer, leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )  # fmt: skip
        except jwt.InvalidTokenError as error:
            return next((text for kind, text in _REASONS if isinstance(error, kind)), "is no token of this issuer")
        name = f"{OIDC}{claims['sub']}"
        if not name.isprintable() or not len(OIDC) < len(name) <= LONGEST_NAME:
            return "has a sub that is no name"
        return Key(name, name, _scopes(claims, self._claim))

    def _key(self, kid: str | None) -> _Signer | None:
        now = monotonic()
        if (kid not in self._keys or now - self._fetched > KEEP_S) and now - self._tried >= RETRY_S:
            with self._lock:
                if now - self._tried >= RETRY_S:  # nobody else asked while this request waited
                    self._fetch()
        if not self._keys:
            detail = "Authorization: the issuer of tokens does not answer; API keys are good as ever"
            raise ProblemError(
                503, "issuer-unavailable", "Tokens cannot be checked", detail, retry_after_s=int(RETRY_S)
            )
        return self._keys.get(kid)

    def _fetch(self) -> None:
        """Read the issuer's keys; those that are known stay where it does not answer."""
        try:
            with httpx.Client(timeout=FETCH_S) as client:
                answer = client.get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
                found = _Discovery.model_validate_json(answer.raise_for_status().content)
                if found.issuer != self._issuer or not is_private(found.jwks_uri):
                    raise ValueError("the document is another issuer's, or its keys come unencrypted")
                listed = _KeySet.model_validate_json(client.get(found.jwks_uri).raise_for_status().content)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            LOG.warning("the issuer of tokens does not answer well (%s)", type(error).__name__)
        else:
            self._keys, self._fetched = _usable(listed.keys), monotonic()
        self._tried = monotonic()


def _usable(listed: list[dict[str, Any]]) -> dict[str | None, _Signer]:
    """Public signing keys by their names; a single one also serves tokens that name none."""
    found: dict[str | None, _Signer] = {}
    for one in listed:
        algorithms = [name for name in _ALGORITHMS.get(str(one.get("kty")), []) if name == one.get("alg", name)]
        name = one.get("kid")
        if not algorithms or one.get("use", "sig") != "sig" or not isinstance(name, str | None):
            continue
        try:
            found[name] = _Signer(jwt.PyJWK(one).key, algorithms)
        except jwt.PyJWTError as error:
            LOG.warning("a key of the issuer cannot be used (%s)", type(error).__name__)
    if len(found) == 1:
        found[None] = next(iter(found.values()))
    return found


def _scopes(claims: dict[str, Any], claim: str) -> frozenset[str]:
    """Our scopes among the values of a claim; dots lead into objects where no claim has the whole name."""
    value: Any = claims
    for part in [claim] if claim in claims else claim.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    named = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return frozenset(scope for scope in SCOPES if scope in named or PREFIX + scope in named)
