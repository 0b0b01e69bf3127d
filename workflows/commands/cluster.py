"""The command ``gfrnn cluster check``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from gfrnn.cluster import Cluster, ClusterConfig, open_cluster
from gfrnn.cluster.human_units import human_bytes
from gfrnn.workflows.cluster_check.probe import WorkerProbe, probe_workers
from gfrnn.workflows.cluster_check.problems import ClusterFinding, find_problems
from gfrnn.workflows.commands.console import console, print_findings
from gfrnn.workflows.commands.options import (
    ClusterFile,
    ClusterOptions,
    Memory,
    Scheduler,
    Workers,
)
from gfrnn.workflows.session.run_session import print_cluster_line

CHECK_FAILED = 1
"""Exit code if runs would fail on the cluster."""

_LEGEND = (
    "memory: limit of the worker; tasks: at the same time; threads: BLAS threads outside of tasks",
    "QR, dgemm: Gflop/s of one thread, with all workers busy",
    "in, out, on: MB/s from the driver, to the driver, to the next worker",
)

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
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Start a cluster, run a short test on every worker, list problems, and stop it.

    The test covers hosts, memory, threads, package versions, speed, bandwidth,
    the folder of runs and the spill folder. The exit code is 1 if runs would fail.

    Example: [bold]gfrnn cluster check --cluster slurm.yaml --output /scratch/me/runs[/bold]
    """
    config = ClusterOptions(cluster, workers, memory, scheduler).config({}, "options")

    def print_line(line: str) -> None:
        if not as_json:
            print_cluster_line(console, line)

    with open_cluster(config, folder=output, report=print_line) as opened:
        missing = _await_workers(opened, config)
        probes = probe_workers(opened.client, output, config.timeout)
        description = opened.describe()
    findings = missing + find_problems(probes, output.absolute())
    if as_json:
        tree = {
            "cluster": description,
            "workers": [asdict(worker) for worker in probes],
            "findings": [asdict(finding) for finding in findings],
        }
        json.dump(tree, sys.stdout, indent=2, default=list)
        sys.stdout.write("\n")
    else:
        _print_workers(probes)
        print_findings(astuple(finding) for finding in findings)
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(CHECK_FAILED)


def _await_workers(opened: Cluster, config: ClusterConfig) -> list[ClusterFinding]:
    """Wait for all workers, as the check covers each; a run starts with the first one."""
    wanted = config.workers or 1
    try:
        opened.client.wait_for_workers(wanted, timeout=config.timeout)
    except TimeoutError:
        present = len(opened.client.nthreads())
        message = (
            f"{present} of {wanted} workers have connected within {config.timeout:g} s; increase "
            "cluster.timeout"
        )
        return [ClusterFinding("warning", config.kind, message)]
    return []


def _print_workers(workers: Sequence[WorkerProbe]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("worker", "host"):
        table.add_column(name)
    for name in ("memory", "tasks", "threads", "QR", "dgemm", "in", "out", "on"):
        table.add_column(name, justify="right")
    for worker in workers:
        table.add_row(worker.name, *_cells(worker))
    console.print(table)
    for line in _LEGEND:
        console.print(line, style="dim", highlight=False)
    libraries = sorted({worker.node.blas for worker in workers if worker.node})
    console.print(f"BLAS: {'; '.join(libraries)}", highlight=False, markup=False)


def _cells(worker: WorkerProbe) -> list[str]:
    node = worker.node
    if node is None:
        return []
    rates = [worker.bandwidth.get(key) for key in ("from_driver", "to_driver", "to_next")]
    return [
        node.host,
        "no limit" if node.memory is None else human_bytes(node.memory),
        str(node.threads),
        str(node.blas_threads),
        f"{node.folding / 1e9:.1f}",
        f"{node.product / 1e9:.1f}",
        *("" if rate is None else f"{rate / 1e6:.0f}" for rate in rates),
    ]
