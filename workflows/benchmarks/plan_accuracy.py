"""What ``gfrnn fit --plan`` says against what a fit then takes, stage by stage."""

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
from gfrnn.pipeline.planning.estimate import Projection, Workforce
from gfrnn.pipeline.planning.plan_fit import plan_fit
from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn.pipeline.reduction.tasks import Advance
from gfrnn.pipeline.reduction.tree import Stretch

LAYOUTS: dict[str, dict[str, Any]] = {
    "eof": {"layout": "eof", "modes": 60, "delays": 2},
    "local": {"layout": "local", "patch": [4, 4], "halo": [2, 2], "delays": 2},
}
"""The state sections that are fitted."""

LEAVES = 2000
"""Empty leaves that show what a task costs."""


def run(sizes: Sequence[int], rounds: int) -> Table:
    """Seconds of each stage, planned and measured, on one worker a core.

    Parameters
    ----------
    sizes : sequence of int
        Hidden features.
    rounds : int
        Fits of each; the least time of each stage counts.
    """
    table = Table(title="seconds of each stage, planned and measured", title_justify="left")
    for column in ("layout", "width", "stage", "planned", "measured", "measured / planned"):
        table.add_column(column, justify="left" if column in ("layout", "stage") else "right")
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
    """Noise with a year's wave under names of ERA5, six-hourly, chunks of ten days."""
    times = pd.date_range("2001-01-01", f"{2000 + years}-12-31T18", freq="6h")
    rng = np.random.default_rng(0)
    wave = np.cos(2 * np.pi * np.asarray(times.day_of_year) / 365)[:, None, None]
    dims = ("time", "latitude", "longitude")
    units = {"2m_temperature": ("K", 280, 10), "mean_sea_level_pressure": ("Pa", 1e5, 500)}
    variables = {}
    for variable, (unit, mean, spread) in units.items():
        noise = rng.standard_normal((len(times), *shape), dtype=np.float32)
        variables[variable] = (dims, np.float32(mean) + spread * (noise + wave), {"units": unit})
    coordinates = {
        "time": times,
        "latitude": np.linspace(-60, 60, shape[0]),
        "longitude": np.arange(shape[1]) * 360 / shape[1],
    }
    ds = xr.Dataset(variables, coordinates).astype(np.float32)
    chunks = {variable: {"chunks": (40, *shape)} for variable in units}
    ds.to_zarr(path, zarr_format=3, consolidated=False, encoding=chunks)


def experiment_on(archive: Path, layout: str, width: int) -> Experiment:
    """A fit of one layout on the archive of :func:`make_archive`."""
    tree = {
        "name": f"plan-{layout}-{width}",
        "data": {"sources": [str(archive)]},
        "periods": {
            "train": ["2001-01-01", "2002-06-30"],
            "validation": ["2002-07-01", "2002-11-30"],
            "test": ["2002-12-01", "2002-12-31"],
        },
        "state": LAYOUTS[layout],
        "model": {"width": width},
        "fit": {"share": 0.2 if layout == "local" else 1.0},
    }
    return checked(Experiment, tree, "bench")


def _compare(table: Table, folder: Path, layout: str, width: int, rounds: int) -> None:
    experiment = experiment_on(folder / "archive.zarr", layout, width)
    ds = open_source(experiment.data)
    planned = plan_fit(experiment, ds, Workforce.current())
    watches = [_Watch() for _ in range(rounds)]
    for number, watch in enumerate(watches):
        fit(experiment, ds, folder / f"{experiment.name}-{number}", watch)
    _add_rows(table, layout, width, planned, watches)


class _Watch:
    """Seconds of each stage, from the progress that a fit reports."""

    def __init__(self) -> None:
        self.begun: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    def __call__(self, advance: Advance) -> None:
        now, name = time.perf_counter(), advance.name
        if advance.done == 0 and not advance.coming:
            self.begun[name] = now
        if advance.done >= advance.total and name in self.begun:
            passed = now - self.begun.pop(name)
            self.seconds[name] = self.seconds.get(name, 0.0) + passed


def _add_rows(
    table: Table, layout: str, width: int, planned: Projection, watches: Sequence[_Watch]
) -> None:
    pairs = [
        (stage.name, stage.seconds or 0.0, min(watch.seconds[stage.name] for watch in watches))
        for stage in planned.stages
    ]
    pairs.append(("all", *(sum(pair[place] for pair in pairs) for place in (1, 2))))  # type: ignore
    for name, plan, took in pairs:
        table.add_row(layout, f"{width}", name, f"{plan:.2f}", f"{took:.2f}", f"{took / plan:.2f}")


class _Empty:
    """A summary that does nothing."""

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
    """Seconds that one task takes which does nothing."""
    stretches = [Stretch("empty", place, place + 1) for place in range(LEAVES)]
    begun = time.perf_counter()
    reduce_stretches(_Empty(), stretches, key="empty")
    return (time.perf_counter() - begun) / (2 * LEAVES - 1)
