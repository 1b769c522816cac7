"""Tokens of an OpenID Connect issuer: a real one over HTTP, with real keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from time import time
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from service.app import create_app
from service.settings import Settings
from tests.servers import Answer, Asked, Server
from tests.service.conftest import client_of

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
NEW = ec.generate_private_key(ec.SECP256R1())
OVERRIDE = {"selling_from": "2019-05-01", "selling_to": "2019-05-20", "mode": "set", "value": 9, "reason": "festival",
            "author": "ann"}  # fmt: skip


class Issuer(Server):
    """Serves a discovery document and a set of keys, and counts how often it is asked for them."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.keys: list[dict[str, Any]] = []
        self.asked = 0
        self.down = False
        self.named: str | None = None

    def _answer(self, asked: Asked) -> Answer:
        self.asked += asked.path == "/keys"
        document = {"issuer": self.named or self.url, "jwks_uri": f"{self.url}/keys"}
        told = {"keys": self.keys} if asked.path == "/keys" else document
        return Answer(500 if self.down else 200, json.dumps(told).encode())

    def token(self, key: Any = RSA, kid: str | None = "rsa", algorithm: str = "RS256", **claims: Any) -> str:
        """A good token for half a minute, but for what is given."""
        said = {"iss": self.url, "aud": "orpr", "sub": "ann", "exp": int(time()) + 30, "scope": "openid orpr:planner"}
        said = {name: value for name, value in (said | claims).items() if value is not None}
        return jwt.encode(said, key, algorithm, {"kid": kid} if kid else None)


def public(key: Any, kid: str, **more: str) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return algorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid} | more


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Issuer() as made:
        made.keys = [public(RSA, "rsa"), public(EC, "ec", use="sig", alg="ES256")]
        yield made


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("service.tokens.monotonic", made)
    return made


@pytest.fixture
def settings(sqlite_url: str, issuer: Issuer) -> Settings:
    return Settings(database_url=sqlite_url, oidc_issuer=issuer.url, oidc_audience="orpr")


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield http


