"""Probe the workers of a cluster: resources, speed, bandwidth, versions and file access."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from distributed import Client, Future, get_worker, wait
from threadpoolctl import threadpool_info

from gfrnn.pipeline.planning.machine_rates import folding_rate, product_rate
from gfrnn.pipeline.reduction.dask_client import workers_of

_SENT = 2**24
"""Bytes transferred to measure bandwidth."""


@dataclass(frozen=True)
class SpillFolder:
    """The folder into which a worker writes data that do not fit into memory.

    Attributes
    ----------
    folder : str
    system : str
        Type of file system, e.g. ``ext4``.
    trouble : str
        Why the folder cannot be written; empty if it can.
    """

    folder: str
    system: str
    trouble: str


@dataclass(frozen=True)
class WorkerInfo:
    """Resources, speed and file access of a worker, measured on it.

    Attributes
    ----------
    host : str
    cores : frozenset of int
        Cores that the worker may use.
    threads : int
        Tasks at the same time.
    memory : int or None
        Limit in bytes.
    blas : str
        Library and version.
    blas_threads : int
        BLAS threads outside of tasks, which have one.
    product, folding : float
        Operations per second of one thread, with all workers busy: of a matrix product, and of the
        QR of rows.
    sees_folder : bool
        Whether the worker can read what the driver has written into the folder of runs.
    spill : SpillFolder
    """

    host: str
    cores: frozenset[int]
    threads: int
    memory: int | None
    blas: str
    blas_threads: int
    product: float
    folding: float
    sees_folder: bool
    spill: SpillFolder


@dataclass(frozen=True)
class WorkerProbe:
    """Result of probing a worker.

    Attributes
    ----------
    name : str
    node : WorkerInfo or None
        None if the worker did not answer.
    trouble : str
        Why the worker did not answer.
    versions : mapping of str to pair of str
        For each package that differs: the version of the worker and that of the driver.
    written : bool
        Whether the driver can read what the worker has written into the folder of runs.
    bandwidth : mapping of str to float
        Bytes per second: ``from_driver``, ``to_driver`` and ``to_next`` worker.
    """

    name: str
    node: WorkerInfo | None = None
    trouble: str = ""
    versions: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    written: bool = False
    bandwidth: Mapping[str, float] = field(default_factory=dict)


def probe_workers(client: Client, folder: Path, timeout: float) -> list[WorkerProbe]:
    """Probe all workers at the same time, and then the bandwidth of each.

    Parameters
    ----------
    client : distributed.Client
    folder : Path
        Folder of runs; temporary files are written there.
    timeout : float
        Seconds to wait for an answer.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(8)
    file = folder / f".gfrnn-check-{token}"
    file.write_text(token, encoding="ascii")
    infos = workers_of(client)
    written = {
        address: file.with_name(f"{file.name}-{number}") for number, address in enumerate(infos)
    }
    try:
        asked = {
            address: _at(client, address, inspect_worker, file, token, written[address])
            for address in infos
        }
        _wait(asked.values(), timeout)
        workers = {
            address: _answer(str(infos[address]["name"]), future, written[address], timeout)
            for address, future in asked.items()
        }
    finally:
        for path in (file, *written.values()):
            path.unlink(missing_ok=True)
    versions: Any = client.get_versions()
    sound = [address for address, worker in workers.items() if worker.node is not None]
    for address in sound:
        workers[address] = replace(
            workers[address],
            versions=version_differences(versions["client"], versions["workers"][address]),
            bandwidth=_bandwidth(client, address, _next(sound, address)),
        )
    return list(workers.values())


def version_differences(
    ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> dict[str, tuple[str, str]]:
    """Return packages whose versions differ: the version in `theirs` and that in `ours`.

    Both have the form of :meth:`distributed.Client.get_versions`.
    """
    here = {**ours["packages"], "python": ours["host"]["python"]}
    there = {**theirs["packages"], "python": theirs["host"]["python"]}
    return {
        package: (str(there.get(package) or "none"), str(here.get(package) or "none"))
        for package in sorted(here.keys() | there.keys())
        if here.get(package) != there.get(package)
    }


def _wait(futures: Iterable[Future], timeout: float) -> None:
    with suppress(TimeoutError):
        wait(list(futures), timeout=timeout)


def _at(client: Client, address: str, function: Any, *arguments: Any) -> Future:
    return client.submit(function, *arguments, workers=[address], pure=False)


def _answer(name: str, future: Future, written: Path, timeout: float) -> WorkerProbe:
    if future.status == "finished":
        return WorkerProbe(name, future.result(), written=written.exists())
    if future.status != "error":
        return WorkerProbe(name, trouble=f"no answer within {timeout:g} s; check its log")
    error = future.exception()
    return WorkerProbe(
        name,
        trouble=f"cannot run this GFRNN ({type(error).__name__}: {error}); install it there as "
        "here, or start the worker in the driver's environment (cluster.python, cluster.setup)",
    )


def inspect_worker(file: Path, token: str, written: Path) -> WorkerInfo:
    """Inspect the worker that runs this task."""
    worker = get_worker()
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    try:
        sees = file.read_text(encoding="ascii") == token
        written.write_text(token, encoding="ascii")
    except OSError:
        sees = file.exists()
    return WorkerInfo(
        host=socket.gethostname(),
        cores=frozenset(os.sched_getaffinity(0)),
        threads=worker.state.nthreads,
        memory=worker.memory_manager.memory_limit,
        blas=", ".join(sorted({f"{pool['internal_api']} {pool['version']}" for pool in pools})),
        blas_threads=max((pool["num_threads"] for pool in pools), default=1),
        product=product_rate("float64"),
        folding=folding_rate(),
        sees_folder=sees,
        spill=_inspect_spill(Path(worker.local_directory)),
    )


def _inspect_spill(folder: Path) -> SpillFolder:
    trouble = ""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        trouble = error.strerror or str(error)
    mounts = [
        disk
        for disk in psutil.disk_partitions(all=True)
        if folder.resolve().is_relative_to(disk.mountpoint)
    ]
    # The later of two mounts at one place hides the earlier one.
    system = max(enumerate(mounts), key=lambda each: (len(each[1].mountpoint), each[0]))[1].fstype
    return SpillFolder(str(folder), system, trouble)


def _next(addresses: Sequence[str], address: str) -> str:
    return addresses[(addresses.index(address) + 1) % len(addresses)]


def _bandwidth(client: Client, address: str, other: str) -> dict[str, float]:
    """Measure bytes per second from and to the driver and to another worker, by Dask transfers."""
    data = _random_bytes(_SENT)
    begun = time.perf_counter()
    wait(client.scatter(data, workers=[address], hash=False))
    received = time.perf_counter() - begun
    held = _at(client, address, _random_bytes, _SENT)
    wait(held)
    begun = time.perf_counter()
    client.gather(held)
    found = {"from_driver": received, "to_driver": time.perf_counter() - begun}
    if other != address:
        begun = time.perf_counter()
        wait(_at(client, other, len, held))
        found["to_next"] = time.perf_counter() - begun
    return {name: _SENT / seconds for name, seconds in found.items()}


def _random_bytes(size: int) -> bytes:
    return np.random.default_rng().bytes(size)  # not compressible
