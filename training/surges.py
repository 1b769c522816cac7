"""Drawn surges: promotions that sell better than the dataset's own ever did.

Surges are rare, so a policy learns the promotions of most days. Here every series has a lift of its own on top of what its
promotions sold, the same in all of them but for some noise: who looks at the earlier promotions of a series can tell.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.panel import F32, I64, Panel

LIFTS = (0.0, np.log(2.5))  # of a series' promotions, in logs
NOISE = 0.2  # of one promotion, in logs


def surging(panel: Panel, end: int, rng: np.random.Generator) -> Panel:
    """The panel with sales of promoted periods before `end` lifted; whole units where the dataset's are."""
    promoted = np.nan_to_num(panel.promotion) > 0
    begins = promoted & ~np.pad(promoted, ((0, 0), (1, 0)))[:, :-1]
    run: I64 = np.cumsum(begins, axis=1, dtype=np.int64)  # number of each series' promotion
    lift = rng.uniform(*LIFTS, (panel.series_count, 1))
    noise = rng.normal(0.0, NOISE, (panel.series_count, int(run.max(initial=0)) + 1))
    factor = np.where(promoted, np.exp(lift + np.take_along_axis(noise, run, axis=1)), 1.0)
    factor[:, end:] = 1.0
    sold: F32 = (panel.units_sold * factor).astype(np.float32)
    if panel.quantity == "discrete":
        sold = np.round(sold)
    return replace(panel, name=f"{panel.name}, drawn surges", units_sold=sold, forecasts=None)
