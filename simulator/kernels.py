"""The compiled loops behind `sweep.py` and the label's cost curves.

They do the arithmetic of `step` and `ordering` once more, because compiled loops are hundreds of times faster; tests
hold them equal to it on every option. Loops over candidates become vector instructions only while nothing in them is a
call or of mixed precision, so the loop nests stay whole. All of them lie in this one file, because a compiled loop that is
kept on disk is known by its own file only and would not notice a change elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np

CHUNK = 64  # series that share one thread's scratch memory
LANES = 128  # series that are replayed side by side where only totals are asked for

# Divisions by zero and NaN handling would keep the loops over candidates from becoming vector instructions. Infinities
# stay exact: a missing constraint is infinite.
OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": {"nnan", "nsz", "contract"},
    "cache": os.access(
        Path(__file__).parent, os.W_OK
    ),  # compiling takes seconds; a read-only installation does it anew
}


class Rules(NamedTuple):
    """`OrderRules` as plain arrays (N,) of one precision."""

    least: Any
    multiple: Any
    most: Any
    display: Any
    shelf: Any
    keep: Any


class Constants(NamedTuple):
    """Numbers in the kernel's own precision: a literal would lift every float32 loop to float64."""

    zero: Any
    one: Any
    half: Any
    slack: Any
    least_lost: Any


@numba.njit(**OPTIONS)  # type: ignore[untyped-decorator]
def whole_packs(quantity, multiple, rounding, c):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    packs = quantity / multiple
    slack = c.slack * (c.one + abs(packs))
    if rounding == 0:
        whole = np.ceil(packs - slack)
    elif rounding == 1:
        whole = np.floor(packs + c.half + slack)
    else:
        whole = np.floor(packs + slack)
    return whole * multiple if multiple > c.zero else quantity


@numba.njit(**OPTIONS)  # type: ignore[untyped-decorator]
def constrained(raw, position, sellable, rule, least, rounding, c):  # type: ignore[no-untyped-def]  # pragma: no cover
    """`ordering.constrain` for one number; `least` is the minimum in whole packs."""
    asked = min(raw, max(sellable - position, c.zero))
    room = max(rule.shelf - position, c.zero)
    wanted = min(max(asked, rule.display - position), room)
    quantity = max(whole_packs(wanted, rule.multiple, rounding, c), least)
    limit = min(rule.most, room)
    most = whole_packs(limit, rule.multiple, 2, c) if limit < np.inf else limit
    return min(quantity, most) if wanted > c.slack * (c.one + abs(position)) else c.zero


@numba.njit(**OPTIONS)  # type: ignore[untyped-decorator]
def rule_of(rules, n):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    return Rules(
        rules.least[n], rules.multiple[n], rules.most[n], rules.display[n], rules.shelf[n], rules.keep[n]
    )  # fmt: skip


@numba.njit(**OPTIONS)  # type: ignore[untyped-decorator]
def only_packs(rule):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Whether nothing but a multiple, or nothing at all, constrains an order: the short way."""
    free = rule.most == np.inf and rule.shelf == np.inf and rule.keep == np.inf
    return free and rule.least <= 0 and rule.display <= 0


# Inlined before compilation, or its loops would not become vector instructions.
@numba.njit(inline="always", **OPTIONS)  # type: ignore[untyped-decorator]
def place(days, rate, left, on_order, rule, rounding, fixed, c, order):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The orders (V,) of all candidates at one review."""
    least = whole_packs(rule.least, rule.multiple, 0, c)
    sellable = rule.keep * rate if rule.keep < np.inf else rule.keep
    counts = c.zero if fixed else c.one  # whether the position is deducted
    if only_packs(rule) and rounding == 0 and rule.multiple > c.zero:
        for v in range(days.shape[0]):
            position = left[v] + on_order[v]
            raw = days[v] * rate - counts * position
            packs = raw / rule.multiple
            packed = np.ceil(packs - c.slack * (c.one + abs(packs))) * rule.multiple
            order[v] = packed if raw > c.slack * (c.one + position) else c.zero
    elif only_packs(rule) and rule.multiple <= c.zero:
        for v in range(days.shape[0]):
            position = left[v] + on_order[v]
            raw = days[v] * rate - counts * position
            order[v] = raw if raw > c.slack * (c.one + position) else c.zero
    else:
        for v in range(days.shape[0]):
            position = left[v] + on_order[v]
            raw = max(days[v] * rate - counts * position, c.zero)
            order[v] = constrained(raw, position, sellable, rule, least, rounding, c)


