"""The commands ``gfrnn demo`` and ``gfrnn nature``, which simulate weather."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfrnn.pipeline.errors import ConfigError, RunError
from gfrnn.workflows.commands.console import console
from gfrnn.workflows.commands.options import (
    ClusterFile,
    ClusterOptions,
    Force,
    Memory,
    Output,
    Scheduler,
    StopAfter,
    StopBefore,
    Workers,
)
from gfrnn.workflows.session.command_output import add_results
from gfrnn.workflows.session.graceful_stop import print_time_limit, set_time_limit
from gfrnn.workflows.session.printed_lines import print_product

DEMO = Path(__file__).parents[1] / "experiments" / "nature.yaml"
"""Experiment file whose data are simulated."""


def demo(
    output: Output = None,
    force: Force = False,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    stop_before: StopBefore = None,
    stop_after: StopAfter = None,
) -> None:
    """Run an example that needs no data: simulate weather, train, forecast, verify and report.

    Eight years of weather are simulated with a quasi-geostrophic model and written
    to runs/nature.zarr. It takes one to two minutes on two cores.

    Example: [bold]gfrnn demo[/bold]
    """
    set_time_limit(stop_before, stop_after)
    run_demo(output, force, ClusterOptions(cluster, workers, memory, scheduler))


def run_demo(
    output: Path | None, force: bool, options: ClusterOptions, strict: bool = False
) -> None:
    """Compute all stages of the example, and its data if they are missing.

    Raises
    ------
    ConfigError
        If the data are missing in an allocation, where each process would write them.
    """
    from gfrnn.pipeline import load_experiment
    from gfrnn.workflows.commands.run_stages import run_experiment
    from gfrnn.workflows.session.given_paths import default_folder

    experiment = load_experiment(DEMO)
    config = options.config(experiment.cluster, DEMO.name)
    store = Path(str(experiment.data.sources[0].path))
    if not store.exists():
        years = experiment.periods.test.end.year - experiment.periods.train.start.year + 1
        if config.in_allocation:
            raise ConfigError(
                f"cluster.kind: {config.kind}: the data are missing; write them first with "
                f"`gfrnn nature {store} --years {years}`"
            )
        print_time_limit(console)
        nature(store, years)
    run_experiment(experiment, config, output or default_folder(experiment), force, strict)


def nature(
    path: Annotated[Path, typer.Argument(help="The zarr store to write.", metavar="OUT.zarr")],
    years: Annotated[int, typer.Option(min=1, help="Number of calendar years.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the initial state.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing store.")] = False,
) -> None:
    """Simulate weather with a quasi-geostrophic model and write it as an ERA5-like zarr store.

    Example: [bold]gfrnn nature nature.zarr --years 10[/bold]
    """
    if path.exists() and not force:
        raise RunError(f"{path}: exists already; choose another name, or replace it with --force")
    from gfrnn.workflows.nature_run import write_nature
    from gfrnn.workflows.session.progress_display import show_progress

    with show_progress(console) as progress:
        write_nature(path, years=years, seed=seed, overwrite=force, progress=progress)
    add_results(nature=path)
    print_product(console, "nature run", f"{path} (simulated weather, not the real one)")
