"""Scaling of the training pass with workers and rows, and its overhead."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.table import Table

from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.tree import Stretch, Summary
from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck, bar_table, plain_table
from gfrnn.workflows.benchmarks.training_pass import PassSize, TrainingPass, reduced, warm_up
from gfrnn.workflows.benchmarks.worker_measurement import (
    MatmulThroughput,
    WorkMeasurement,
    fastest_round,
    measure,
    open_workers,
)

FEWER = 8
"""Ratio of the two numbers of rows whose memory is compared."""

REPEATS = 3
"""Number of repetitions of the rows, which reduces the share of waiting for the last leaves."""


@dataclass(frozen=True)
class WorkerScalingSettings:
    """Sizes of the passes.

    Attributes
    ----------
    speed : PassSize
        Run with one worker and with two.
    memory : PassSize
        Run with all rows and with a part of them; it has more rows and fewer columns.
    """

    speed: PassSize
    memory: PassSize


FULL = WorkerScalingSettings(PassSize(200_000, 256, 1024), PassSize(800_000, 128, 512))
QUICK = WorkerScalingSettings(PassSize(80_000, 128, 512), PassSize(160_000, 64, 256))


@dataclass(frozen=True)
class TimedSummary:
    """Wrapper of a summary that adds up the seconds of its leaves and merges."""

    inner: Summary

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def remedy(self) -> str:
        return self.inner.remedy

    def leaf(self, stretch: Stretch) -> Arrays:
        begun = time.perf_counter()
        arrays = self.inner.leaf(stretch)
        return {**arrays, "seconds": np.array(time.perf_counter() - begun)}

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        begun = time.perf_counter()
        arrays = self.inner.merge(left, right)
        passed = time.perf_counter() - begun
        return {**arrays, "seconds": left["seconds"] + right["seconds"] + passed}

    def leaf_bytes(self, stretch: Stretch) -> int:
        return self.inner.leaf_bytes(stretch)

    def merge_bytes(self) -> int:
        return self.inner.merge_bytes()


@dataclass(frozen=True)
class ScalingPass:
    """Measurement of one pass.

    Attributes
    ----------
    workers, rows, leaves : int
    measured : WorkMeasurement
    speed : str
        Rate of matrix products on the same workers, as text.
    """

    workers: int
    rows: int
    leaves: int
    measured: WorkMeasurement
    speed: str

    @property
    def overhead(self) -> float:
        """Share of the time of all workers that is spent outside of leaves and merges."""
        busy = float(self.measured.result["seconds"])
        return 1 - busy / (self.workers * self.measured.seconds)


def run(settings: WorkerScalingSettings, rounds: int) -> Iterator[Table]:
    """Yield the table of all passes and the bars.

    The values of a pass are those of its fastest round, with the most memory of all rounds.
    """
    with tempfile.TemporaryDirectory() as folder:
        speed = TrainingPass.create(Path(folder) / "speed", settings.speed)
        often = speed.stretches(parts=2) * REPEATS
        (one,) = passes(speed, 1, [often], rounds)
        (two,) = passes(speed, 2, [often], rounds)
        memory = TrainingPass.create(Path(folder) / "memory", settings.memory)
        some = memory.stretches(settings.memory.rows // FEWER)
        # The first pass is not used, because workers do not return all of its memory.
        _, fewer, more = passes(memory, 2, [some, some, memory.stretches()], rounds)
    table = plain_table(
        f"{settings.speed}, {REPEATS} times; for memory {settings.memory}",
        "workers",
        "rows",
        "leaves",
        "seconds",
        "overhead",
        "memory (MiB)",
        "largest worker (MiB)",
        "products of matrices",
        text=(),
    )
    for each in (one, two, fewer, more):
        table.add_row(
            f"{each.workers}",
            f"{each.rows:,}",
            f"{each.leaves}",
            f"{each.measured.seconds:.3g}",
            f"{each.overhead:.1%}",
            f"{each.measured.memory / 2**20:,.0f}",
            f"{each.measured.peak / 2**20:,.0f}",
            each.speed,
        )
    yield table
    yield bar_table(bar_checks(one, two, fewer, more), full=settings == FULL)


def bar_checks(
    one: ScalingPass, two: ScalingPass, fewer: ScalingPass, more: ScalingPass
) -> list[BarCheck]:
    """Return the checks against the bars."""
    gain = one.measured.seconds / two.measured.seconds
    memory = more.measured.peak / fewer.measured.peak
    return [
        BarCheck("one worker: seconds over those of two", gain, 1.85),
        BarCheck(f"largest worker's memory at {FEWER} times the rows", memory, 1.1, at_most=True),
        BarCheck(
            "overhead at a second a leaf, two workers, %", 100 * two.overhead, 3, at_most=True
        ),
    ]


def passes(
    training_pass: TrainingPass, workers: int, cuts: list[list[Stretch]], rounds: int
) -> list[ScalingPass]:
    """Run one pass for each list of leaves, all on the same new cluster."""
    summary = TimedSummary(training_pass.summary())
    with open_workers(workers) as client:
        warm_up(client, training_pass)
        matmul_speed = MatmulThroughput.of(client, training_pass.size)
        matmul_speed.measure("float64")
        found: list[list[WorkMeasurement]] = [[] for _ in cuts]
        for _ in range(rounds):
            for stretches, own in zip(cuts, found, strict=True):
                own.append(measure(client, partial(reduced, summary, stretches)))
                matmul_speed.measure("float64")
    return [
        ScalingPass(
            workers,
            _rows(stretches),
            len(stretches),
            fastest_round(own),
            matmul_speed.describe("float64"),
        )
        for stretches, own in zip(cuts, found, strict=True)
    ]


def _rows(stretches: list[Stretch]) -> int:
    return sum(part.stop - part.start for part in stretches)
