"""Plan a fit on 40 years of hourly ERA5 at the rates of this machine.

The archive is a store of the right shape without data; only the chunks exist on which the rate of
reading is measured.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from rich.table import Table

from gfrnn.cluster.human_units import human_bytes, human_duration
from gfrnn.pipeline import Experiment, open_source
from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.planning.fit_estimate import FitEstimate, Workforce
from gfrnn.pipeline.planning.machine_rates import MachineRates, measure_rates
from gfrnn.pipeline.planning.plan_fit import plan_fit
from gfrnn.pipeline.planning.task_times import TaskTimer
from gfrnn.workflows.benchmarks.benchmark_tables import plain_table

CORES = 32
"""Cores of a node; each runs a worker of one thread, as fast as a core of this machine."""
MEMORY = 512 * 2**30
"""Memory of a node in bytes."""
STEPS = ("6h", "1h")
"""Time steps of the states that are planned."""

_YEARS = ("1979", "2018")
_SURFACE = {
    "2m_temperature": "K",
    "mean_sea_level_pressure": "Pa",
    "10m_u_component_of_wind": "m s-1",
    "10m_v_component_of_wind": "m s-1",
}
_UPPER = {"geopotential": "m2 s-2", "temperature": "K"}
_LEVELS = [300.0, 500.0, 850.0]
_SHAPE = (721, 1440)


def run(sizes: Sequence[int]) -> Table:
    """Return the table of plans of a fit of the local layout on some numbers of nodes.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of nodes.
    """
    table = plain_table(
        f"40 years of ERA5 at 0.25 degrees, 10 fields; a node has {CORES} cores "
        f"and {human_bytes(MEMORY)}",
        "step",
        "nodes",
        "stage",
        "tasks",
        "decoded",
        "leaf",
        "merge",
        "time",
        text=("stage",),
    )
    with tempfile.TemporaryDirectory() as name:
        archive = Path(name) / "era5.zarr"
        make_metadata(archive)
        rates = _rates(archive)
        products = rates.products["float32"] / 1e9
        table.caption = (
            f"measured on one core of this machine: decoding {human_bytes(rates.reading or 0)}/s, "
            f"matrix products in float32 {products:.0f} Gflop/s"
        )
        timer = TaskTimer()  # tasks of equal sizes are timed once for all plans
        for step in STEPS:
            experiment = experiment_on(archive, step)
            ds = open_source(experiment.data)
            for nodes in sizes:
                workforce = Workforce(nodes * CORES, MEMORY // CORES)
                found = plan_fit(experiment, ds, workforce, rates, timer)
                _add_rows(table, step, nodes, found)
    return table


def make_metadata(path: Path, shape: tuple[int, int] = _SHAPE) -> None:
    """Write the metadata of an archive without chunks.

    A chunk would hold one variable at one time, all levels together.
    """
    time = pd.date_range(f"{_YEARS[0]}-01-01", f"{_YEARS[1]}-12-31T23", freq="1h")
    group = zarr.create_group(path)
    described: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "time": (np.arange(len(time)), {"units": f"hours since {_YEARS[0]}-01-01"}),
        "level": (np.array(_LEVELS), {"units": "hPa"}),
        "latitude": (np.linspace(-90, 90, shape[0]), {"units": "degrees_north"}),
        "longitude": (np.arange(shape[1]) * 360 / shape[1], {"units": "degrees_east"}),
    }
    for name, (values, attributes) in described.items():
        group.create_array(name, data=values, dimension_names=[name], attributes=attributes)
    for name, unit in (_SURFACE | _UPPER).items():
        levels = (len(_LEVELS),) if name in _UPPER else ()
        dims = ["time", *(["level"] if levels else []), "latitude", "longitude"]
        group.create_array(
            name,
            shape=(len(time), *levels, *shape),
            chunks=(1, *levels, *shape),
            dtype="f4",
            fill_value=np.nan,
            dimension_names=dims,
            attributes={"units": unit},
        )


def write_times(path: Path, times: Sequence[int]) -> None:
    """Write waves with noise at some times, so that decoding can be measured."""
    group = zarr.open_group(path, mode="r+")
    rng = np.random.default_rng(0)
    for name in (*_SURFACE, *_UPPER):
        array: Any = group[name]
        shape = array.shape[1:]
        north, east = (np.linspace(0, 2 * np.pi, count) for count in shape[-2:])
        waves = np.sin(3 * north)[:, None] + np.cos(5 * east)
        for time in times:
            array[time] = (waves + 0.1 * rng.standard_normal(shape)).astype(np.float32)


def experiment_on(archive: Path, step: str) -> Experiment:
    """Return the experiment whose fit is planned."""
    tree = {
        "name": f"era5-{step}",
        "data": {
            "sources": [str(archive)],
            "variables": {**dict.fromkeys(_SURFACE), **dict.fromkeys(_UPPER, _LEVELS)},
            "step": step,
            "chunk": 24,
        },
        "periods": {
            "train": ["1979-01-01", "2015-12-31"],
            "validation": ["2016-01-01", "2017-12-31"],
            "test": ["2018-01-01", "2018-12-31"],
        },
        "state": {"layout": "local", "patch": [8, 8], "halo": [4, 4], "delays": 2},
        "model": {"width": 1000, "precision": "float32"},
    }
    return checked(Experiment, tree, "bench")


def _rates(archive: Path) -> MachineRates:
    """Measure the rates of this machine; two times are written to measure the rate of reading."""
    ds = open_source(experiment_on(archive, STEPS[-1]).data)
    write_times(archive, [0, 1])
    return measure_rates(Fields(ds), np.array([[0, 1], [1, 2]]))


def _add_rows(table: Table, step: str, nodes: int, found: FitEstimate) -> None:
    for stage in found.stages:
        table.add_row(
            step,
            f"{nodes}",
            stage.name,
            f"{stage.leaves + stage.merges}",
            human_bytes(stage.decoded_bytes),
            human_bytes(stage.leaf_bytes),
            human_bytes(stage.merge_bytes),
            human_duration(stage.seconds),
        )
    fits = "fits" if found.refusal is None else found.refusal
    table.add_row(step, f"{nodes}", f"all: {fits}", "", "", "", "", human_duration(found.seconds))
    table.add_section()
