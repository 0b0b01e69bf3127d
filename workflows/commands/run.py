"""The commands ``gfrnn run``, ``fit``, ``forecast``, ``verify`` and ``report``."""

from __future__ import annotations

from typing import Annotated

import typer

from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.commands.console import console
from gfrnn.workflows.commands.options import (
    ClusterFile,
    ClusterOptions,
    EveryOption,
    ExperimentFile,
    Folder,
    Force,
    HorizonOption,
    InitOption,
    Memory,
    Output,
    PeriodOption,
    Scheduler,
    StopAfter,
    StopBefore,
    Workers,
)
from gfrnn.workflows.session.graceful_stop import set_time_limit

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
    from gfrnn.workflows.commands import run_stages

    set_time_limit(stop_before, stop_after)
    options = ClusterOptions(cluster, workers, memory, scheduler)
    run_stages.run_all(file, output, force, options)


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
        from gfrnn.workflows.commands import run_stages

        set_time_limit(stop_before, stop_after)
        run_stages.run_one("fit", file, output, force, options)
        return
    from gfrnn.workflows.commands.fit_plan import show_plan
    from gfrnn.workflows.commands.run_stages import load_with_data

    experiment, config = load_with_data(file, options)
    if not show_plan(experiment, config, as_json=as_json):
        raise typer.Exit(PLAN_DOES_NOT_FIT)


def forecast(
    file: ExperimentFile = None,
    output: Output = None,
    force: Force = False,
    period: PeriodOption = None,
    init: InitOption = None,
    every: EveryOption = None,
    horizon: HorizonOption = None,
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
    With --init, forecast from one time, into RUN-YYYYMMDDTHH.

    Examples: [bold]gfrnn forecast workflows/experiments/era_interim_europe.yaml[/bold];
    [bold]gfrnn forecast runs/my --period 2021-01-01 2021-12-31 --output runs/my-2021[/bold];
    [bold]gfrnn forecast runs/my --init latest --horizon 15d[/bold]
    """
    from gfrnn.workflows.commands import run_stages

    _check_forecast_options(period, init, every, horizon)
    set_time_limit(stop_before, stop_after)
    options = ClusterOptions(cluster, workers, memory, scheduler)
    if init is not None:
        run_stages.forecast_once(file, init, output, force, options, horizon)
    elif period is not None:
        run_stages.forecast_period(file, period, output, force, options, every, horizon)
    else:
        run_stages.run_one("forecast", file, output, force, options)


def _check_forecast_options(
    period: tuple[str, str] | None, init: str | None, every: str | None, horizon: str | None
) -> None:
    """Refuse options of ``gfrnn forecast`` that do not go together."""
    if init is not None and period is not None:
        raise ConfigError("--init: not allowed with --period; leave one of them out")
    if every is not None and period is None:
        raise ConfigError(
            "--every: allowed with --period only; without it, set forecast.every in the experiment"
        )
    if horizon is not None and period is None and init is None:
        raise ConfigError(
            "--horizon: allowed with --period or --init only; without them, set forecast.horizon "
            "in the experiment"
        )


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
    from gfrnn.workflows.commands import run_stages

    set_time_limit(stop_before, stop_after)
    options = ClusterOptions(cluster, workers, memory, scheduler)
    run_stages.print_scores(run_stages.run_one("verify", file, output, force, options))


def report(folder: Folder) -> None:
    """Write the page report.html into the folder of a verified run again.

    Example: [bold]gfrnn report runs/era_interim_europe[/bold]
    """
    from gfrnn.pipeline import Run
    from gfrnn.workflows.report.page import write_report

    console.print(write_report(Run.reopen(folder)), highlight=False)
