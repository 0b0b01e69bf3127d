"""Comparison of the estimated times of a fit with those that it takes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from rich.table import Table

from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.pipeline import Experiment, fit, open_source
from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.planning.fit_estimate import FitEstimate, Workforce
from gfrnn.pipeline.planning.plan_fit import plan_fit
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.workflows.benchmarks.benchmark_tables import plain_table

LAYOUTS: dict[str, dict[str, Any]] = {
    "eof": {"layout": "eof", "modes": 60, "delays": 2},
    "local": {"layout": "local", "patch": [4, 4], "halo": [2, 2], "delays": 2},
    "zonal": {"layout": "zonal", "geometry": "channel", "delays": 2},
}
"""State sections of the experiments that are fitted, by name."""

ZONAL_SHARE = 100
"""Number of hidden features of the other layouts for each of a grid point in the zonal layout."""

LEAVES = 2000
"""Number of empty leaves by which the cost of a task is measured."""


def run(sizes: Sequence[int], rounds: int) -> Table:
    """Return the table of planned and measured seconds of each stage, with one worker a core.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of hidden features; zonal networks have a hundredth at each grid point.
    rounds : int
        Number of fits, of which the least time of each stage is taken.
    """
    table = plain_table(
        "seconds of each stage, planned and measured",
        "layout",
        "width",
        "stage",
        "planned",
        "measured",
        "measured / planned",
        text=("layout", "stage"),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_archive(folder / "archive.zarr")
        with open_cluster(ClusterConfig(dashboard=":0")):
            table.add_row("", "", "a task that does nothing", "", f"{_empty_task():.2g}", "")
            for layout in LAYOUTS:
                for width in sizes:
                    _compare(table, folder, layout, width, rounds)
    return table


def make_archive(path: Path, years: int = 2, shape: tuple[int, int] = (24, 48)) -> None:
    """Write six-hourly noise with an annual wave under names of ERA5, in chunks of ten days."""
    times = pd.date_range("2001-01-01", f"{2000 + years}-12-31T18", freq="6h")
    rng = np.random.default_rng(0)
    wave = np.cos(2 * np.pi * np.asarray(times.day_of_year) / 365)[:, None, None]
    dims = ("time", "latitude", "longitude")
    units = {"2m_temperature": ("K", 280, 10), "mean_sea_level_pressure": ("Pa", 1e5, 500)}
    variables = {}
    for variable, (unit, mean, deviation) in units.items():
        noise = rng.standard_normal((len(times), *shape), dtype=np.float32)
        variables[variable] = (dims, np.float32(mean) + deviation * (noise + wave), {"units": unit})
    coordinates = {
        "time": times,
        "latitude": np.linspace(-60, 60, shape[0]),
        "longitude": np.arange(shape[1]) * 360 / shape[1],
    }
    ds = xr.Dataset(variables, coordinates).astype(np.float32)
    chunks = {variable: {"chunks": (40, *shape)} for variable in units}
    ds.to_zarr(path, zarr_format=3, consolidated=False, encoding=chunks)


def experiment_on(archive: Path, layout: str, width: int) -> Experiment:
    """Return the experiment that fits one layout on the archive of :func:`make_archive`."""
    model: dict[str, Any] = {"width": width}
    if layout == "zonal":
        model = {"features": ["products"], "width": max(1, width // ZONAL_SHARE), "stages": 2}
    tree = {
        "name": f"plan-{layout}-{width}",
        "data": {"sources": [str(archive)]},
        "periods": {
            "train": ["2001-01-01", "2002-06-30"],
            "validation": ["2002-07-01", "2002-11-30"],
            "test": ["2002-12-01", "2002-12-31"],
        },
        "state": LAYOUTS[layout],
        "model": model,
        "fit": {"share": 0.2 if layout == "local" else 1.0},
    }
    return checked(Experiment, tree, "bench")


def _compare(table: Table, folder: Path, layout: str, width: int, rounds: int) -> None:
    experiment = experiment_on(folder / "archive.zarr", layout, width)
    ds = open_source(experiment.data)
    planned = plan_fit(experiment, ds, Workforce.current())
    stopwatches = [StageStopwatch() for _ in range(rounds)]
    for number, stopwatch in enumerate(stopwatches):
        fit(experiment, ds, folder / f"{experiment.name}-{number}", stopwatch)
    add_rows(table, layout, width, planned, stopwatches)


class StageStopwatch:
    """Progress callback that adds up the seconds of each stage of a fit."""

    def __init__(self) -> None:
        self.begun: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    def __call__(self, update: ProgressUpdate) -> None:
        now, name = time.perf_counter(), update.name
        if update.done == 0 and not update.announced:
            self.begun[name] = now
        if update.done >= update.total and name in self.begun:
            passed = now - self.begun.pop(name)
            self.seconds[name] = self.seconds.get(name, 0.0) + passed


def add_rows(
    table: Table,
    layout: str,
    width: int,
    planned: FitEstimate,
    stopwatches: Sequence[StageStopwatch],
) -> None:
    """Add a line for each stage of a fit, and one for all of them; the least time counts."""
    pairs = [
        (
            stage.name,
            stage.seconds or 0.0,
            min(stopwatch.seconds[stage.name] for stopwatch in stopwatches),
        )
        for stage in planned.stages
    ]
    pairs.append(("all", sum(pair[1] for pair in pairs), sum(pair[2] for pair in pairs)))
    for name, plan, took in pairs:
        table.add_row(layout, f"{width}", name, f"{plan:.2f}", f"{took:.2f}", f"{took / plan:.2f}")


class _EmptySummary:
    """Summary without content."""

    name, remedy = "empty", "nothing"

    def leaf(self, stretch: Stretch) -> dict[str, Any]:
        return {}

    def merge(self, left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
        return {}

    def leaf_bytes(self, stretch: Stretch) -> int:
        return 0

    def merge_bytes(self) -> int:
        return 0


def _empty_task() -> float:
    """Return the seconds that a task without content takes."""
    stretches = [Stretch("empty", place, place + 1) for place in range(LEAVES)]
    begun = time.perf_counter()
    reduce_stretches(_EmptySummary(), stretches, key="empty")
    return (time.perf_counter() - begun) / (2 * LEAVES - 1)
