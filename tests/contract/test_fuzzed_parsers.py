"""Every parser of what comes from outside, under anything: a value, or the parser's own error; never another exception.

Feeds are fuzzed in test_fuzzed_feeds.py, answers of other systems in test_fuzzed_answers.py, dataset files in
tests/simulator/test_canonical.py, sales lines in tests/orpr/test_importing.py, bundles in
test_fuzzed_bundles.py, bodies and parameters of requests in test_fuzzed_api.py. `ORPR_FUZZ_CASES=5000` tries so many cases a parser.
"""

# ruff: noqa: PT017 - a property of either a value or an error; neither has to come

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from orpr.import_settings import ColumnMap
from orpr.sending import Sender
from service.cursors import cursor_of, place_of
from service.decision_schemas import OutcomeRequest
from service.decisions import Decisions
from service.hold_schemas import ReleaseRequest, StopRequest
from service.hosts import host_name, origin_of
from service.keys import Key
from service.override_schemas import BulkRequest, OverrideChange, OverrideRequest
from service.policy_schemas import CanaryRequest, ReasonRequest, RegisterRequest
from service.problems import ProblemError
from service.quotas import address_of
from service.safety import UnsafeSettings, is_loopback, refuse_unsafe
from service.schemas import RecommendationRequest
from service.settings import Settings
from service.spool import Spool
from service.store import Store
from service.tokens import Tokens, _Signer, _usable
from service.tracing import trace_of
from service.what_if_schemas import WhatIfRequest
from tests.contract.fuzzing import days, many, recording, texts, values

recorded = recording("every other parser")


# ------------------------------------------------------------------------------------------------- cursors and bodies


@many
@given(st.lists(st.text(max_size=20) | st.integers(-(2**63) + 1, 2**63 - 1), min_size=1, max_size=4))
def test_a_cursor_gives_back_the_place_that_it_was_made_of(place: list[str | int]) -> None:
    try:
        text = cursor_of(*place)
    except UnicodeEncodeError:  # half a surrogate pair, which no stored text has
        return
    assert place_of(text, tuple(type(part) for part in place)) == place


@many
@given(
    texts | st.binary(max_size=30).map(lambda b: b.decode("latin-1")),
    st.sampled_from([(int,), (str, str), (str, str, str)]),
)
def test_any_text_is_a_cursor_or_a_problem(text: str, kinds: tuple[type, ...]) -> None:
    try:
        place = place_of(text, kinds)
    except ProblemError as error:
        assert error.problem.type == "cursor-unknown"
    else:
        assert tuple(type(part) for part in place) == kinds


BODIES = [RecommendationRequest, WhatIfRequest, OverrideRequest, OverrideChange, BulkRequest, OutcomeRequest, ReleaseRequest,
          StopRequest, RegisterRequest, ReasonRequest, CanaryRequest]  # fmt: skip


@pytest.mark.parametrize("model", BODIES)
@many
@given(data=st.data())
def test_any_body_is_valid_or_refused(model: type[Any], data: st.DataObject) -> None:
    fields = st.fixed_dictionaries({}, optional=dict.fromkeys(model.model_fields, values | days))
    body = data.draw(fields | values)
    try:
        found = model.model_validate(body)
    except ValidationError:
        return
    assert model.model_validate_json(found.model_dump_json()) == found


# ------------------------------------------------------------------------------------------------------------- headers


@many
@given(texts)
def test_any_header_text_has_its_meaning_or_none(text: str) -> None:
    trace = trace_of(text)
    assert len(trace.trace_id) == 32
    origin = origin_of(text)
    assert origin is None or origin.scheme in ("http", "https")
    for client in (None, SimpleNamespace(host=text)):
        assert isinstance(address_of(SimpleNamespace(client=client)), str)  # type: ignore[arg-type]
    assert isinstance(is_loopback(host_name(text)), bool)


@pytest.fixture(scope="module")
def tokens() -> tuple[Tokens, ec.EllipticCurvePrivateKey]:
    """Of an issuer whose key is known and who is not asked again."""
    private = ec.generate_private_key(ec.SECP256R1())
    made = Tokens("https://issuer.example", "orpr", "realm.roles")
    made._keys = {None: _Signer(private.public_key(), ["ES256"])}
    made._fetched = made._tried = monotonic() + 3600
    return made, private


@many
@given(claims=st.dictionaries(st.sampled_from(["exp", "iss", "aud", "sub", "nbf", "iat", "realm", "jti"]), values), text=texts,
       header=st.dictionaries(st.sampled_from(["kid", "typ", "crit", "b64", "x"]), values, max_size=2), sound=st.booleans())  # fmt: skip
