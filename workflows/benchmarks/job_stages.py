"""Processor time of the stages of the nature run's job, each beside that of its bare arithmetic."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from rich.table import Table
from scipy.linalg.blas import zherk

from gfrnn.pipeline import Run, load_experiment
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.forecasting.forecast import initial_times
from gfrnn.pipeline.reduction.blas_threads import single_threaded
from gfrnn.pipeline.storage import array_in
from gfrnn.pipeline.training.checks import row_leaves
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck, bar_table, plain_table
from gfrnn.workflows.report.page import write_report
from gfrnn_core.zonal import ZonalNetwork

Array = NDArray[Any]

EXPERIMENT = Path(__file__).parents[1] / "experiments" / "nature.yaml"

_BARS = {"forecast": 2.0, "verify": 1.5}
_HELP_SECONDS = 0.5
_COMMAND = "from gfrnn.workflows.commands.main import main; main()"


@dataclass(frozen=True)
class StageTime:
    """Processor seconds of a stage and of its bound.

    Attributes
    ----------
    name : str
    seconds : float
    bound : float or None
        Seconds of the work that the stage cannot do without.
    content : str
        Description of that work.
    """

    name: str
    seconds: float
    bound: float | None
    content: str


def run(archive: Path) -> Iterator[Table]:
    """Yield the table of the stages of the embedded experiment in this process, and the bars.

    Parameters
    ----------
    archive : Path
        Nature run of at least eight years from 2001, see ``gfrnn nature``.
    """
    stages = single_threaded(_stages, archive)
    table = plain_table(
        "processor seconds of the embedded experiment's job, one process",
        "stage",
        "seconds",
        "bound",
        "over its bound",
        "content of the bound",
        text=("stage", "content of the bound"),
    )
    for stage in stages:
        bound = "" if stage.bound is None else f"{stage.bound:.2f}"
        ratio = "" if stage.bound is None else f"{stage.seconds / stage.bound:.2f}"
        table.add_row(stage.name, f"{stage.seconds:.2f}", bound, ratio, stage.content)
    table.add_row("all", f"{sum(stage.seconds for stage in stages):.2f}", "", "", "")
    yield table
    checks = [
        BarCheck(
            f"{stage.name}: seconds over its bound's",
            stage.seconds / stage.bound,
            _BARS[stage.name],
            at_most=True,
        )
        for stage in stages
        if stage.bound and stage.name in _BARS
    ]
    checks.append(
        BarCheck("gfrnn --help", command_seconds("--help"), _HELP_SECONDS, at_most=True, unit=" s")
    )
    yield bar_table(checks, full=True)


def _stages(archive: Path) -> list[StageTime]:
    experiment = load_experiment(EXPERIMENT)
    data = experiment.data.model_copy(
        update={
            "sources": [
                source.model_copy(update={"path": str(archive.resolve())})
                for source in experiment.data.sources
            ]
        }
    )
    with tempfile.TemporaryDirectory() as name:
        job = Run(experiment.model_copy(update={"data": data}), Path(name) / "run")
        fit = processor_seconds(job.fit)
        forecast = processor_seconds(job.forecast)
        verify = processor_seconds(job.verify)
        report = processor_seconds(lambda: write_report(job))
        read_data = _data_reading(job, archive)
        read_store = processor_seconds(lambda: read(job.forecasts))
        write = _write_again(job.forecasts, Path(name) / "again.zarr")
        return [
            StageTime(
                "fit",
                fit,
                _row_products(job) + read_data,
                "product of the rows of each stage with themselves, and one read of the data",
            ),
            StageTime(
                "forecast",
                forecast,
                _step_products(job) + write,
                "features and products of all steps, and one write",
            ),
            StageTime(
                "verify",
                verify,
                read_store + _share_read(job) * read_data,
                "one read of the forecasts and of their data with zarr",
            ),
            StageTime("report", report, None, ""),
        ]


def processor_seconds(work: Callable[[], object]) -> float:
    """Return the processor time of a call, all threads together."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def command_seconds(*arguments: str, repeats: int = 3) -> float:
    """Return the least processor time of a ``gfrnn`` command in a process of its own."""
    least = float("inf")
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-P", "-c", _COMMAND, *arguments],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        passed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        least = min(least, passed)
    return least


