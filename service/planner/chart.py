"""The planner page's charts as ECharts options: sales, forecast and projected stock, and the cost curve. Pure data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from service.look_back_schemas import LookedBack, LookedBackPolicy
from service.planner.readings import MEDIAN, Detail
from service.what_if_schemas import WhatIfResponse

PAST_DAYS = 56
AHEAD_DAYS = 21
BACK_HEIGHT = 118  # of one policy's panel, pixels
LOW, HIGH = 0, 4  # places of the 10 % and the 90 % quantile
INK, GREY, BLUE, AMBER, PLUM, GREEN = "#344054", "#a9b4c2", "#2563a8", "#d97706", "#8e44ad", "#3d8b6e"
_TEXT = {"color": INK, "fontFamily": "system-ui, DejaVu Sans, sans-serif", "fontSize": 12}

Option = dict[str, Any]


def chart_option(detail: Detail) -> Option:
    """Two panels: eight weeks of sales with the forecast, and stock at each day's end until the order's last day."""
    look, projection = detail.look, detail.projection
    assert look is not None
    assert projection is not None
    past = PAST_DAYS // look.period_days
    ahead = max(AHEAD_DAYS // look.period_days, len(projection.on_hand))
    sold = look.history["units_sold"][-past:]
    start = detail.as_of - timedelta(days=(len(sold) - 1) * look.period_days)
    days = [(start + timedelta(days=n * look.period_days)).isoformat() for n in range(len(sold) + ahead)]
    stock_days = days[len(sold) - 1 : len(sold) + len(projection.on_hand)]
    unit = "day" if look.period_days == 1 else "week"
    return {
        "animation": False,
        "textStyle": _TEXT,
        "tooltip": {"trigger": "axis", "confine": True},
        "title": [_title(f"Units a {unit}", 4), _title(f"Stock at each {unit}'s end: known today, then projected", 186)],
        "legend": [_legend(4, ["Sold", "Promotion", "Holiday", "Forecast", "10–90 %"]),
                   _legend(186, ["Arrives"])],
        "grid": [{"left": 44, "right": 8, "top": 30, "height": 124}, {"left": 44, "right": 8, "top": 214, "height": 62}],
        "xAxis": [_axis(0, days), _axis(1, stock_days)],
        "yAxis": [{"gridIndex": n, "splitNumber": 3 - n, "axisLabel": _TEXT | {"fontSize": 11},
                   "splitLine": {"lineStyle": {"color": "#eceff3"}}} for n in (0, 1)],
        "series": [*_demand(detail, len(sold), ahead), *_stock(detail)],
    }  # fmt: skip


def cost_option(costs: WhatIfResponse) -> Option:
    """The expected cost of today's order over its days, and where the advised and the cheapest days lie."""
    days = [point.inventory_days for point in costs.curve]
    total = [round(point.total_cost, 2) for point in costs.curve]
    parts = {
        "Holding": (BLUE, [round(point.holding_cost + point.waste_cost, 2) for point in costs.curve]),
        "Lost sales": (AMBER, [round(point.stockout_cost, 2) for point in costs.curve]),
        "Together": (INK, total),
    }
    marks = {"Advised": (GREEN, "circle", costs.inventory_days), "Cheapest": (PLUM, "triangle", costs.cheapest_days)}
    return {
        "animation": False,
        "textStyle": _TEXT,
        "tooltip": {"trigger": "axis", "confine": True},
        "title": [_title(f"Cost by days, {costs.currency}", 4)],
        "legend": [_legend(4, [*parts, *marks])],
        "grid": [{"left": 44, "right": 8, "top": 30, "height": 72}],
        "xAxis": [{"type": "value", "max": max(days), "axisLine": {"lineStyle": {"color": GREY}},
                   "splitLine": {"show": False}, "axisLabel": _TEXT | {"fontSize": 11}}],
        "yAxis": [{"splitNumber": 2, "axisLabel": _TEXT | {"fontSize": 11}, "splitLine": {"lineStyle": {"color": "#eceff3"}}}],
        "series": [
            *({"name": name, "type": "line", "symbol": "none", "data": list(zip(days, cost, strict=True)),
               "itemStyle": {"color": color}, "lineStyle": {"color": color, "width": 2 if name == "Together" else 1}}
              for name, (color, cost) in parts.items()),
            *({"name": name, "type": "scatter", "symbol": symbol, "symbolSize": 9, "itemStyle": {"color": color}, "z": 5,
               "data": [[at, total[days.index(at)]]], "tooltip": {"show": False}}
              for name, (color, symbol, at) in marks.items()),
        ],
    }  # fmt: skip


def back_option(told: LookedBack) -> Option:
    """A panel for each policy: stock, demand and what was lost of it, promoted periods shaded."""
    days = [(told.first + timedelta(days=n * told.period_days)).isoformat() for n in range(len(told.demand))]
    highest = max(max(period.on_hand for period in one.periods) for one in told.policies)
    panels = list(enumerate(told.policies))
    return {
        "animation": False,
        "textStyle": _TEXT,
        "tooltip": {"trigger": "axis", "confine": True},
        "title": [_title(one.alias if one.version is None else f"{one.alias}, {one.version}", 4 + BACK_HEIGHT * n)
                  for n, one in panels],
        "legend": [_legend(4, ["Stock", "Demand", "Lost"])],
        "grid": [{"left": 44, "right": 8, "top": 26 + BACK_HEIGHT * n, "height": BACK_HEIGHT - 52} for n, _ in panels],
        "xAxis": [_axis(n, days) for n, _ in panels],
        "yAxis": [{"gridIndex": n, "splitNumber": 2, "max": float(np.ceil(max(highest, *told.demand))),
                   "axisLabel": _TEXT | {"fontSize": 11}, "splitLine": {"lineStyle": {"color": "#eceff3"}}} for n, _ in panels],
        "series": [series for n, one in panels for series in _looked_back(n, told, days, one)],
    }  # fmt: skip


