"""Worker processes to measure on: their speed with nothing but products, and their memory."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client

from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.pipeline.reduction.tasks import single_threaded
from gfrnn.workflows.benchmarks.training_pass import PassSize


@contextmanager
def open_workers(count: int) -> Iterator[Client]:
    """So many processes of one thread each on this machine, on any free port."""
    with open_cluster(ClusterConfig(workers=count, dashboard=":0")) as cluster:
        yield cluster.client


@dataclass(frozen=True)
class WorkMeasurement:
    """What a piece of work took.

    Attributes
    ----------
    seconds : float
    memory : int
        Bytes that resident memory of the workers rose by, each at its own peak, added up.
    peak : int
        Bytes of resident memory of the largest worker at its peak, all that is loaded included.
    result : object
        What the work returned.
    """

    seconds: float
    memory: int
    peak: int
    result: Any


def best(rounds: Sequence[WorkMeasurement]) -> WorkMeasurement:
    """The round with the least seconds, with the most memory of all."""
    fastest = min(rounds, key=lambda one: one.seconds)
    memory, peak = max(one.memory for one in rounds), max(one.peak for one in rounds)
    return replace(fastest, memory=memory, peak=peak)


def measure(client: Client, work: Callable[[], Any]) -> WorkMeasurement:
    """Do some work on the workers, whose memory is watched."""
    before = client.run(_forget_peak)
    begun = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - begun
    peaks = client.run(_resident, "VmHWM")
    risen = sum(max(peaks[worker] - before[worker], 0) for worker in before)
    return WorkMeasurement(seconds, risen, max(peaks.values()), result)


def _forget_peak() -> int:
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is measured anew from here on
    return _resident("VmRSS")


def _resident(name: str) -> int:
    """A value of this process's /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = [line for line in lines if line.startswith(name + ":")]
    return int(found.split()[1]) * 1024


class MatmulSpeed:
    """The speed of all workers that multiply large matrices at the same time.

    A machine's speed changes while it is measured, so it is asked again between measurements.

    Parameters
    ----------
    client : distributed.Client
    size : int
        Rows and columns of the matrices.
    seconds : float
        That each measurement takes.
    """

    def __init__(self, client: Client, size: int, seconds: float) -> None:
        self.client, self.size, self.seconds = client, size, seconds
        self.found: dict[str, list[float]] = {}

    @classmethod
    def of(cls, client: Client, size: PassSize) -> MatmulSpeed:
        """As long and as large as suits a pass of this size."""
        return cls(client, min(2048, size.rows), min(1.0, size.rows / 1e5))

    def measure(self, *precisions: str) -> None:
        """Measure once more."""
        for precision in precisions:
            calls = [
                self.client.submit(
                    single_threaded,
                    multiply,
                    self.size,
                    self.seconds,
                    precision,
                    workers=[worker],
                    pure=False,
                )
                for worker in self.client.nthreads()
            ]
            rate = sum(self.client.gather(calls))
            self.found.setdefault(precision, []).append(rate)

    def rate(self, precision: str) -> float:
        """The median, in floating-point operations a second."""
        return float(np.median(self.found[precision]))

    def describe(self, precision: str) -> str:
        """Median and spread, for people."""
        rates = np.array(self.found[precision]) / 1e9
        return f"{np.median(rates):.1f} GFLOP/s ({rates.min():.1f} to {rates.max():.1f})"


def multiply(size: int, seconds: float, precision: str) -> float:
    """Operations a second of products of square matrices, for about so many seconds."""
    left = np.random.default_rng(0).standard_normal((size, size)).astype(precision)
    result = np.empty_like(left)
    np.dot(left, left.T.copy(), out=result)  # touches all memory once
    right = left.T.copy()
    count, begun = 0, time.perf_counter()
    while (passed := time.perf_counter() - begun) < seconds or count == 0:
        np.dot(left, right, out=result)
        count += 1
    return 2 * size**3 * count / passed
