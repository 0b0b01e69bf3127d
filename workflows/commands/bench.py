"""The commands ``gfrnn bench ...``: measurements of this machine beside references."""

from __future__ import annotations

from typing import Annotated

import typer

from gfrnn.workflows.benchmarks import (
    era5_plan,
    pass_speed,
    perturbation_speed,
    plan_accuracy,
    rollout_speed,
    worker_scaling,
)
from gfrnn.workflows.commands.console import console
from gfrnn.workflows.commands.options import parse_counts

Rounds = Annotated[
    int, typer.Option(min=1, help="Repetitions, e.g. 3; the shortest time of each counts.")
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Run the same code on a smaller problem, under a minute.")
]
Sizes = Annotated[str, typer.Option("--sizes", help="Numbers of hidden features, e.g. 500,1000.")]

bench = typer.Typer(
    help="Measure this machine beside references measured in the same run.\n\n"
    "Example: [bold]gfrnn bench pass --quick[/bold]",
    no_args_is_help=True,
)


@bench.command("pass")
def training_pass(quick: Quick = False, rounds: Rounds = 1) -> None:
    """Compare the training pass with matrix products, dask.array and reading alone.

    Two workers with one thread each.

    Example: [bold]gfrnn bench pass --quick[/bold]
    """
    for table in pass_speed.run(pass_speed.QUICK if quick else pass_speed.FULL, rounds):
        console.print(table)


@bench.command("scaling")
def scaling(quick: Quick = False, rounds: Rounds = 1) -> None:
    """Compare the training pass on one and two workers, with few and many rows.

    Example: [bold]gfrnn bench scaling --quick[/bold]
    """
    for table in worker_scaling.run(worker_scaling.QUICK if quick else worker_scaling.FULL, rounds):
        console.print(table)


@bench.command("rollout")
def rollout(quick: Quick = False, rounds: Rounds = 5) -> None:
    """Compare forecast steps on 64 patches with their arithmetic alone.

    Example: [bold]gfrnn bench rollout --quick[/bold]
    """
    for table in rollout_speed.run(rollout_speed.QUICK if quick else rollout_speed.FULL, rounds):
        console.print(table)


@bench.command("perturbation")
def perturbation(sizes: Sizes = "500", rounds: Rounds = 5) -> None:
    """Compare learning by perturbation with a PyTorch loop of the same forward passes.

    Needs PyTorch: pip install 'gfrnn\\[bench]'.

    Example: [bold]gfrnn bench perturbation --sizes 500,1000[/bold]
    """
    console.print(perturbation_speed.run(parse_counts("--sizes", sizes), rounds))


@bench.command("plan")
def plan(sizes: Sizes = "500", rounds: Rounds = 5) -> None:
    """Compare the planned and the measured time of each stage of a fit.

    Example: [bold]gfrnn bench plan --sizes 500,1500[/bold]
    """
    console.print(plan_accuracy.run(parse_counts("--sizes", sizes), rounds))


@bench.command("scale")
def era5_scale(
    nodes: Annotated[
        str, typer.Option("--sizes", help="Numbers of nodes, e.g. 1,10.")
    ] = "1,10,100",
) -> None:
    """Estimate a fit on 40 years of hourly ERA5 from the rates of this machine.

    Example: [bold]gfrnn bench scale --sizes 1,10[/bold]
    """
    console.print(era5_plan.run(parse_counts("--sizes", nodes)))
