"""The command ``gfrnn cluster check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfrnn.workflows.commands.console import console
from gfrnn.workflows.commands.options import (
    ClusterFile,
    ClusterOptions,
    Memory,
    Scheduler,
    Workers,
)

CHECK_FAILED = 1
"""Exit code if runs would fail on the cluster."""

cluster = typer.Typer(
    help="Check whether a cluster can compute runs.\n\n"
    "Example: [bold]gfrnn cluster check --cluster slurm.yaml[/bold]",
    no_args_is_help=True,
)


@cluster.callback()
def group() -> None:
    """Keep ``check`` a subcommand; typer would drop the name of an only one."""


@cluster.command()
def check(
    cluster: ClusterFile = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for runs, which all workers must be able to write."
        ),
    ] = Path("runs"),
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
) -> None:
    """Start a cluster, run a short test on every worker, list problems, and stop it.

    The test covers hosts, memory, threads, package versions, speed, bandwidth,
    the folder of runs and the spill folder. The exit code is 1 if runs would fail.

    Example: [bold]gfrnn cluster check --cluster slurm.yaml --output /scratch/me/runs[/bold]
    """
    from gfrnn.workflows.cluster_check.check import check_cluster

    config = ClusterOptions(cluster, workers, memory, scheduler).config({}, "options")
    if not check_cluster(config, output, console):
        raise typer.Exit(CHECK_FAILED)