@numba.njit(parallel=True, **OPTIONS)  # type: ignore[untyped-decorator]
def sweep_kernel(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    demand, due, rate, days, lead, on_hand0, pipeline0, rules, life, weight_stock, weight_lost, rounding, fixed, c,
    ring_length, stock, lost, empty, wasted, stock_value, lost_value,
):  # fmt: skip
    series, periods = demand.shape
    candidates = days.shape[0]
    weighted = stock_value.shape[0] == series
    longest_life = max(life.max(), 2)
    for chunk in numba.prange((series + CHUNK - 1) // CHUNK):
        ring = np.zeros((ring_length, candidates), days.dtype)
        came = np.zeros((longest_life, candidates), days.dtype)
        arrives = np.zeros(ring_length, np.bool_)
        scratch = np.zeros((6, candidates), days.dtype)
        on_hand, on_order, young, order, left, gone = scratch
        for n in range(chunk * CHUNK, min(series, (chunk + 1) * CHUNK)):
            rule = rule_of(rules, n)
            ring[:] = 0
            came[:] = 0
            arrives[:] = False
            on_order[:] = 0
            for j in range(pipeline0.shape[1]):
                arrives[j] = pipeline0[n, j] != 0
                ring[j] = pipeline0[n, j]
                on_order += pipeline0[n, j]
            on_hand[:] = on_hand0[n]
            young[:] = on_hand0[n]
            perishes = life[n] > 0
            kept = max(life[n] - 1, 1)  # receipts of so many periods may stay
            came[kept - 1] = on_hand0[n]
            held, missed, short, thrown = stock[n], lost[n], empty[n], wasted[n]
            held[:], missed[:], short[:], thrown[:] = 0, 0, 0, 0
            if weighted:
                stock_value[n, :], lost_value[n, :] = 0, 0
            for t in range(periods):
                slot = t % ring_length
                if perishes:
                    for v in range(candidates):
                        young[v] += ring[slot, v] - came[t % kept, v]
                        came[t % kept, v] = ring[slot, v]
                if arrives[slot]:
                    arrives[slot] = False
                    for v in range(candidates):
                        on_hand[v] += ring[slot, v]
                        on_order[v] -= ring[slot, v]
                        ring[slot, v] = 0
                wanted = demand[n, t]
                for v in range(candidates):
                    left[v] = max(on_hand[v] - wanted, c.zero)
                    gone[v] = max(wanted - on_hand[v], c.zero)
                    missed[v] += gone[v]
                    short[v] += c.one if gone[v] > c.least_lost else c.zero
                if perishes:
                    for v in range(candidates):
                        stays = min(left[v], young[v]) if life[n] > 1 else c.zero
                        thrown[v] += left[v] - stays
                        left[v] = stays
                for v in range(candidates):
                    on_hand[v] = left[v]
                    held[v] += left[v]
                if weighted:
                    for v in range(candidates):
                        stock_value[n, v] += left[v] * weight_stock[n, t]
                        lost_value[n, v] += gone[v] * weight_lost[n, t]
                if due[n, t]:
                    place(days, rate[n, t], left, on_order, rule, rounding, fixed, c, order)
                    slot = (t + lead[n, t * min(lead.shape[1] - 1, 1)]) % ring_length
                    arrives[slot] = True
                    for v in range(candidates):
                        ring[slot, v] += order[v]
                        on_order[v] += order[v]


# Inlined twice: where nothing but packs constrains an order, the compiler drops all else from the loop.
@numba.njit(inline="always", **OPTIONS)  # type: ignore[untyped-decorator]
def _walk(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    simple, demand, due, targets, rate, lead, opening, coming, rule, life, rounding, fixed, c,
    on_hand, sales, lost, received, ordered, wasted,
):  # fmt: skip
    """One series through all periods; arrays are (T,), `received` holds the opening pipeline."""
    have, young = opening, opening
    least = whole_packs(rule.least, rule.multiple, 0, c)
    target_step, lead_step = min(targets.shape[0] - 1, 1), min(lead.shape[0] - 1, 1)  # 0 where one number is for all
    for t in range(demand.shape[0]):
        arriving, wanted = received[t], demand[t]
        left = have + arriving - wanted
        coming -= arriving
        have = max(left, c.zero)
        sales[t] = wanted + min(left, c.zero)
        lost[t] = max(-left, c.zero)
        if not simple and life > 0:
            past = t - life + 1
            young += arriving
            if past >= -1:
                young -= received[past] if past >= 0 else opening
            stays = min(have, max(young, c.zero)) if life > 1 else c.zero
            wasted[t] = have - stays
            have = stays
        on_hand[t] = have
        order = c.zero
        if due[t]:
            position = have + coming
            raw = targets[t * target_step] if fixed else max(targets[t * target_step] - position, c.zero)
            if simple:
                order = raw if raw > c.slack * (c.one + position) else c.zero
                if rule.multiple > c.zero:
                    order = whole_packs(order, rule.multiple, rounding, c)
            else:
                sellable = rule.keep * rate[t] if rule.keep < np.inf else rule.keep
                order = constrained(raw, position, sellable, rule, least, rounding, c)
            coming += order
            if t + lead[t * lead_step] < demand.shape[0]:
                received[t + lead[t * lead_step]] += order
        ordered[t] = order


@numba.njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _open_pipeline(pipeline, received):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Units on order in all; what arrives within the window goes to `received`."""
    for j in range(min(pipeline.shape[0], received.shape[0])):
        received[j] = pipeline[j]
    return pipeline.sum()


@numba.njit(parallel=True, **OPTIONS)  # type: ignore[untyped-decorator]
def replay_kernel(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    demand, due, targets, rate, lead, on_hand0, pipeline0, rules, life, rounding, fixed, c,
    on_hand, sales, lost, received, ordered, wasted,
):  # fmt: skip
    for n in numba.prange(demand.shape[0]):
        rule = rule_of(rules, n)
        received[n, :] = 0
        coming = _open_pipeline(pipeline0[n], received[n])
        if only_packs(rule) and life[n] == 0:
            _walk(
                True, demand[n], due[n], targets[n], rate[n], lead[n], on_hand0[n], coming, rule, life[n], rounding, fixed,
                c, on_hand[n], sales[n], lost[n], received[n], ordered[n], wasted[n],
            )  # fmt: skip
        else:
            _walk(
                False, demand[n], due[n], targets[n], rate[n], lead[n], on_hand0[n], coming, rule, life[n], rounding, fixed,
                c, on_hand[n], sales[n], lost[n], received[n], ordered[n], wasted[n],
            )  # fmt: skip


# Inlined before compilation, or its loop over series would not become vector instructions.
@numba.njit(inline="always", **OPTIONS)  # type: ignore[untyped-decorator]
def _walk_together(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    first, count, demand, due, targets, lead, on_hand0, pipeline0, multiples, fixed, ring_length, c,
    stock, lost, empty, asked,
):  # fmt: skip
    """Up to LANES series side by side, with nothing but packs, rounded up, to constrain their orders."""
    scratch = np.zeros((11, LANES), demand.dtype)
    have, on_order, wanted, target, may, order, held, missed, short, whole_demand, multiple = scratch
    ring = np.zeros((ring_length, LANES), demand.dtype)
    packed = False
    for b in range(count):
        have[b] = on_hand0[first + b]
        multiple[b] = max(multiples[first + b], c.zero)
        packed |= multiple[b] > c.zero
        for j in range(pipeline0.shape[1]):
            ring[j, b] = pipeline0[first + b, j]
            on_order[b] += pipeline0[first + b, j]
    counts = c.zero if fixed else c.one  # whether the position is deducted
    slot = 0
    target_step, lead_step = min(targets.shape[1] - 1, 1), min(lead.shape[1] - 1, 1)  # 0 where one number is for all
    for t in range(demand.shape[1]):
        for b in range(count):
            wanted[b], target[b] = demand[first + b, t], targets[first + b, t * target_step]
            may[b] = c.one if due[first + b, t] else c.zero
        arriving = ring[slot]
        for b in range(LANES):
            left = have[b] + arriving[b] - wanted[b]
            have[b] = max(left, c.zero)
            gone = have[b] - left
            held[b] += have[b]
            missed[b] += gone
            short[b] += c.one if gone > c.least_lost else c.zero
            whole_demand[b] += wanted[b]
            on_order[b] -= arriving[b]
            arriving[b] = c.zero
            position = have[b] + on_order[b]
            raw = max(target[b] - counts * position, c.zero) * may[b]
            order[b] = raw if raw > c.slack * (c.one + position) else c.zero
        if packed:
            for b in range(LANES):
                packs = order[b] / max(multiple[b], c.slack)
                whole = np.ceil(packs - c.slack * (c.one + packs)) * multiple[b]
                order[b] = whole if multiple[b] > c.zero else order[b]
        for b in range(count):
            on_order[b] += order[b]
            arrival = slot + lead[first + b, t * lead_step]  # a division would take longer than all the rest
            ring[arrival if arrival < ring_length else arrival - ring_length, b] += order[b]
        slot = slot + 1 if slot + 1 < ring_length else 0
    for b in range(count):
        stock[first + b], lost[first + b], empty[first + b] = held[b], missed[b], short[b]
        asked[first + b] = whole_demand[b]


@numba.njit(parallel=True, **OPTIONS)  # type: ignore[untyped-decorator]
def totals_kernel(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    demand, due, targets, rate, lead, on_hand0, pipeline0, rules, life, rounding, fixed, c, ring_length,
    stock, lost, empty, wasted, asked,
):  # fmt: skip
    series, periods = demand.shape
    for group in numba.prange((series + LANES - 1) // LANES):
        first = group * LANES
        count = min(LANES, series - first)
        simple = rounding == 0
        for n in range(first, first + count):
            simple &= only_packs(rule_of(rules, n)) and life[n] == 0
        if simple:
            _walk_together(
                first, count, demand, due, targets, lead, on_hand0, pipeline0, rules.multiple, fixed, ring_length, c,
                stock, lost, empty, asked,
            )  # fmt: skip
            wasted[first : first + count] = 0
        else:
            on_hand, sales, missed, received, ordered, thrown = np.zeros((6, periods), demand.dtype)
            for n in range(first, first + count):
                received[:] = 0
                thrown[:] = 0
                coming = _open_pipeline(pipeline0[n], received)
                _walk(
                    False, demand[n], due[n], targets[n], rate[n], lead[n], on_hand0[n], coming, rule_of(rules, n),
                    life[n], rounding, fixed, c, on_hand, sales, missed, received, ordered, thrown,
                )  # fmt: skip
                stock[n], lost[n], wasted[n] = on_hand.sum(), missed.sum(), thrown.sum()
                empty[n], asked[n] = (missed > c.least_lost).sum(), demand[n].sum()


@numba.njit(parallel=True, **OPTIONS)  # type: ignore[untyped-decorator]
def curve_kernel(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    series, rate, position, before, demand, review, young, days, rules, life, holding, losing, wasting, rounding, fixed,
    c, cost,
):  # fmt: skip
    candidates = days.shape[0]
    for e in numba.prange(series.shape[0]):
        n = series[e]
        left = np.empty(candidates, days.dtype)
        none = np.zeros(candidates, days.dtype)
        order = np.empty(candidates, days.dtype)
        left[:] = position[e]
        place(days, rate[e], left, none, rule_of(rules, n), rounding, fixed, c, order)
        left[:] = before[e] + order
        total = cost[e]
        total[:] = 0
        for step in range(review[e]):
            wanted = demand[e, step]
            for v in range(candidates):
                total[v] += losing[n] * max(wanted - left[v], c.zero)
                left[v] = max(left[v] - wanted, c.zero)
            if life[n] > 0:
                for v in range(candidates):
                    stays = min(left[v], young[e, step] + (order[v] if step < life[n] - 1 else c.zero))
                    total[v] += wasting[n] * (left[v] - stays)
                    left[v] = stays
            for v in range(candidates):
                total[v] += holding[n] * left[v]
