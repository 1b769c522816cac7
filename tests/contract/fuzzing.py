"""What the fuzz tests of parsers share: values of any kind, how many, and how the number is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

CASES = int(os.environ.get("ORPR_FUZZ_CASES", "100"))
many = settings(
    max_examples=CASES, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)  # fmt: skip
texts = st.text(max_size=30)
plain = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4))
days = st.dates().map(str) | st.just("2019-04-30")


def recording(what: str, cases: int = CASES) -> Callable[..., object]:
    """A fixture that tells how many properties a module tried, and how many did not hold."""

    @pytest.fixture(autouse=True, scope="module")
    def recorded(
        record_testsuite_property: Callable[[str, object], None], request: pytest.FixtureRequest
    ) -> Iterator[None]:
        failed = request.session.testsfailed
        yield
        mine = [item for item in request.session.items if item.path == request.path]
        wrong = request.session.testsfailed - failed
        record_testsuite_property(
            f"fault: hypothesis on {what}",
            f"{len(mine)} properties, up to {cases} cases each; {wrong} with another exception than their own",
        )

    return recorded
