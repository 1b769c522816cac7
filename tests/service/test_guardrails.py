"""The guardrails' arithmetic: what trips, what does not, and what it says."""

from __future__ import annotations

from typing import Any

import pytest

from service.guardrails import FAILURES, GUARDRAILS, LATENCY, NOTHING, ORDER_VALUE, TARGET_STOCK, Figures, Limits, judge

LIMITS = Limits()
EVEN = Figures(
    asked=100, failed=0, decisions=100, target_value=1000.0, champion_target_value=1000.0, orders=60, order_value=500.0,
    champion_order_value=500.0, runs=20, slow_runs=2,
)  # fmt: skip


def tripped(figures: Figures, limits: Limits = LIMITS) -> list[str]:
    return [one.guardrail for one in judge(figures, limits) if one.tripped]


def test_a_canary_like_the_champion_trips_nothing() -> None:
    found = judge(EVEN, LIMITS)
    assert [one.guardrail for one in found] == list(GUARDRAILS)
    assert [one.value for one in found] == [1.0, 1.0, 0.0, 0.1]
    assert tripped(EVEN) == []


def test_before_anything_is_known_nothing_trips() -> None:
    assert tripped(NOTHING) == []
    assert [one.value for one in judge(NOTHING, LIMITS)] == [None] * 4


@pytest.mark.parametrize(
    ("change", "guardrail"),
    [
        ({"target_value": 1501.0}, TARGET_STOCK),
        ({"target_value": 669.0}, TARGET_STOCK),
        ({"target_value": 0.0}, TARGET_STOCK),
        ({"order_value": 751.0}, ORDER_VALUE),
        ({"order_value": 334.0}, ORDER_VALUE),
        ({"champion_order_value": 0.0}, ORDER_VALUE),
        ({"failed": 2}, FAILURES),
        ({"slow_runs": 11}, LATENCY),
    ],
)
def test_beyond_a_limit_its_guardrail_trips_and_no_other(change: dict[str, Any], guardrail: str) -> None:
    assert tripped(EVEN._replace(**change)) == [guardrail]


@pytest.mark.parametrize(
    "change",
    [
        {"target_value": 1500.0}, {"target_value": 670.0}, {"order_value": 750.0}, {"failed": 1}, {"slow_runs": 10},
        {"order_value": 0.0, "champion_order_value": 0.0},
        {"target_value": 9e9, "decisions": 49}, {"order_value": 9e9, "orders": 49}, {"failed": 49, "asked": 49},
        {"slow_runs": 9, "runs": 9},
    ],
)  # fmt: skip
def test_at_a_limit_or_on_too_little_nothing_trips(change: dict[str, Any]) -> None:
    assert tripped(EVEN._replace(**change)) == []


def test_the_settings_are_the_limits() -> None:
    strict = Limits(decisions=10, above=1.1, below=0.95, failed_share=0.0, slower=2)
    assert tripped(EVEN._replace(target_value=1101.0, decisions=10), strict) == [TARGET_STOCK]
    assert tripped(EVEN._replace(order_value=474.0), strict) == [ORDER_VALUE]
    assert tripped(EVEN._replace(failed=1), strict) == [FAILURES]


def test_it_says_why_with_numbers() -> None:
    said = {
        one.guardrail: one.sentence for one in judge(EVEN._replace(target_value=1830.0, slow_runs=15, failed=3), LIMITS)
    }
    assert said[TARGET_STOCK] == (
        "target stocks of 100 decisions cost 1,830.00, the champion's 1,000.00: 1.83 times; 0.67 to 1.5 times is normal"
    )
    assert "first orders of 60 series cost 500.00" in said[ORDER_VALUE]
    assert said[FAILURES] == "it failed at 3 of 100 series, 3.0%; at most 1.0% may"
    assert said[LATENCY].startswith("15 of 20 runs of its network, 75%, took more than 3 times as long")
    assert "endlessly more" in judge(EVEN._replace(champion_target_value=0.0), LIMITS)[0].sentence


def test_figures_add_up() -> None:
    assert NOTHING.plus(EVEN) == EVEN
    assert EVEN.plus(EVEN).target_value == 2000.0
    assert EVEN.plus(EVEN).slow_runs == 4


@pytest.mark.parametrize(
    "bad", [{"decisions": 0}, {"above": 1}, {"below": 1}, {"below": 0}, {"failed_share": 1}, {"slower": 1}]
)
def test_limits_that_make_no_sense_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Limits(**bad)
