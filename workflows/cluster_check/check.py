"""Check of a cluster: start it, probe its workers, and print what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from functools import partial
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from gfrnn.cluster import Cluster, ClusterConfig, open_cluster
from gfrnn.cluster.human_units import human_bytes
from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.cluster_check.probe import WorkerProbe, probe_workers
from gfrnn.workflows.cluster_check.problems import ClusterFinding, find_problems
from gfrnn.workflows.commands.console import print_findings
from gfrnn.workflows.session.command_output import add_results
from gfrnn.workflows.session.printed_lines import print_cluster_line

_LEGEND = (
    "memory: limit of the worker; tasks: at the same time; threads: BLAS threads outside of tasks",
    "QR, dgemm: Gflop/s of one thread, with all workers busy",
    "in, out, on: MB/s from the driver, to the driver, to the next worker",
)


def check_cluster(config: ClusterConfig, folder: Path, console: Console) -> bool:
    """Start a cluster, test its workers, print the result, and return whether runs can use it.

    Parameters
    ----------
    config : ClusterConfig
    folder : Path
        Folder for runs, which all workers must be able to write.
    console : Console

    Raises
    ------
    ConfigError
        If the folder is a file.
    ClusterError
        If the cluster does not start.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--output: {folder}: is a file; give the name of a folder")
    with open_cluster(config, folder=folder, report=partial(print_cluster_line, console)) as opened:
        missing = _await_workers(opened, config)
        probes = probe_workers(opened.client, folder, config.timeout)
        description = opened.describe()
    findings = missing + find_problems(probes, folder.absolute())
    add_results(cluster=description, workers=probes, findings=findings)
    print_workers(probes, console)
    print_findings(astuple(finding) for finding in findings)
    return not any(finding.severity == "error" for finding in findings)


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


def print_workers(workers: Sequence[WorkerProbe], console: Console) -> None:
    """Print a table of the workers, and what its columns are."""
    # The box has a column of space between two cells.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for name in ("worker", "host"):  # broken where the terminal is narrow, as their ends differ
        table.add_column(name, overflow="fold")
    for name in ("memory", "tasks", "threads", "QR", "dgemm", "in", "out", "on"):
        table.add_column(name, justify="right", no_wrap=True)
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
