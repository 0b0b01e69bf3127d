"""Whether a cluster will do: what each worker is, and what is wrong, in plain words."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gfrnn.workflows.cluster_check.probe import Node, WorkerProbe

_SLOW = 0.5
"""A worker slower than this part of the median is one to look at."""

_SHARED = {
    *("afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "gpfs", "lustre", "nfs"),
    *("nfs4", "panfs", "smb3", "smbfs"),
}
"""File systems that are reached over the network."""


@dataclass(frozen=True)
class ClusterFinding:
    """Something that is wrong: an error keeps runs from working, a warning makes them slow."""

    severity: str
    where: str
    message: str


Found = Iterator[tuple[str, str, str]]
"""Severity, message, worker or host."""


def judge(workers: Sequence[WorkerProbe], folder: Path) -> list[ClusterFinding]:
    """What is wrong; the same finding of several workers is one.

    Parameters
    ----------
    workers : sequence of WorkerProbe
    folder : Path
        Of the run.
    """
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    checks: list[Callable[[Sequence[WorkerProbe]], Found]] = [
        _answers,
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


def _answers(workers: Sequence[WorkerProbe]) -> Found:
    for worker in workers:
        if worker.node is None:
            yield "error", worker.trouble, worker.name


def _versions(workers: Sequence[WorkerProbe]) -> Found:
    for worker in workers:
        if worker.versions:
            differing = ", ".join(
                f"{package} {there} (here {here})"
                for package, (there, here) in sorted(worker.versions.items())
            )
            yield (
                "error",
                f"other versions than the driver's: {differing}; start the workers in the driver's "
                "environment (cluster.python, cluster.setup)",
                worker.name,
            )


def _folder(workers: Sequence[WorkerProbe], folder: Path) -> Found:
    for worker in workers:
        if worker.node is None:
            continue
        if not worker.node.sees_folder:
            why = "is not seen there; put the run's folder (--output) where all nodes see it"
            yield "error", f"the folder {folder} {why}", worker.name
        elif not worker.written:
            why = "cannot be written from there; look at its permissions and at the node's mounts"
            yield "error", f"the folder {folder} {why}", worker.name


def _spill(workers: Sequence[WorkerProbe]) -> Found:
    for worker in workers:
        if worker.node is None:
            continue
        spill = worker.node.spill
        if spill.trouble:
            yield (
                "error",
                f"the spill folder {spill.folder} cannot be written ({spill.trouble}); give "
                "cluster.spill a local one that can",
                worker.name,
            )
        elif spill.system in _SHARED:
            yield (
                "warning",
                f"the spill folder {spill.folder} is on {spill.system}, over the network; give "
                "cluster.spill a local one",
                worker.name,
            )


def _blas(workers: Sequence[WorkerProbe]) -> Found:
    hosts: dict[str, list[Node]] = defaultdict(list)
    for worker in workers:
        if worker.node:
            hosts[worker.node.host].append(worker.node)
    for host, nodes in hosts.items():
        threads = sum(node.threads * node.blas_threads for node in nodes)
        cores = len(set().union(*(node.cores for node in nodes)))
        if threads > cores and max(node.blas_threads for node in nodes) > 1:
            yield (
                "warning",
                f"{threads} BLAS threads of all workers together on {cores} cores; set "
                "OMP_NUM_THREADS=1 where workers start (cluster.setup)",
                host,
            )


def _speed(workers: Sequence[WorkerProbe]) -> Found:
    rates = {worker.name: worker.node.folding for worker in workers if worker.node}
    if not rates:
        return
    median = statistics.median(rates.values())
    for name, rate in rates.items():
        if rate < _SLOW * median:
            yield (
                "warning",
                f"folds rows with {rate / 1e9:.1f} Gflop/s, less than half of the median of "
                f"{median / 1e9:.1f}; look for what else runs there",
                name,
            )
