"""The commands ``gfrnn bench ...``: this machine, side by side with references."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.benchmarks import era5_plan, pass_speed, worker_scaling
from gfrnn.workflows.benchmarks import perturbation_speed as perturbation
from gfrnn.workflows.benchmarks import plan_accuracy as plan
from gfrnn.workflows.benchmarks import rollout_speed as rollout

Rounds = Annotated[int, typer.Option(min=1, help="Rounds; the least time of each counts.")]
Quick = Annotated[bool, typer.Option("--quick", help="Smaller, in under a minute; the same code.")]


def add_benchmarks(app: typer.Typer, console: Callable[[], Console]) -> None:
    """Give the app the benchmarks, which print on its console."""
    bench = typer.Typer(
        help="Measure this machine, side by side with references that are measured in the same "
        "run.\n\nExample: [bold]gfrnn bench pass --quick[/bold]",
        no_args_is_help=True,
    )
    app.add_typer(bench, name="bench")

    @bench.command("pass")
    def training(quick: Quick = False, rounds: Rounds = 1) -> None:
        """The training pass beside products of matrices, dask.array and reading alone.

        Two workers of one thread each.
        """
        size = pass_speed.QUICK if quick else pass_speed.FULL
        for table in pass_speed.run(size, rounds):
            console().print(table)

    @bench.command("scaling")
    def more(quick: Quick = False, rounds: Rounds = 1) -> None:
        """The training pass with one worker and two, few rows and many, and its overhead."""
        size = worker_scaling.QUICK if quick else worker_scaling.FULL
        for table in worker_scaling.run(size, rounds):
            console().print(table)

    @bench.command("rollout")
    def steps(quick: Quick = False, rounds: Rounds = 5) -> None:
        """Steps of a forecast on 64 patches beside their bare arithmetic."""
        size = rollout.QUICK if quick else rollout.FULL
        for table in rollout.run(size, rounds):
            console().print(table)

    @bench.command("perturbation")
    def learning(
        sizes: Annotated[str, typer.Option(help="Hidden units, e.g. 500,1000.")] = "500",
        rounds: Rounds = 5,
    ) -> None:
        """Learning by perturbation beside a PyTorch loop of the same passes.

        With PyTorch: pip install 'gfrnn\\[bench]'
        """
        console().print(perturbation.run(_positive(sizes), rounds))

    @bench.command("plan")
    def planned(
        sizes: Annotated[str, typer.Option(help="Hidden features, e.g. 500,1000.")] = "500",
        rounds: Rounds = 5,
    ) -> None:
        """What a plan says that a fit takes, beside what it took, stage by stage."""
        console().print(plan.run(_positive(sizes), rounds))

    @bench.command("scale")
    def archive(
        nodes: Annotated[str, typer.Option("--sizes", help="Nodes, e.g. 1,10.")] = "1,10,100",
    ) -> None:
        """What 40 years of hourly ERA5 would take, at the rates of this machine."""
        console().print(era5_plan.run(_positive(nodes)))


def _positive(text: str) -> list[int]:
    """The numbers of ``--sizes``.

    Raises
    ------
    ConfigError
    """
    numbers = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) > 0 for part in numbers):
        raise ConfigError(f"--sizes: {text!r} is not a list of positive integers, e.g. 500,1000")
    return [int(part) for part in numbers]
