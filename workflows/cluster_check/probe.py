"""Ask the workers of a cluster what they are, how fast, and what they see."""

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

_SENT = 2**24
"""Bytes that travel to time it."""


@dataclass(frozen=True)
class Spill:
    """The folder where a worker puts what does not fit into memory.

    Attributes
    ----------
    folder : str
    system : str
        Kind of file system, e.g. ``ext4``.
    trouble : str
        Why it cannot be written; empty where it can.
    """

    folder: str
    system: str
    trouble: str


@dataclass(frozen=True)
class Node:
    """What a worker says of itself.

    Attributes
    ----------
    host : str
    cores : frozenset of int
        Those that it may use.
    threads : int
        Tasks at a time.
    memory : int or None
        Bytes at most.
    blas : str
        Library and version.
    blas_threads : int
        Outside of tasks, which have one.
    product, folding : float
        Operations a second of one thread, all workers at the same time: of a product of matrices,
        and of rows that are folded into a triangle.
    sees_folder : bool
        Whether it reads in the run's folder what the driver has written there.
    spill : Spill
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
    spill: Spill


@dataclass(frozen=True)
class WorkerProbe:
    """A worker as the driver sees it.

    Attributes
    ----------
    name : str
    node : Node or None
        What it says of itself; None where it says nothing.
    trouble : str
        Why it says nothing.
    versions : mapping of str to pair of str
        Package: version there, version here; those that differ.
    written : bool
        Whether the driver sees what it wrote into the run's folder.
    bandwidth : mapping of str to float
        ``from_driver``, ``to_driver`` and ``to_next`` worker: bytes a second.
    """

    name: str
    node: Node | None = None
    trouble: str = ""
    versions: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    written: bool = False
    bandwidth: Mapping[str, float] = field(default_factory=dict)


def probe(client: Client, folder: Path, patience: float) -> list[WorkerProbe]:
    """Ask all workers.

    Parameters
    ----------
    client : distributed.Client
    folder : Path
        Of a run; a file is written there for a moment.
    patience : float
        Seconds to wait for an answer.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(8)
    file = folder / f".gfrnn-check-{token}"
    file.write_text(token, encoding="ascii")
    infos = client.scheduler_info(n_workers=-1)["workers"]
    written = {
        address: file.with_name(f"{file.name}-{number}") for number, address in enumerate(infos)
    }
    try:
        asked = {
            address: _at(client, address, look, file, token, written[address]) for address in infos
        }
        _wait(asked.values(), patience)
        workers = {
            address: _answer(str(infos[address]["name"]), future, written[address], patience)
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
            versions=differing(versions["client"], versions["workers"][address]),
            bandwidth=_bandwidth(client, address, _next(sound, address)),
        )
    return list(workers.values())


def differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Versions there and here that are not the same, as :meth:`distributed.Client.get_versions`
    gives them."""
    here = {**ours["packages"], "python": ours["host"]["python"]}
    there = {**theirs["packages"], "python": theirs["host"]["python"]}
    return {
        package: (str(there.get(package) or "none"), str(here.get(package) or "none"))
        for package in sorted(here.keys() | there.keys())
        if here.get(package) != there.get(package)
    }


def _wait(futures: Iterable[Future], patience: float) -> None:
    with suppress(TimeoutError):
        wait(list(futures), timeout=patience)


def _at(client: Client, address: str, function: Any, *arguments: Any) -> Future:
    return client.submit(function, *arguments, workers=[address], pure=False)


def _answer(name: str, future: Future, written: Path, patience: float) -> WorkerProbe:
    if future.status == "finished":
        return WorkerProbe(name, future.result(), written=written.exists())
    if future.status != "error":
        return WorkerProbe(name, trouble=f"does not answer within {patience:g} s; look at its log")
    error = future.exception()
    return WorkerProbe(
        name,
        trouble=f"cannot run this GFRNN ({type(error).__name__}: {error}); install it there as "
        "here, or start the worker in the driver's environment (cluster.python, cluster.setup)",
    )


def look(file: Path, token: str, written: Path) -> Node:
    """What the worker that this runs on is, does and sees."""
    worker = get_worker()
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    try:
        sees = file.read_text(encoding="ascii") == token
        written.write_text(token, encoding="ascii")
    except OSError:
        sees = file.exists()
    return Node(
        host=socket.gethostname(),
        cores=frozenset(os.sched_getaffinity(0)),
        threads=worker.state.nthreads,
        memory=worker.memory_manager.memory_limit,
        blas=", ".join(sorted({f"{pool['internal_api']} {pool['version']}" for pool in pools})),
        blas_threads=max((pool["num_threads"] for pool in pools), default=1),
        product=product_rate("float64"),
        folding=folding_rate(),
        sees_folder=sees,
        spill=_look_at_spill(Path(worker.local_directory)),
    )


def _look_at_spill(folder: Path) -> Spill:
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
    # Of two at one place the later one lies above.
    system = max(enumerate(mounts), key=lambda each: (len(each[1].mountpoint), each[0]))[1].fstype
    return Spill(str(folder), system, trouble)


def _next(addresses: Sequence[str], address: str) -> str:
    return addresses[(addresses.index(address) + 1) % len(addresses)]


def _bandwidth(client: Client, address: str, other: str) -> dict[str, float]:
    """Bytes a second from and to the driver, and to another worker, as a run sends them."""
    data = _made(_SENT)
    begun = time.perf_counter()
    wait(client.scatter(data, workers=[address], hash=False))
    received = time.perf_counter() - begun
    held = _at(client, address, _made, _SENT)
    wait(held)
    begun = time.perf_counter()
    client.gather(held)
    found = {"from_driver": received, "to_driver": time.perf_counter() - begun}
    if other != address:
        begun = time.perf_counter()
        wait(_at(client, other, len, held))
        found["to_next"] = time.perf_counter() - begun
    return {name: _SENT / seconds for name, seconds in found.items()}


def _made(size: int) -> bytes:
    return np.random.default_rng().bytes(size)  # which nothing makes smaller on its way
