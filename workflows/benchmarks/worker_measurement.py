"""Time and memory of work on worker processes, and their rate of matrix products."""

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
from gfrnn.pipeline.reduction.blas_threads import single_threaded
from gfrnn.workflows.benchmarks.training_pass import PassSize


@contextmanager
def open_workers(count: int) -> Iterator[Client]:
    """Start worker processes of one thread each on this machine, on a free port."""
    with open_cluster(ClusterConfig(workers=count, dashboard=":0")) as cluster:
        yield cluster.client


@dataclass(frozen=True)
class WorkMeasurement:
    """Time and memory that a piece of work took.

    Attributes
    ----------
    seconds : float
    memory : int
        Increase of the resident memory of the workers in bytes, each at its own peak, summed.
    peak : int
        Resident memory of the largest worker at its peak, in bytes; loaded libraries included.
    result : object
        Return value of the work.
    """

    seconds: float
    memory: int
    peak: int
    result: Any


def fastest_round(rounds: Sequence[WorkMeasurement]) -> WorkMeasurement:
    """Return the round with the least seconds, with the most memory of all rounds."""
    fastest = min(rounds, key=lambda one: one.seconds)
    memory, peak = max(one.memory for one in rounds), max(one.peak for one in rounds)
    return replace(fastest, memory=memory, peak=peak)


def measure(client: Client, work: Callable[[], Any]) -> WorkMeasurement:
    """Do the work and measure its time and the memory of the workers."""
    before = client.run(_forget_peak)
    begun = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - begun
    peaks = client.run(_resident, "VmHWM")
    risen = sum(max(peaks[worker] - before[worker], 0) for worker in before)
    return WorkMeasurement(seconds, risen, max(peaks.values()), result)


def _forget_peak() -> int:
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, the peak of the resident memory
    return _resident("VmRSS")


def _resident(name: str) -> int:
    """Return a value of this process's /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = [line for line in lines if line.startswith(name + ":")]
    return int(found.split()[1]) * 1024


class MatmulThroughput:
    """Rate at which all workers together multiply large matrices at the same time.

    The rate of a machine changes with time, so it is measured again between other measurements.

    Parameters
    ----------
    client : distributed.Client
    size : int
        Rows and columns of the matrices.
    seconds : float
        Time of each measurement.
    """

    def __init__(self, client: Client, size: int, seconds: float) -> None:
        self.client, self.size, self.seconds = client, size, seconds
        self.found: dict[str, list[float]] = {}

    @classmethod
    def of(cls, client: Client, size: PassSize) -> MatmulThroughput:
        """Create an instance whose matrices and times suit a pass of this size."""
        return cls(client, min(2048, size.rows), min(1.0, size.rows / 1e5))

    def measure(self, *precisions: str) -> None:
        """Add one measurement for each precision."""
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
        """Return the median of the measurements, in floating-point operations a second."""
        return float(np.median(self.found[precision]))

    def describe(self, precision: str) -> str:
        """Return median, least and greatest rate as text."""
        rates = np.array(self.found[precision]) / 1e9
        return f"{np.median(rates):.1f} GFLOP/s ({rates.min():.1f} to {rates.max():.1f})"


def multiply(size: int, seconds: float, precision: str) -> float:
    """Return the rate of products of square matrices, in floating-point operations a second.

    Parameters
    ----------
    size : int
        Rows and columns.
    seconds : float
        The measurement ends with the first product after this time.
    precision : str
    """
    left = np.random.default_rng(0).standard_normal((size, size)).astype(precision)
    result = np.empty_like(left)
    np.dot(left, left.T.copy(), out=result)  # allocates all pages before the clock starts
    right = left.T.copy()
    count, begun = 0, time.perf_counter()
    while (passed := time.perf_counter() - begun) < seconds or count == 0:
        np.dot(left, right, out=result)
        count += 1
    return 2 * size**3 * count / passed
