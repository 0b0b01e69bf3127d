"""The commands ``gfrnn bench ...``: speed on this machine, compared with reference programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfrnn.pipeline.errors import RunError
from gfrnn.workflows.commands.console import console
from gfrnn.workflows.commands.options import parse_counts
from gfrnn.workflows.session.command_output import show_table

Rounds = Annotated[
    int, typer.Option(min=1, help="Number of repetitions, e.g. 3; the shortest time counts.")
]
Quick = Annotated[
    bool,
    typer.Option("--quick", help="Run the same code on a smaller problem, in less than a minute."),
]
Sizes = Annotated[str, typer.Option("--sizes", help="Numbers of hidden features, e.g. 500,1000.")]

bench = typer.Typer(
    help="Measure speed, skill and robustness on this machine.\n\n"
    "Example: [bold]gfrnn bench pass --quick[/bold]",
    no_args_is_help=True,
)


@bench.command("pass")
def training_pass(quick: Quick = False, rounds: Rounds = 1) -> None:
    """Compare the speed of the training pass with matrix products, dask.array and plain reading.

    It runs on two workers with one thread each.

    Example: [bold]gfrnn bench pass --quick[/bold]
    """
    from gfrnn.workflows.benchmarks import pass_speed

    for table in pass_speed.run(pass_speed.QUICK if quick else pass_speed.FULL, rounds):
        show_table(console, table)


@bench.command("scaling")
def scaling(quick: Quick = False, rounds: Rounds = 1) -> None:
    """Compare the speed of the training pass on one and on two workers, with few and many rows.

    Example: [bold]gfrnn bench scaling --quick[/bold]
    """
    from gfrnn.workflows.benchmarks import worker_scaling

    for table in worker_scaling.run(worker_scaling.QUICK if quick else worker_scaling.FULL, rounds):
        show_table(console, table)


@bench.command("rollout")
def rollout(quick: Quick = False, rounds: Rounds = 5) -> None:
    """Compare the time of forecast steps on 64 patches with that of their matrix products.

    Example: [bold]gfrnn bench rollout --quick[/bold]
    """
    from gfrnn.workflows.benchmarks import rollout_speed

    for table in rollout_speed.run(rollout_speed.QUICK if quick else rollout_speed.FULL, rounds):
        show_table(console, table)


@bench.command("perturbation")
def perturbation(sizes: Sizes = "500", rounds: Rounds = 5) -> None:
    """Compare learning by perturbation with a PyTorch loop of the same forward passes.

    Without PyTorch, which is in GFRNN's extra bench, only the times of this program are printed.

    Example: [bold]gfrnn bench perturbation --sizes 500,1000[/bold]
    """
    from gfrnn.workflows.benchmarks import perturbation_speed

    show_table(console, perturbation_speed.run(parse_counts("--sizes", sizes), rounds))


@bench.command("plan")
def plan(sizes: Sizes = "500", rounds: Rounds = 5) -> None:
    """Compare the planned and the measured time of each stage of a fit.

    Example: [bold]gfrnn bench plan --sizes 500,1500[/bold]
    """
    from gfrnn.workflows.benchmarks import plan_accuracy

    show_table(console, plan_accuracy.run(parse_counts("--sizes", sizes), rounds))


@bench.command("scale")
def era5_scale(
    nodes: Annotated[
        str, typer.Option("--sizes", help="Numbers of nodes, e.g. 1,10.")
    ] = "1,10,100",
) -> None:
    """Estimate a fit on 40 years of hourly ERA5 from the rates of this machine.

    Example: [bold]gfrnn bench scale --sizes 1,10[/bold]
    """
    from gfrnn.workflows.benchmarks import era5_plan

    show_table(console, era5_plan.run(parse_counts("--sizes", nodes)))


@bench.command("store")
def store(quick: Quick = False, rounds: Rounds = 3) -> None:
    """Compare accesses to forecasts in chunks by size with those in chunks of one field.

    Example: [bold]gfrnn bench store --quick[/bold]
    """
    from gfrnn.workflows.benchmarks.stores import store_chunks

    for table in store_chunks.run(store_chunks.QUICK if quick else store_chunks.FULL, rounds):
        show_table(console, table)


@bench.command("verify")
def verify(quick: Quick = False, rounds: Rounds = 3) -> None:
    """Compare the scoring of made-up forecasts with plain decoding of them and their truth.

    Example: [bold]gfrnn bench verify --quick[/bold]
    """
    from gfrnn.workflows.benchmarks.stores import verification_speed

    size = verification_speed.QUICK if quick else verification_speed.FULL
    for table in verification_speed.run(size, rounds, not quick):
        show_table(console, table)


@bench.command("skill")
def skill(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished runs.")],
) -> None:
    """Score the forecasts of finished runs from their stores, and compare them with bars.

    The code shares nothing with `gfrnn verify`, whose scores are checked too. Bars exist for the
    example experiments nature, era_interim_europe and enso.

    Example: [bold]gfrnn bench skill runs/nature runs/enso[/bold]
    """
    from gfrnn.workflows.benchmarks import forecast_skill

    for table in forecast_skill.run(runs):
        show_table(console, table)


@bench.command("chaos")
def chaos(
    minutes: Annotated[
        float, typer.Option(min=0.0, help="Time in which faults are caused, e.g. 60.")
    ] = 10.0,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, help="Seed of the first fault; the others follow. Default: a random one."
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Stop after this number of faults, e.g. 1.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Folder for temporary files, which also keeps what failed commands have printed. "
            "Default: the folder of the system, where nothing is kept."
        ),
    ] = None,
) -> None:
    """Cause random faults in small runs, and compare each end with that of a run without faults.

    Faults are kills of commands and workers at file operations and at random
    moments, signals, full, read-only and slow disks, jumps of the clock, damaged
    files, and two commands at once. Each has a seed that repeats it. The exit code
    is 1 if finished work was lost, a command could not be repeated, damage went
    unnoticed, or a traceback was printed.

    Examples: [bold]gfrnn bench chaos --minutes 60[/bold];
    [bold]gfrnn bench chaos --seed 417 --trials 1[/bold]
    """
    from gfrnn.workflows.chaos import campaign

    def report(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    table, failed = campaign.run_campaign(minutes, seed, trials, report, folder)
    show_table(console, table)
    if failed:
        raise typer.Exit(1)


@bench.command("peers")
def peers(
    rows: Annotated[
        str | None,
        typer.Option(
            "--rows", help="Names of comparisons, e.g. era-interim,lorenz63. Default: all."
        ),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            help="Measure only models with this text in their name, e.g. xesn; the others keep "
            "earlier results. Default: all."
        ),
    ] = None,
    quick: Quick = False,
    rounds: Rounds = 1,
    folder: Annotated[
        Path, typer.Option(help="Folder of peers.json and peers.md, which keep earlier results.")
    ] = Path("runs/peers"),
) -> None:
    """Compare with programs that could be used instead: errors, processor time and memory.

    Each fit runs in a process of its own with one thread. Settings are chosen on validation data.
    What is not installed is named in the table; the extra peers of GFRNN installs all. The exit
    code is 1 if a program failed.

    Examples: [bold]gfrnn bench peers[/bold];
    [bold]gfrnn bench peers --rows era-interim --quick[/bold]
    """
    from gfrnn.workflows.benchmarks.peers import run as comparisons

    names = comparisons.chosen_names(rows)
    failed = False
    for result, tables in comparisons.run(names, quick, rounds, folder, console.print, models):
        failed |= result.failed
        for table in tables:
            show_table(console, table)
    if failed:
        raise typer.Exit(1)


@bench.command("job")
def job(
    archive: Annotated[
        Path,
        typer.Argument(
            help="Nature run of eight years: that of `gfrnn demo`, or another one of its form."
        ),
    ] = Path("runs/nature.zarr"),
) -> None:
    """Measure the processor time of each stage of `gfrnn run` beside that of its bare arithmetic.

    It takes a few minutes on one core.

    Example: [bold]gfrnn bench job runs/nature.zarr[/bold]
    """
    if not archive.exists():
        raise RunError(
            f"{archive}: not found; give the nature run of gfrnn demo, or make one: "
            f"gfrnn nature {archive} --years 8"
        )
    from gfrnn.workflows.benchmarks import job_stages

    for table in job_stages.run(archive):
        show_table(console, table)
