"""The commands ``gfrnn cluster ...``: about where runs are computed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from gfrnn.cluster import Cluster, ClusterConfig, open_cluster
from gfrnn.workflows.cluster_check.judgement import ClusterFinding, judge
from gfrnn.workflows.cluster_check.probe import WorkerProbe, probe
from gfrnn.workflows.commands.fit_plan import size
from gfrnn.workflows.commands.options import ClusterFile, Memory, Place, Scheduler, Workers

CHECK_FAILED = 1
"""The exit code where runs would not work."""

_LEGEND = (
    "memory: at most; tasks: at a time; threads: of BLAS outside of tasks, which have one",
    "QR, dgemm: Gflop/s of one thread, all workers at the same time",
    "in, out, on: MB/s from the driver, to the driver, to the next worker",
)


def add_cluster(app: typer.Typer, console: Callable[[], Console]) -> None:
    """Give the app these commands, which print on its console."""
    group = typer.Typer(
        help="Where runs are computed.\n\nExample: [bold]gfrnn cluster check --cluster "
        "slurm.yaml[/bold]",
        no_args_is_help=True,
    )
    app.add_typer(group, name="cluster")

    @group.command()
    def check(
        cluster: ClusterFile = None,
        output: Annotated[
            Path, typer.Option("--output", "-o", help="A folder for runs, which workers must see.")
        ] = Path("runs"),
        workers: Workers = None,
        memory: Memory = None,
        scheduler: Scheduler = None,
        as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    ) -> None:
        """Start a cluster, let every worker fold some rows, say what is wrong, and stop it.

        Hosts, memory, threads, versions, bandwidth, the run's folder and the folder to spill into.
        The exit code is 1 where runs would not work.

        Example: [bold]gfrnn cluster check --cluster slurm.yaml --output /scratch/me/runs[/bold]
        """
        config = Place(cluster, workers, memory, scheduler).config({}, "options")

        def say(line: str) -> None:
            if not as_json:
                console().print(f"cluster: {line}", highlight=False, markup=False)

        with open_cluster(config, folder=output, say=say) as opened:
            late = _await_workers(opened, config)
            found = probe(opened.client, output, config.timeout)
            described = opened.describe()
        findings = late + judge(found, output.absolute())
        if as_json:
            tree = {
                "cluster": described,
                "workers": [asdict(worker) for worker in found],
                "findings": [asdict(finding) for finding in findings],
            }
            json.dump(tree, sys.stdout, indent=2, default=list)
            sys.stdout.write("\n")
        else:
            _show(found, findings, console())
        if any(finding.severity == "error" for finding in findings):
            raise typer.Exit(CHECK_FAILED)


def _await_workers(opened: Cluster, config: ClusterConfig) -> list[ClusterFinding]:
    """Jobs start one after another; runs begin with the first, but here all are asked."""
    wanted = config.workers or 1
    try:
        opened.client.wait_for_workers(wanted, timeout=config.timeout)
    except TimeoutError:
        there = len(opened.client.nthreads())
        message = f"{there} of {wanted} workers are there after {config.timeout:g} s"
        return [
            ClusterFinding("warning", config.kind, f"{message}; give cluster.timeout more seconds")
        ]
    return []


def _show(
    workers: Sequence[WorkerProbe], findings: Sequence[ClusterFinding], console: Console
) -> None:
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
    for finding in findings:
        style = {"error": "red", "warning": "yellow"}[finding.severity]
        console.print(f"[{style}]{finding.severity}[/{style}]", end=" ")
        console.print(f"{finding.where}: {finding.message}", highlight=False, markup=False)
    if not findings:
        console.print("nothing wrong was found")


def _cells(worker: WorkerProbe) -> list[str]:
    node = worker.node
    if node is None:
        return []
    rates = [worker.bandwidth.get(key) for key in ("from_driver", "to_driver", "to_next")]
    return [
        node.host,
        "no limit" if node.memory is None else size(node.memory),
        str(node.threads),
        str(node.blas_threads),
        f"{node.folding / 1e9:.1f}",
        f"{node.product / 1e9:.1f}",
        *("" if rate is None else f"{rate / 1e6:.0f}" for rate in rates),
    ]
