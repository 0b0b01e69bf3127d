"""Problems of a cluster that its probed workers show."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gfrnn.workflows.cluster_check.probe import WorkerInfo, WorkerProbe

_SLOW = 0.5
"""Share of the median rate below which a worker counts as slow."""

_SHARED = {
    *("afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "gpfs", "lustre", "nfs"),
    *("nfs4", "panfs", "smb3", "smbfs"),
}
"""Types of network file systems."""


@dataclass(frozen=True)
class ClusterFinding:
    """A problem of a cluster.

    Attributes
    ----------
    severity : str
        ``error`` if runs would fail, ``warning`` if they would be slow.
    where : str
        Workers or host.
    message : str
        What was found, and what to do.
    """

    severity: str
    where: str
    message: str


Problems = Iterator[tuple[str, str, str]]
"""Severity, message, and worker or host of each problem."""


def find_problems(workers: Sequence[WorkerProbe], folder: Path) -> list[ClusterFinding]:
    """Return the problems, each once for all the workers that have it.

    Parameters
    ----------
    workers : sequence of WorkerProbe
    folder : Path
        Folder of the runs.
    """
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    checks: list[Callable[[Sequence[WorkerProbe]], Problems]] = [
        _unresponsive,
        _versions,
        lambda workers: _folder(workers, folder),
        _spill,
        _blas,
        _speed,
    ]
    for check in checks:
        for severity, message, where in check(workers):
            places[severity, message].append(where)
    return [
        ClusterFinding(severity, ", ".join(where), message)
        for (severity, message), where in sorted(places.items(), key=lambda item: item[0][0])
    ]


def _unresponsive(workers: Sequence[WorkerProbe]) -> Problems:
    for worker in workers:
        if worker.node is None:
            yield "error", worker.trouble, worker.name


def _versions(workers: Sequence[WorkerProbe]) -> Problems:
    for worker in workers:
        if worker.versions:
            differing = ", ".join(
                f"{package} {there} (here {here})"
                for package, (there, here) in sorted(worker.versions.items())
            )
            yield (
                "error",
                f"versions differ from the driver's: {differing}; start the workers in its "
                "environment (cluster.python, cluster.setup)",
                worker.name,
            )


def _folder(workers: Sequence[WorkerProbe], folder: Path) -> Problems:
    for worker in workers:
        if worker.node is None:
            continue
        if not worker.node.sees_folder:
            why = "is not visible there; choose a folder (--output) that all nodes share"
            yield "error", f"the folder {folder} {why}", worker.name
        elif not worker.written:
            why = "cannot be written from there; check its permissions and the mounts of the node"
            yield "error", f"the folder {folder} {why}", worker.name


def _spill(workers: Sequence[WorkerProbe]) -> Problems:
    for worker in workers:
        if worker.node is None:
            continue
        spill = worker.node.spill
        if spill.trouble:
            yield (
                "error",
                f"the spill folder {spill.folder} cannot be written ({spill.trouble}); give "
                "cluster.spill a local folder that can",
                worker.name,
            )
        elif spill.system in _SHARED:
            yield (
                "warning",
                f"the spill folder {spill.folder} is on the network file system {spill.system}; "
                "give cluster.spill a local folder",
                worker.name,
            )


def _blas(workers: Sequence[WorkerProbe]) -> Problems:
    hosts: dict[str, list[WorkerInfo]] = defaultdict(list)
    for worker in workers:
        if worker.node:
            hosts[worker.node.host].append(worker.node)
    for host, nodes in hosts.items():
        threads = sum(node.threads * node.blas_threads for node in nodes)
        cores = len(set().union(*(node.cores for node in nodes)))
        if threads > cores and max(node.blas_threads for node in nodes) > 1:
            yield (
                "warning",
                f"{threads} BLAS threads of all workers on {cores} cores; set "
                "OMP_NUM_THREADS=1 where workers start (cluster.setup)",
                host,
            )


def _speed(workers: Sequence[WorkerProbe]) -> Problems:
    rates = {worker.name: worker.node.folding for worker in workers if worker.node}
    if not rates:
        return
    median = statistics.median(rates.values())
    for name, rate in rates.items():
        if rate < _SLOW * median:
            yield (
                "warning",
                f"QR of rows runs at {rate / 1e9:.1f} Gflop/s, less than half of the median of "
                f"{median / 1e9:.1f}; check what else runs there",
                name,
            )
