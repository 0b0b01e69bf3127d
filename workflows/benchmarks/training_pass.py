"""The training pass beside products of matrices, beside dask.array, and beside reading alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from gfrnn.workflows.benchmarks import peers
from gfrnn.workflows.benchmarks.bars import Figure, bar_table, plain_table
from gfrnn.workflows.benchmarks.reading import BenchmarkArchive, ReadingResult
from gfrnn.workflows.benchmarks.row_pass import PassSize, RowPass
from gfrnn.workflows.benchmarks.workers import Measured, Products, best, measure, open_workers

WORKERS = 2

PASS, PASS_32 = "pass, float64", "pass, float32"
NORMAL, LEAST_SQUARES = "Dask: normal equations", "Dask: da.linalg.lstsq"
DECODING, TINY = "only decoding fields", "pass of a tiny network over them"

CONTESTANTS: dict[str, Callable[[RowPass], Any]] = {
    PASS: lambda row_pass: row_pass.run("float64"),
    PASS_32: lambda row_pass: row_pass.run("float32"),
    NORMAL: peers.normal_equations,
    LEAST_SQUARES: peers.least_squares,
}


@dataclass(frozen=True)
class PassSettings:
    """How large the pass and the archive that is read are."""

    size: PassSize
    archive: BenchmarkArchive


FULL = PassSettings(PassSize(200_000, states=256, features=1024), BenchmarkArchive(720, 121, 240))
QUICK = PassSettings(PassSize(80_000, states=128, features=512), BenchmarkArchive(120, 121, 240))


def run(settings: PassSettings, rounds: int) -> Iterator[Table]:
    """Least seconds and most memory of some rounds, in which everything takes its turn."""
    size, found = settings.size, dict[str, list[Measured]]()
    with tempfile.TemporaryDirectory() as folder, open_workers(WORKERS) as client:
        products = Products.of(client, size)
        row_pass = RowPass.create(Path(folder) / "states", size)
        small = RowPass.create(Path(folder) / "small", replace(size, rows=2 * size.columns))
        reading = ReadingResult(Path(folder) / "fields")
        settings.archive.write(reading.path)
        for contestant in CONTESTANTS.values():  # what is done once, such as importing
            contestant(small)
        reading.decode()
        products.measure("float64", "float32")
        for _ in range(rounds):
            for name, contestant in CONTESTANTS.items():
                found.setdefault(name, []).append(measure(client, partial(contestant, row_pass)))
                products.measure("float64", "float32")
            for name, work in ((DECODING, reading.decode), (TINY, reading.run)):
                found.setdefault(name, []).append(measure(client, work))
    result = PassResult(settings, {name: best(each) for name, each in found.items()}, products)
    yield result.table()
    yield bar_table(result.figures(), full=settings == FULL)


@dataclass(frozen=True)
class PassResult:
    """What was measured of everything."""

    settings: PassSettings
    found: dict[str, Measured]
    products: Products

    def share(self, name: str) -> float:
        """Of the speed of products, what useful operations of a pass were done at."""
        precision = {PASS: "float64", PASS_32: "float32"}[name]
        rate = self.settings.size.operations / self.found[name].seconds
        return rate / self.products.rate(precision)

    def table(self) -> Table:
        """Seconds, share of the products' speed and memory of each."""
        described = [f"{name} {self.products.describe(name)}" for name in ("float64", "float32")]
        table = plain_table(
            f"{WORKERS} workers; {self.settings.size}; fields: {self.settings.archive}\n"
            f"products of matrices: {', '.join(described)}",
            "what",
            "seconds",
            "of the products' speed",
            "memory (MiB)",
        )
        for name, measured in self.found.items():
            share = f"{self.share(name):.2f}" if name in (PASS, PASS_32) else ""
            memory = f"{measured.memory / 2**20:,.0f}"
            table.add_row(name, f"{measured.seconds:.3g}", share, memory)
        return table

    def figures(self) -> list[Figure]:
        """Held against the bars."""

        def seconds(name: str, other: str) -> float:
            return self.found[name].seconds / self.found[other].seconds

        memory = self.found[PASS].memory / max(self.found[LEAST_SQUARES].memory, 1)
        return [
            Figure("pass: share of the speed of products", self.share(PASS), 0.75),
            Figure("da.linalg.lstsq: seconds over the pass's", seconds(LEAST_SQUARES, PASS), 4.5),
            Figure("pass: memory over da.linalg.lstsq's", memory, 1 / 3, at_most=True),
            Figure("normal equations: seconds over the pass's", seconds(NORMAL, PASS), 1),
            Figure("float64: seconds over float32's", seconds(PASS, PASS_32), 1.8),
            Figure("only decoding: seconds over a tiny pass's", seconds(DECODING, TINY), 0.8),
        ]