def test_any_token_has_a_holder_or_a_reason(
    tokens: tuple[Tokens, ec.EllipticCurvePrivateKey],
    claims: dict[str, Any],
    text: str,
    header: dict[str, Any],
    sound: bool,
) -> None:
    known, private = tokens
    good = {"exp": 2**32, "iss": "https://issuer.example", "aud": "orpr", "sub": "s"} if sound else {}
    sent = [text, f"{text}.{text}.{text}"]
    with suppress(TypeError, ValueError, jwt.PyJWTError):  # no issuer could make such a one
        sent.append(jwt.encode(claims | good, private, "ES256", header))
    for one in sent:
        found = known.holder(one)
        assert isinstance(found, Key | str)


GOOD_KEY: dict[str, Any] = json.loads(
    jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key())
)
key_parts = st.dictionaries(
    st.sampled_from(["kty", "alg", "use", "kid", "n", "e", "crv", "x", "y", "k"]),
    values | st.sampled_from(["RSA", "EC", "OKP", "ES256", "P-256", "Ed25519", "AQAB", "sig"]),
    max_size=3,
)


@many
@given(st.lists(key_parts | key_parts.map(lambda parts: GOOD_KEY | parts), max_size=4))
@example([GOOD_KEY | {"kid": ["x"]}])
def test_any_key_set_has_keys_that_can_be_used_or_none(listed: list[dict[str, Any]]) -> None:
    assert isinstance(_usable(listed), dict)


# ------------------------------------------------------------------------------------------------------------ settings


@many
@given(st.dictionaries(
    st.sampled_from(sorted(Settings.model_fields)),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(["http://[", "https://x", "0", "-1", "nan", "inf", "tls", "true", "10.0.0.0/8", "*", "a,b", "1e400"]),
    max_size=4,
), st.sampled_from(["127.0.0.1", "0.0.0.0", "::1", "x"]))  # fmt: skip
@example({"oidc_issuer": "http://[", "oidc_audience": "a"}, "127.0.0.1")
def test_any_environment_has_settings_or_a_reason(given_: dict[str, str], host: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given_.items():
            patch.setenv(f"ORPR_{name.upper()}", value)
        try:
            refuse_unsafe(Settings(), host)
        except (ValidationError, UnsafeSettings) as error:
            assert str(error)


@many
@given(
    st.lists(texts | st.tuples(texts, st.sampled_from(["item_id", "date", "quantity"])).map("=".join), max_size=3),
    st.binary(max_size=60),
)
def test_any_column_map_is_one_or_is_refused(pairs: list[str], content: bytes) -> None:
    try:
        ColumnMap.from_pairs(pairs)
    except ValueError as error:
        assert str(error).startswith("map:")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "map.toml"
        path.write_bytes(content)
        try:
            ColumnMap.from_toml(path)
        except ValueError as error:
            assert str(error).startswith("map:")


@many
@given(texts | texts.map("http://{}".format), st.dictionaries(st.just("X-API-Key"), texts))
@example("http://[", {})
@example("http://a:99999", {})
def test_any_address_can_be_asked_or_is_refused(url: str, headers: dict[str, str]) -> None:
    try:
        Sender(url, headers).close()
    except ValueError as error:
        assert str(error)


@pytest.fixture(scope="module")
def decisions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decisions]:
    """Over an empty store."""
    folder = tmp_path_factory.mktemp("decisions")
    store = Store(f"sqlite:///{folder}/orpr.db")
    yield Decisions(store, Spool(folder / "spool.db"))
    store.close()


offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(timezones=st.none() | st.timezones() | offsets).map(datetime.isoformat)


@many
@given(texts | days | moments | moments.map(lambda text: text[:-3]), texts)
@example("0001-01-01T00:00:00+23:59", "d")
@example("9999-12-31T23:59:59-23:59", "d")
@example("\0", "\0")
def test_moments_of_cursors_are_moments_or_a_problem(decisions: Decisions, moment: str, number: str) -> None:
    """Pages of decisions are by time and number."""
    try:
        cursor = cursor_of(moment, number)
    except UnicodeEncodeError:  # half a surrogate pair, which no stored text has
        return
    try:
        page = decisions.page({}, cursor, 5)
    except ProblemError as error:
        assert error.problem.type == "cursor-unknown"
    else:
        assert page.next_cursor is None
        assert datetime.fromisoformat(moment)