def read(store: Path) -> None:
    """Read all arrays of a store one after the other."""
    group = zarr.open_group(store, mode="r")
    for _, array in group.arrays():
        array[...]


def _data_reading(job: Run, archive: Path) -> float:
    """Return the seconds of reading the channels of an experiment once."""
    group = zarr.open_group(archive, mode="r")
    held = np.asarray(array_in(group, "level")[...]).tolist()
    levels = np.array([held.index(channel.level) for channel in Fields(job.ds).grid.channels])
    values = array_in(group, "geopotential")
    return processor_seconds(lambda: values.oindex[:, levels])


def _share_read(job: Run) -> float:
    """Return the share of the times of the data that are those of forecasts."""
    fields = Fields(job.ds)
    starts = initial_times(job.experiment, fields.time)
    leads = _forecast_shape(job)[1]
    return float(starts[-1] + leads - starts[0]) / len(fields.time)


def _row_products(job: Run) -> float:
    """Return the seconds of the products of all rows with themselves, one for each stage."""
    network, fields = _network(job), Fields(job.ds)
    stretches = [
        part
        for name in ("train", "validation")
        for part in row_leaves(job.experiment, fields, name)
    ]
    rng, seconds = np.random.default_rng(0), 0.0
    longest = max(part.stop - part.start for part in stretches)
    rows = sum(part.stop - part.start for part in stretches)
    for stage in range(len(network.stages)):
        columns = network.used_columns(stage).sum(axis=1) + network.basis.used.sum(axis=1)
        parts = rng.standard_normal((2, longest, int(columns.max())))
        block = np.asfortranarray(parts[0] + 1j * parts[1])

        def products(block: Array = block, columns: Array = columns) -> None:
            for count in columns:
                zherk(1.0, block[:, :count], trans=2)

        seconds += processor_seconds(products) * rows / longest
    return seconds


def _step_products(job: Run) -> float:
    """Return the seconds of features and products of all steps of all forecasts."""
    network = _network(job)
    starts, leads = _forecast_shape(job)
    batch = min(job.experiment.forecast.batch, starts)
    rng, basis = np.random.default_rng(0), network.basis
    state = basis.unpack(rng.standard_normal((batch, basis.size)) * 1e-3)
    terms = np.ones((batch, len(network.background)))
    rows = [
        rng.standard_normal((basis.wavenumbers, batch, network.columns(stage))) + 0j
        for stage in range(len(network.stages))
    ]

    def step() -> None:
        for stage, own in zip(network.stages, rows, strict=True):
            network.featurise(state, terms)
            np.matmul(own, stage.outer)
        basis.decode(state)

    step()

    def rollout() -> None:
        for _ in range(leads):
            step()

    return processor_seconds(rollout) * starts / batch


def _forecast_shape(job: Run) -> tuple[int, int]:
    """Return the numbers of initial times and of leads."""
    starts, leads = array_in(zarr.open_group(job.forecasts, mode="r"), "geopotential").shape[:2]
    return int(starts), int(leads)


def _network(job: Run) -> ZonalNetwork:
    (network,) = ForecastModel.load(job.model).networks
    assert isinstance(network, ZonalNetwork)
    return network


def _write_again(store: Path, copy: Path) -> float:
    """Return the seconds of writing the values of a store once, in the same chunks."""
    source, target = zarr.open_group(store, mode="r"), zarr.create_group(copy)
    seconds = 0.0
    for name, array in source.arrays():
        values = array[...]
        created = target.create_array(
            name,
            shape=array.shape,
            dtype=array.dtype,
            chunks=array.chunks,
            shards=array.shards,
            compressors=array.compressors,
            fill_value=array.fill_value,
        )

        def write(out: zarr.Array[Any] = created, kept: Any = values) -> None:
            out[...] = kept

        seconds += processor_seconds(write)
    return seconds
