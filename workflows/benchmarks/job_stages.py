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

from rich.table import Table

from gfrnn.pipeline import Run, load_experiment
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.forecasting.forecast import initial_times
from gfrnn.pipeline.reduction.blas_threads import single_threaded
from gfrnn.pipeline.training.checks import row_leaves
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck, bar_table, plain_table
from gfrnn.workflows.benchmarks.stores.job_bounds import (
    read_data_once,
    read_once,
    roll_out_once,
    square_rows_once,
    stored_values,
    write_once,
)
from gfrnn.workflows.report.page import write_report
from gfrnn_core.zonal import ZonalNetwork

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
    """Yield the table of the stages of `gfrnn demo` in this process, and the bars.

    Parameters
    ----------
    archive : Path
        Nature run of at least eight years from 2001, see ``gfrnn nature``.
    """
    stages = single_threaded(_stages, archive)
    table = plain_table(
        "processor seconds of gfrnn demo, one process",
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
        return [
            StageTime(
                "fit",
                fit,
                _fit_bound(job, archive),
                "product of the rows of each stage with themselves, and one read of the data",
            ),
            StageTime(
                "forecast",
                forecast,
                _forecast_bound(job),
                "features, products and fields of all steps, and one write",
            ),
            StageTime(
                "verify",
                verify,
                _verify_bound(job, archive),
                "one read of the forecasts and of their data with zarr",
            ),
            StageTime("report", report, None, ""),
        ]


def _fit_bound(job: Run, archive: Path) -> float:
    fields = Fields(job.ds)
    (network,) = ForecastModel.load(job.model).networks
    assert isinstance(network, ZonalNetwork)
    rows = sum(
        part.stop - part.start
        for name in ("train", "validation")
        for part in row_leaves(job.experiment, fields, name)
    )
    products = processor_seconds(lambda: square_rows_once(network, rows))
    return products + processor_seconds(
        lambda: read_data_once(job.forecast_store, archive, slice(None))
    )


def _forecast_bound(job: Run) -> float:
    values = stored_values(job.forecast_store)
    starts, leads = next(iter(values.values())).shape[:2]
    model = ForecastModel.load(job.model)
    copy = job.folder / "again.zarr"
    steps = processor_seconds(lambda: roll_out_once(model, starts, leads))
    return steps + processor_seconds(lambda: write_once(values, job.forecast_store, copy))


def _verify_bound(job: Run, archive: Path) -> float:
    starts = initial_times(job.experiment, Fields(job.ds).time)
    leads = next(iter(stored_values(job.forecast_store).values())).shape[1]
    times = slice(int(starts[0]), int(starts[-1]) + leads + 1)
    forecasts = processor_seconds(lambda: read_once(job.forecast_store))
    return forecasts + processor_seconds(lambda: read_data_once(job.forecast_store, archive, times))


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
