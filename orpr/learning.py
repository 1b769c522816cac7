"""`orpr train`: datasets and a recipe in, a policy bundle out, with progress and a live log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from orpr.provenance import code_commit, folder_hash
from service.bundle import resolve_bundle
from simulator.canonical import read_panel
from simulator.panel import test_window
from simulator.weeks import by_week
from training.config import TrainConfig
from training.loop import Report, Trace
from training.run import Dataset, Result, train_bundle

Show = Callable[[str, int, int, str], None]  # (stage, step, steps, words)


class Learned(NamedTuple):
    """What was trained, and before which day of each dataset."""

    result: Result
    before: dict[str, str]


def run_training(
    data: Sequence[Path], out: Path, recipe: TrainConfig, show: Show, *, command: str, test_days: Sequence[int] = (),
    start_from: str | None = None, log_dir: Path | None = None, also_dl: bool = False, weekly: bool = False,
) -> Learned:  # fmt: skip
    """Train on everything before each dataset's cut-off and write the bundle.

    Args:
        data: canonical datasets of one period length.
        out: the bundle's folder.
        recipe: stages, sizes, seed.
        show: called after every step.
        command: the command line as it was typed.
        test_days: days to keep out at the end of each dataset; one number for all, or one for each.
        start_from: bundle, version or alias to adapt instead of starting anew.
        also_dl: write `out`-dl too, the policy after its supervised stages.
        weekly: add daily datasets up by week, to learn a policy for weekly data.
        log_dir: where TensorBoard's event files go; none are written where None.

    Raises:
        ValueError: where the datasets or the days to keep out do not fit together.
    """
    days = list(test_days) or [0]
    if len(days) not in (1, len(data)):
        raise ValueError(f"test-days must be given once or {len(data)} times, once for each --data; got {len(days)}")
    datasets = []
    for folder, kept_out in zip(data, days * len(data) if len(days) == 1 else days, strict=True):
        panel = read_panel(folder)
        if weekly:
            panel = by_week(panel)
        end = test_window(panel, kept_out).start if kept_out else panel.last_recorded + 1
        datasets.append(Dataset(panel, end, folder_hash(folder)))
    names = [dataset.panel.name for dataset in datasets]
    if len(set(names)) < len(names):
        raise ValueError(f"data: two datasets have the same name: {', '.join(names)}")
    base = None if start_from is None else resolve_bundle(start_from, datasets[0].panel.period_days)
    report, close = reporter(show, log_dir)
    try:
        result = train_bundle(
            datasets,
            recipe,
            out,
            commit=code_commit(),
            command=command,
            report=report,
            start_from=base,
            also_dl=also_dl,
        )
    finally:
        close()
    return Learned(result, {d.panel.name: d.panel.date_of(d.end - 1).isoformat() for d in datasets})


def reporter(show: Show, log_dir: Path | None) -> tuple[Report, Callable[[], None]]:
    """What training calls after every step, and what to call when it is over.

    Args:
        show: progress on the screen.
        log_dir: where TensorBoard's event files go; none are written where None.
    """
    if log_dir is None:
        return lambda stage, step, steps, trace: show(stage, step, steps, _words(trace)), lambda: None
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(log_dir))  # type: ignore[no-untyped-call]

    def report(stage: str, step: int, steps: int, trace: Trace) -> None:
        for name, value in trace.items():
            writer.add_scalar(f"{stage}/{name}", value, step)  # type: ignore[no-untyped-call]
        show(stage, step, steps, _words(trace))

    return report, writer.close


def _words(trace: Trace) -> str:
    return f"loss {trace['loss']:.4f}" if trace else ""
