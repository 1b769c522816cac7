"""`orpr train | export | histograms | ablate`: policies made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orpr.options import SAMPLE, Data
from orpr.progress import progress_bars

app = typer.Typer()

Datasets = Annotated[list[Path], typer.Option(help="Folder of a canonical dataset; repeat to learn from several.")]
Out = Annotated[Path, typer.Option(help="Folder of the bundle to write; its name is the policy's version.")]
StartFrom = Annotated[
    str | None, typer.Option("--from", help="Bundle, version or alias to adapt instead of starting anew.")
]
Config = Annotated[
    str | None,
    typer.Option(help="A shipped recipe or a TOML file.", show_default="default; with --from: adapt"),
]
Seed = Annotated[int | None, typer.Option(help="Overrides the recipe's seed.")]
TestDays = Annotated[
    list[int] | None, typer.Option(help="Keep the last days out, to test on; once, or once for each --data.")
]
Threads = Annotated[int | None, typer.Option(help="CPU threads.")]
LogDir = Annotated[Path | None, typer.Option(help="Folder for TensorBoard's live log.")]
AlsoDl = Annotated[
    bool, typer.Option("--also-dl", help="Write OUT-dl too: the policy before reinforcement and replays.")
]
ByWeek = Annotated[
    bool,
    typer.Option("--by-week", help="Add daily datasets up by week, for a policy that decides for weekly data."),
]


@app.command()
def train(
    data: Datasets, out: Out, start_from: StartFrom = None, config: Config = None, seed: Seed = None,
    test_days: TestDays = None, threads: Threads = None, log_dir: LogDir = None, also_dl: AlsoDl = False,
    by_week: ByWeek = False,
) -> None:  # fmt: skip
    """Label histories, pretrain a policy on them, align it, and export the bundle.

    Everything is read up to the cut-off only: the last recorded period, or `--test-days` before it.
    """
    from orpr.learning import run_training
    from orpr.provenance import command_line
    from training.config import load_config
    from training.run import named_config

    chosen = config or ("adapt" if start_from else "default")
    recipe = load_config(named_config(chosen), seed=seed, threads=threads)
    with progress_bars() as report:
        learned = run_training(
            data, out, recipe, report, command=command_line(), test_days=test_days or (), start_from=start_from,
            log_dir=log_dir, also_dl=also_dl, weekly=by_week,
        )  # fmt: skip
    last = {stage: round(losses[-1], 4) for stage, losses in learned.result.losses.items() if losses}
    cut_offs = ", ".join(f"{name} up to {day}" for name, day in learned.before.items())
    typer.echo(f"{out}: trained on {cut_offs}; final losses {last}")


@app.command()
def finetune(
    overrides: Annotated[Path, typer.Option(help="Experts' decisions, as orpr overrides pull writes them.")],
    data: Annotated[Path, typer.Option(help="Folder of the canonical dataset that they were made on.")],
    out: Out,
    start_from: Annotated[str, typer.Option("--from", help="The champion: bundle, version or alias.")] = "champion",
    dl: Annotated[str | None, typer.Option(help="A policy before any reinforcement, for a row of the report.")] = None,
    config: Annotated[str, typer.Option(help="A shipped recipe or a TOML file.")] = "finetune",
    seed: Seed = None, threads: Threads = None, log_dir: LogDir = None,
) -> None:  # fmt: skip
    """Fine-tune a champion on experts' decisions and let the gate judge it; exit code 1 where it is refused.

    One series in five is kept out, and the gate judges on these. Bad labels are named and left out. The bundle is written
    in either case; its manifest holds the verdict, and a service registers none that was refused.
    """
    from orpr.finetuning import gate_in_words, run_finetuning
    from orpr.provenance import command_line
    from training.config import load_config
    from training.run import named_config

    recipe = load_config(named_config(config), seed=seed, threads=threads)
    with progress_bars() as show:
        done = run_finetuning(
            data, overrides, out, recipe, show, command=command_line(), start_from=start_from, dl=dl, log_dir=log_dir
        )  # fmt: skip
    for finding in done.findings:
        typer.echo(f"left out, {finding.reason}: {finding.detail}")
    for line in gate_in_words(done):
        typer.echo(line)
    if done.gate["reasons"]:
        raise typer.Exit(1)


@app.command()
def export(
    bundle: Annotated[Path, typer.Option("--from", help="Bundle whose weights are exported again.")],
    data: Annotated[list[Path], typer.Option(help="A dataset it was trained on, for the golden cases; repeat.")],
    out: Annotated[Path, typer.Option(help="Folder of the new bundle; its name is the version.")],
) -> None:
    """Export a bundle's weights again with the code as it is now: graph, golden cases, parity check."""
    from orpr.provenance import code_commit
    from simulator.canonical import read_panel
    from training.run import export_again

    export_again(bundle, [read_panel(folder) for folder in data], out, commit=code_commit())
    typer.echo(f"{out}: exported, parity holds")


@app.command()
def histograms(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    data: Annotated[list[Path], typer.Option(help="A dataset it was trained on; repeat for all of them.")],
) -> None:
    """Freeze histograms of what a policy learned from into its bundle; a service measures drift against them.

    `orpr train` and `orpr export` do so by themselves; this is for bundles that were made before. Nothing behind a
    dataset's cut-off is read, and the policy stays as it is.
    """
    from orpr.provenance import folder_hash
    from simulator.canonical import read_panel
    from training.histograms import freeze

    panels = {folder: read_panel(folder) for folder in data}
    hashes = {panel.name: folder_hash(folder) for folder, panel in panels.items()}
    decisions = freeze(bundle, list(panels.values()), hashes)
    typer.echo(f"{bundle}: histograms of {decisions} decisions before {', '.join(hashes)} were cut off")


@app.command()
def ablate(
    data: Data = SAMPLE,
    config: Annotated[str, typer.Option(help="The base; its variants change one thing each.")] = "ablation",
    seeds: Annotated[int, typer.Option(help="Each variant is trained so many times.", min=1)] = 3,
    test_days: Annotated[int, typer.Option(help="Days at the end of the history that nothing reads.")] = 180,
    days: Annotated[int, typer.Option(help="Days before them that judge.")] = 120,
    weights: Annotated[
        Path, typer.Option(help="Folder of trained weights; a run goes on with what lies there.")
    ] = Path("runs/ablations"),
    threads: Annotated[int, typer.Option(help="Of PyTorch.")] = 1,
    results: Annotated[Path | None, typer.Option(help="Folder for JSON, page and picture.")] = None,
) -> None:
    """What each part of the recipe brings: stages, streams, labels, size, RLOO's weights, replays.

    About fifty small trainings, an hour or two; broken off, it goes on with the next variant.
    """
    from orpr.ablation import Windows, run_ablation, write_ablation
    from orpr.provenance import command_line
    from training.config import load_config
    from training.run import named_config

    recipe = load_config(named_config(config), threads=threads)
    with progress_bars() as show:
        done = run_ablation(
            data, recipe, range(seeds), Windows(test_days, days), weights, show, command=command_line()
        )  # fmt: skip
    for row in done["variants"]:
        value, low, high = row["against_base"]
        typer.echo(f"{row['group']:>10}  {row['name']:<40} {value:.3f} [{low:.3f}, {high:.3f}]")
    if results is not None:
        for path in write_ablation(done, results):
            typer.echo(str(path))
