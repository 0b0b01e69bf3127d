"""Comparison of the training pass with matrix products, dask.array and reading alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from gfrnn.workflows.benchmarks import dask_array_regression
from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck, bar_table, plain_table
from gfrnn.workflows.benchmarks.field_reading import BenchmarkArchive, FieldReading
from gfrnn.workflows.benchmarks.training_pass import PassSize, TrainingPass
from gfrnn.workflows.benchmarks.worker_measurement import (
    MatmulThroughput,
    WorkMeasurement,
    fastest_round,
    measure,
    open_workers,
)

WORKERS = 2

PASS, PASS_32 = "pass, float64", "pass, float32"
NORMAL, LEAST_SQUARES = "Dask: normal equations", "Dask: da.linalg.lstsq"
DECODING, TINY = "only decoding fields", "pass of a tiny network over them"

METHODS: dict[str, Callable[[TrainingPass], Any]] = {
    PASS: lambda training_pass: training_pass.run("float64"),
    PASS_32: lambda training_pass: training_pass.run("float32"),
    NORMAL: dask_array_regression.normal_equations,
    LEAST_SQUARES: dask_array_regression.least_squares,
}


@dataclass(frozen=True)
class PassSpeedSettings:
    """Sizes of the pass and of the archive that is read."""

    size: PassSize
    archive: BenchmarkArchive


FULL = PassSpeedSettings(
    PassSize(200_000, states=256, features=1024), BenchmarkArchive(720, 121, 240)
)
QUICK = PassSpeedSettings(
    PassSize(80_000, states=128, features=512), BenchmarkArchive(120, 121, 240)
)


def run(settings: PassSpeedSettings, rounds: int) -> Iterator[Table]:
    """Yield the table of least seconds and most memory over some rounds, and the bars."""
    size, found = settings.size, dict[str, list[WorkMeasurement]]()
    with tempfile.TemporaryDirectory() as folder, open_workers(WORKERS) as client:
        matmul_speed = MatmulThroughput.of(client, size)
        training_pass = TrainingPass.create(Path(folder) / "states", size)
        small = TrainingPass.create(Path(folder) / "small", replace(size, rows=2 * size.columns))
        reading = FieldReading(Path(folder) / "fields")
        settings.archive.write(reading.path)
        for solve in METHODS.values():  # excludes imports and other first-call costs
            solve(small)
        reading.decode()
        matmul_speed.measure("float64", "float32")
        for _ in range(rounds):
            for name, solve in METHODS.items():
                found.setdefault(name, []).append(measure(client, partial(solve, training_pass)))
                matmul_speed.measure("float64", "float32")
            for name, read in ((DECODING, reading.decode), (TINY, reading.run)):
                found.setdefault(name, []).append(measure(client, read))
    fastest = {name: fastest_round(each) for name, each in found.items()}
    result = PassSpeedResult(settings, fastest, matmul_speed)
    yield result.table()
    yield bar_table(result.bar_checks(), full=settings == FULL)


@dataclass(frozen=True)
class PassSpeedResult:
    """Measurements of all methods, with the rate of matrix products of the same workers."""

    settings: PassSpeedSettings
    found: dict[str, WorkMeasurement]
    matmul_speed: MatmulThroughput

    def share(self, name: str) -> float:
        """Return the rate of useful operations of a pass over the rate of matrix products."""
        precision = {PASS: "float64", PASS_32: "float32"}[name]
        rate = self.settings.size.operations / self.found[name].seconds
        return rate / self.matmul_speed.rate(precision)

    def table(self) -> Table:
        """Return the table: seconds, share of the rate of products, and memory of each method."""
        described = [
            f"{name} {self.matmul_speed.describe(name)}" for name in ("float64", "float32")
        ]
        table = plain_table(
            f"{WORKERS} workers; {self.settings.size}; fields: {self.settings.archive}\n"
            f"products of matrices: {', '.join(described)}",
            "what",
            "seconds",
            "of the products' speed",
            "memory (MiB)",
            text=("what",),
        )
        for name, measured in self.found.items():
            share = f"{self.share(name):.2f}" if name in (PASS, PASS_32) else ""
            memory = f"{measured.memory / 2**20:,.0f}"
            table.add_row(name, f"{measured.seconds:.3g}", share, memory)
        return table

    def bar_checks(self) -> list[BarCheck]:
        """Return the checks against the bars."""

        def ratio(name: str, other: str) -> float:
            return self.found[name].seconds / self.found[other].seconds

        memory = self.found[PASS].memory / max(self.found[LEAST_SQUARES].memory, 1)
        return [
            BarCheck("pass: share of the speed of products", self.share(PASS), 0.75),
            BarCheck("da.linalg.lstsq: seconds over the pass's", ratio(LEAST_SQUARES, PASS), 4.5),
            BarCheck("pass: memory over da.linalg.lstsq's", memory, 1 / 3, at_most=True),
            BarCheck("normal equations: seconds over the pass's", ratio(NORMAL, PASS), 1),
            BarCheck("float64: seconds over float32's", ratio(PASS, PASS_32), 1.8),
            BarCheck("only decoding: seconds over a tiny pass's", ratio(DECODING, TINY), 0.8),
        ]