def _looked_back(panel: int, told: LookedBack, days: Sequence[str], one: LookedBackPolicy) -> list[Option]:
    axes = {"xAxisIndex": panel, "yAxisIndex": panel, "type": "line", "symbol": "none", "step": "middle"}
    lost = [round(period.lost_units, 1) or None for period in one.periods]
    changes = np.flatnonzero(np.diff([False, *told.promoted, False]))
    shaded = [[{"xAxis": days[begin]}, {"xAxis": days[end - 1]}] for begin, end in changes.reshape(-1, 2)]
    return [
        {"name": "Stock", **axes, "data": [round(period.on_hand, 1) for period in one.periods], "itemStyle": {"color": GREEN},
         "lineStyle": {"color": GREEN, "width": 2},
         "markArea": {"silent": True, "itemStyle": {"color": "#fdf1dc", "borderColor": "#fdf1dc", "borderWidth": 3}, "data": shaded}},
        {"name": "Demand", **axes, "data": [round(units, 1) for units in told.demand], "itemStyle": {"color": INK},
         "lineStyle": {"color": INK, "width": 1}},
        {"name": "Lost", "xAxisIndex": panel, "yAxisIndex": panel, "type": "bar", "data": lost, "itemStyle": {"color": AMBER},
         "barCategoryGap": "10%"},
    ]  # fmt: skip


def _title(text: str, top: int) -> Option:
    return {"text": text, "top": top, "left": 0, "padding": 0, "textStyle": _TEXT | {"fontWeight": 600}}


def _legend(top: int, names: Sequence[str]) -> Option:
    return {"top": top, "right": 0, "padding": 0, "itemHeight": 9, "itemWidth": 14, "itemGap": 10, "textStyle": _TEXT,
            "data": list(names)}  # fmt: skip


def _axis(panel: int, days: Sequence[str]) -> Option:
    return {"gridIndex": panel, "type": "category", "data": list(days), "axisTick": {"show": False},
            "axisLine": {"lineStyle": {"color": GREY}}, "axisLabel": _TEXT | {"fontSize": 11, "hideOverlap": True}}  # fmt: skip


def _demand(detail: Detail, past: int, ahead: int) -> list[Option]:
    """Sales, forecast band and median, and marks on promotion days and holidays."""
    look = detail.look
    assert look is not None
    history, horizon = look.history, look.forecast[:ahead].astype(float)
    span = slice(len(history["units_sold"]) - past, len(history["units_sold"]) + ahead)
    sold = _plain(history["units_sold"][-past:])
    low, median, high = horizon[:, LOW], horizon[:, MEDIAN], horizon[:, HIGH]
    heights = [*sold, *_plain(median)]
    before: list[float | None] = [None] * past
    hidden = {"type": "line", "symbol": "none", "lineStyle": {"opacity": 0}, "itemStyle": {"color": BLUE}}
    return [
        {"name": "Sold", "type": "bar", "data": sold, "itemStyle": {"color": GREY}, "barCategoryGap": "25%"},
        {"name": "Forecast 10 %", **hidden, "stack": "band", "data": before + _plain(low)},
        {"name": "10–90 %", **hidden, "stack": "band", "data": before + _plain(high - low), "symbol": "rect",
         "showSymbol": False, "areaStyle": {"color": BLUE, "opacity": 0.18}, "tooltip": {"show": False}},
        {"name": "Forecast 90 %", **hidden, "data": before + _plain(high)},
        {"name": "Forecast", "type": "line", "data": before + _plain(median), "symbol": "none", "z": 4,
         "itemStyle": {"color": BLUE}, "lineStyle": {"color": BLUE, "width": 2}},
        _marks("Promotion", history["promotion"][span], heights, AMBER, "diamond"),
        _marks("Holiday", history["holiday"][span], heights, PLUM, "triangle"),
    ]  # fmt: skip


def _marks(name: str, flags: np.ndarray, heights: list[float | None], color: str, symbol: str) -> Option:
    points = [height if flag == 1 else None for flag, height in zip(flags, heights, strict=True)]
    return {"name": name, "type": "scatter", "data": points, "symbol": symbol, "symbolSize": 9,
            "itemStyle": {"color": color}, "z": 5, "tooltip": {"show": False}}  # fmt: skip


def _stock(detail: Detail) -> list[Option]:
    """Stock known today, stock projected, and what arrives when."""
    projection, result = detail.projection, detail.answer.result
    assert projection is not None
    assert result is not None
    stock = [{"value": round(result.on_hand, 1), "itemStyle": {"color": GREY}}, *_plain(projection.on_hand)]
    received = [None, *(value or None for value in _plain(projection.received))]
    axes = {"xAxisIndex": 1, "yAxisIndex": 1}
    return [
        {"name": "Stock", "type": "bar", **axes, "data": stock, "itemStyle": {"color": GREEN},
         "barMaxWidth": 26},
        {"name": "Arrives", "type": "scatter", **axes, "data": received, "symbol": "pin", "symbolSize": 18,
         "itemStyle": {"color": INK}, "z": 5},
    ]  # fmt: skip


def _plain(values: np.ndarray) -> list[float | None]:
    """JSON numbers with one decimal; unknown becomes a gap."""
    return [round(float(value), 1) if np.isfinite(value) else None for value in values]