async def read(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.get("/v1/overrides", headers={"Authorization": f"Bearer {token}"})


async def refused(client: httpx.AsyncClient, token: str) -> str:
    """Why a token is refused."""
    answer = await read(client, token)
    assert (answer.status_code, answer.json()["type"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert token not in answer.text
    return str(answer.json()["detail"])


async def test_a_good_token_opens_what_its_scopes_allow(client: httpx.AsyncClient, issuer: Issuer) -> None:
    for token in (issuer.token(), issuer.token(EC, "ec", "ES256"), issuer.token(algorithm="PS384")):
        assert (await read(client, token)).status_code == 200
    bearer = {"Authorization": f"Bearer {issuer.token()}"}
    written = await client.post("/v1/overrides", json=OVERRIDE, headers=bearer)
    assert written.status_code == 201
    history = await client.get(f"/v1/overrides/{written.json()['id']}/history", headers=bearer)
    assert "oidc:ann" in history.text
    assert issuer.asked == 1


async def test_a_token_without_the_scope_may_read_only(client: httpx.AsyncClient, issuer: Issuer) -> None:
    for scope in ("erp", "", None, "xplanner", 7, {"planner": 1}):
        bearer = {"Authorization": f"Bearer {issuer.token(scope=scope)}"}
        answer = await client.post("/v1/overrides", json=OVERRIDE, headers=bearer)
        assert (answer.status_code, answer.json()["type"]) == (403, "scope-missing")
        assert (await client.get("/v1/overrides", headers=bearer)).status_code == 200


@pytest.mark.parametrize("claim", ["realm_access.roles", "https://example.com/roles"])
async def test_scopes_are_read_from_the_claim_that_is_named(settings: Settings, issuer: Issuer, claim: str) -> None:
    app = create_app(settings.model_copy(update={"oidc_claim": claim}))
    roles = {"realm_access": {"roles": ["planner"]}, "https://example.com/roles": ["planner"]}
    bearer = {"Authorization": f"Bearer {issuer.token(scope=None, **roles)}"}
    async with client_of(app, "test", []) as http:
        del http.headers["X-API-Key"]
        assert (await http.post("/v1/overrides", json=OVERRIDE, headers=bearer)).status_code == 201
    app.state.store.close()


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": 1_000_000_000}, "is expired"),
        ({"nbf": 4_000_000_000}, "is not valid yet"),
        ({"aud": "another"}, "for another audience"),
        ({"iss": "https://evil.example"}, "from another issuer"),
        ({"exp": None}, "lacks one of the claims"),
        ({"sub": None}, "lacks one of the claims"),
        ({"aud": None}, "lacks one of the claims"),
        ({"sub": ""}, "no name"),
        ({"sub": "a\nb"}, "no name"),
        ({"sub": "x" * 300}, "no name"),
    ],
)
async def test_a_token_whose_claims_do_not_hold_is_refused(
    client: httpx.AsyncClient, issuer: Issuer, claims: dict[str, Any], said: str
) -> None:
    assert said in await refused(client, issuer.token(**claims))


def part(said: dict[str, Any] | bytes) -> bytes:
    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=")


async def test_a_token_without_a_signature_is_refused(client: httpx.AsyncClient, issuer: Issuer) -> None:
    claims = issuer.token().split(".")[1].encode()
    for name in ("none", "None", "NONE"):
        token = b".".join([part({"alg": name, "kid": "rsa"}), claims, b""]).decode()
        assert "algorithm" in await refused(client, token)


async def test_the_public_key_is_no_shared_secret(client: httpx.AsyncClient, issuer: Issuer) -> None:
    claims = issuer.token().split(".")[1].encode()
    signed = part({"alg": "HS256", "kid": "rsa", "typ": "JWT"}) + b"." + claims
    for secret in (RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
                   json.dumps(issuer.keys[0]).encode()):  # fmt: skip
        signature = part(hmac.new(secret, signed, hashlib.sha256).digest())
        assert "algorithm" in await refused(client, (signed + b"." + signature).decode())


async def test_a_shared_secret_among_the_keys_is_not_used(client: httpx.AsyncClient, issuer: Issuer) -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    issuer.keys.append({"kty": "oct", "kid": "oct", "k": part(secret).decode()})
    assert "key that the issuer does not name" in await refused(client, issuer.token(secret, "oct", "HS256"))


async def test_a_token_that_another_key_signed_is_refused(client: httpx.AsyncClient, issuer: Issuer) -> None:
    assert "no token of this issuer" in await refused(client, issuer.token(NEW, "ec", "ES256"))
    assert "algorithm" in await refused(client, issuer.token(EC, "rsa", "ES256"))
    good = issuer.token().split(".")
    forged = part(json.loads(base64.urlsafe_b64decode(good[1] + "==")) | {"sub": "root"}).decode()
    assert "no token of this issuer" in await refused(client, f"{good[0]}.{forged}.{good[2]}")
    for rubbish in ("a.b.c", "..", good[0] + ".x." + good[2]):
        assert "no token of this issuer" in await refused(client, rubbish)


async def test_a_rotated_key_works_at_once_and_made_up_names_ask_the_issuer_seldom(
    client: httpx.AsyncClient, issuer: Issuer, clock: Clock
) -> None:
    assert (await read(client, issuer.token())).status_code == 200
    issuer.keys = [public(NEW, "new")]
    for n in range(5):
        assert "does not name" in await refused(client, issuer.token(kid=f"made-up-{n}"))
    assert issuer.asked == 1
    clock.now += 10
    assert (await read(client, issuer.token(NEW, "new", "ES256"))).status_code == 200
    assert "does not name" in await refused(client, issuer.token())
    assert (await read(client, issuer.token(NEW, None, "ES256"))).status_code == 200  # the only one there is
    assert issuer.asked == 2


async def test_while_the_issuer_is_down_known_keys_go_on(
    client: httpx.AsyncClient, issuer: Issuer, clock: Clock
) -> None:
    assert (await read(client, issuer.token())).status_code == 200
    issuer.down = True
    clock.now += 4000
    assert (await read(client, issuer.token())).status_code == 200


@pytest.mark.parametrize("fault", ["down", "named"])
async def test_without_the_issuers_keys_tokens_wait_and_api_keys_work(
    app: FastAPI, client: httpx.AsyncClient, issuer: Issuer, clock: Clock, fault: str
) -> None:
    setattr(issuer, fault, True if fault == "down" else "https://evil.example")
    answer = await read(client, issuer.token())
    assert (answer.status_code, answer.json()["type"]) == (503, "issuer-unavailable")
    assert answer.headers["retry-after"] == "10"
    async with client_of(app, "erp") as with_key:
        assert (await with_key.get("/v1/overrides")).status_code == 200
    setattr(issuer, fault, False if fault == "down" else None)
    clock.now += 10
    assert (await read(client, issuer.token())).status_code == 200


async def test_bad_tokens_count_against_their_address(settings: Settings, issuer: Issuer) -> None:
    app = create_app(settings.model_copy(update={"bad_keys_per_minute": 2}))
    async with client_of(app, "test") as http:
        del http.headers["X-API-Key"]
        tried = [(await read(http, issuer.token(aud="another"))).status_code for _ in range(3)]
        assert tried == [401, 401, 429]
        assert (await read(http, issuer.token())).status_code == 200
    app.state.store.close()


async def test_no_key_may_be_named_like_a_token_holder(app: FastAPI) -> None:
    with pytest.raises(ValueError, match="oidc:"):
        app.state.keys.add("oidc:ann")


async def test_without_an_issuer_no_token_is_good(sqlite_url: str, issuer: Issuer) -> None:
    app = create_app(Settings(database_url=sqlite_url))
    async with client_of(app, "test") as http:
        del http.headers["X-API-Key"]
        assert (await read(http, issuer.token())).status_code == 401
    app.state.store.close()
