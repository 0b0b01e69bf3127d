"""The commands ``gfrnn run``, ``fit``, ``forecast``, ``verify`` and ``report``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
import xarray as xr

from gfrnn.cluster import ClusterConfig
from gfrnn.pipeline import Experiment, Run, load_experiment
from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.pipeline.runs.folder import RunFolder
from gfrnn.pipeline.runs.new_period import NewPeriod
from gfrnn.pipeline.runs.run import StageOutcome
from gfrnn.workflows.commands.console import console
from gfrnn.workflows.commands.fit_plan import show_plan
from gfrnn.workflows.commands.nature import nature
from gfrnn.workflows.commands.options import (
    ClusterFile,
    ClusterOptions,
    ExperimentFile,
    Folder,
    Force,
    Memory,
    Output,
    PeriodOption,
    Scheduler,
    Workers,
)
from gfrnn.workflows.report.page import write_report
from gfrnn.workflows.report.skill_table import dashboard_table, index_table, terminal_table
from gfrnn.workflows.session.graceful_stop import StopAfter, StopBefore, set_time_limit
from gfrnn.workflows.session.run_progress import RunProgress
from gfrnn.workflows.session.run_session import open_run, print_stage, record_performance

EMBEDDED = Path(__file__).parents[1] / "experiments" / "nature.yaml"
"""Experiment file that needs no data: ``gfrnn run`` simulates them."""

PLAN_DOES_NOT_FIT = 2
"""Exit code of ``gfrnn fit --plan`` if the fit does not fit into the workers."""


def run(
    file: ExperimentFile = None,
    output: Output = None,
    force: Force = False,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    stop_before: StopBefore = None,
    stop_after: StopAfter = None,
) -> None:
    """Run all stages of an experiment: fit, forecast, verify and report.

    Finished stages are skipped, and a run that was killed resumes from its
    checkpoints.

    Examples: [bold]gfrnn run[/bold] (embedded nature run, no data needed);
    [bold]gfrnn run workflows/experiments/era_interim_europe.yaml --workers 4[/bold]
    """
    set_time_limit(stop_before, stop_after)
    experiment, config = _load(file, ClusterOptions(cluster, workers, memory, scheduler))
    folder = _folder(file, experiment, output)
    later = ("forecast", "verify", "report")
    create = partial(Run, experiment, folder, force=force)
    with open_run(create, experiment, folder, config, console, later=later, force=force) as (
        opened,
        progress,
    ):
        with record_performance(folder, "run", console):
            for stage in (opened.fit, opened.forecast, opened.verify):
                _run_stage(stage, force, progress)
        scores = xr.open_zarr(opened.scores, chunks=None, decode_timedelta=True)
        progress.show_table(dashboard_table(scores))
        progress(ProgressUpdate("report", 0, 1))
        page = write_report(opened)
        progress(ProgressUpdate("report", 1, 1))
    console.print(f"[bold]report[/bold]: {page}", highlight=False)
    _print_scores(scores)


def fit(
    file: ExperimentFile = None,
    output: Output = None,
    force: Force = False,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="Only estimate tasks, reads, memory, disk and time of the fit, and check whether "
            "the workers have enough memory.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the estimate of --plan as JSON.")
    ] = False,
    stop_before: StopBefore = None,
    stop_after: StopAfter = None,
) -> None:
    """Train a model: climatology, EOFs, triangles, and selection of ridge and width.

    With --plan, no cluster is started and nothing is written; the exit code is
    2 if the workers have too little memory for the fit.

    Examples: [bold]gfrnn fit workflows/experiments/era_interim_europe.yaml[/bold];
    [bold]gfrnn fit my.yaml --plan --workers 8 --memory 4GiB[/bold]
    """
    if as_json and not plan:
        raise ConfigError("--json: allowed with --plan only; add --plan, or leave --json out")
    options = ClusterOptions(cluster, workers, memory, scheduler)
    if not plan:
        set_time_limit(stop_before, stop_after)
        _run_one("fit", file, output, force, options)
        return
    experiment, config = _load(file, options)
    if not show_plan(experiment, config, as_json=as_json):
        raise typer.Exit(PLAN_DOES_NOT_FIT)


def forecast(
    file: ExperimentFile = None,
    output: Output = None,
    force: Force = False,
    period: PeriodOption = None,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    stop_before: StopBefore = None,
    stop_after: StopAfter = None,
) -> None:
    """Forecast from every initial time of the test period with a trained model.

    With --period, forecast another period with the model of an earlier run. The
    result is a new folder, by default RUN-YYYYMMDD with the first day of the
    period, which [bold]gfrnn verify[/bold] and [bold]gfrnn report[/bold] accept.

    Examples: [bold]gfrnn forecast workflows/experiments/era_interim_europe.yaml[/bold];
    [bold]gfrnn forecast runs/my --period 2021-01-01 2021-12-31 --output runs/my-2021[/bold]
    """
    set_time_limit(stop_before, stop_after)
    options = ClusterOptions(cluster, workers, memory, scheduler)
    if period is None:
        _run_one("forecast", file, output, force, options)
        return
    if file is None or not file.is_dir():
        found = "no FILE" if file is None else str(file)
        raise ConfigError(
            f"--period: needs the folder of a run, found {found}; give the folder in place of FILE"
        )
    reuse = NewPeriod.prepare(file, checked(Period, period, "--period"), output)
    config = options.config(reuse.experiment.cluster, str(file))
    with (
        open_run(reuse.run, reuse.experiment, reuse.folder, config, console) as (opened, progress),
        record_performance(reuse.folder, "forecast", console),
    ):
        _run_stage(opened.forecast, force, progress)


def verify(
    file: ExperimentFile = None,
    output: Output = None,
    force: Force = False,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    stop_before: StopBefore = None,
    stop_after: StopAfter = None,
) -> None:
    """Compute RMSE, bias and ACC of forecasts and references, and scores of named indices.

    The references are climatology, persistence, damped persistence and the
    linear model.

    Example: [bold]gfrnn verify workflows/experiments/era_interim_europe.yaml[/bold]
    """
    set_time_limit(stop_before, stop_after)
    options = ClusterOptions(cluster, workers, memory, scheduler)
    scored = _run_one("verify", file, output, force, options)
    _print_scores(xr.open_zarr(scored.scores, chunks=None, decode_timedelta=True))


def report(folder: Folder) -> None:
    """Write the page report.html into the folder of a verified run again.

    Example: [bold]gfrnn report runs/era_interim_europe[/bold]
    """
    console.print(write_report(Run.reopen(folder)), highlight=False)


def _run_one(
    stage: str, file: Path | None, output: Path | None, force: bool, options: ClusterOptions
) -> Run:
    """Open the run and its cluster, compute one stage, and return the run."""
    experiment, config = _load(file, options)
    # Only a new fit may replace the run of another experiment.
    replace = force and stage == "fit"
    folder = _folder(file, experiment, output)
    create = partial(Run, experiment, folder, force=replace)
    with (
        open_run(create, experiment, folder, config, console, force=replace) as (opened, progress),
        record_performance(folder, stage, console),
    ):
        _run_stage(getattr(opened, stage), force, progress)
    return opened


def _print_scores(scores: xr.Dataset) -> None:
    for table in (terminal_table(scores), index_table(scores)):
        if table is not None:
            console.print(table)


def _run_stage(stage: Callable[..., StageOutcome], force: bool, progress: RunProgress) -> None:
    outcome = stage(force=force)
    print_stage(outcome, console)
    if outcome.skipped:
        progress.skip(outcome.stage)


def _load(file: Path | None, options: ClusterOptions) -> tuple[Experiment, ClusterConfig]:
    """Load an experiment file, or the embedded one, whose data are simulated if missing."""
    if file is not None:
        experiment = RunFolder(file).stored_experiment() if file.is_dir() else load_experiment(file)
        where = file / "experiment.yaml" if file.is_dir() else file
        return experiment, options.config(experiment.cluster, str(where))
    experiment = load_experiment(EMBEDDED)
    config = options.config(experiment.cluster, EMBEDDED.name)
    store = Path(str(experiment.data.sources[0].path))
    if not store.exists():
        years = experiment.periods.test.end.year - experiment.periods.train.start.year + 1
        if config.in_allocation:  # each process of the allocation would write them
            raise ConfigError(
                f"cluster.kind: {config.kind}: the data are missing; write them first with "
                f"`gfrnn nature {store} --years {years}`"
            )
        nature(store, years)
    return experiment, config


def _folder(file: Path | None, experiment: Experiment, output: Path | None) -> Path:
    if file is not None and file.is_dir():
        return output or file
    return output or Path(experiment.output or Path("runs") / experiment.name)
