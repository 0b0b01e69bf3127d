"""Work of ``gfrnn run``, ``fit``, ``forecast`` and ``verify``: open a run, compute its stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import pandas as pd

from gfrnn.cluster import ClusterConfig
from gfrnn.pipeline import Experiment, Run
from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.pipeline.runs.folder import RunFolder
from gfrnn.pipeline.runs.new_period import NewPeriod
from gfrnn.pipeline.runs.record import STAGES
from gfrnn.pipeline.training.model_notes import ModelNotes
from gfrnn.pipeline.verification.scores import open_scores
from gfrnn.pipeline.verification.sources.matched_truth import pairs_without_truth
from gfrnn.pipeline.verification.statistics_store import open_statistics
from gfrnn.workflows.commands.console import console
from gfrnn.workflows.commands.options import ClusterOptions
from gfrnn.workflows.comparison.score_records import score_records
from gfrnn.workflows.report.better_references import better_references
from gfrnn.workflows.report.display_units import displayed_scores
from gfrnn.workflows.report.skill_table import dashboard_table, index_table, terminal_table
from gfrnn.workflows.session.command_output import add_results
from gfrnn.workflows.session.given_paths import folder_for, folder_of_run, given_experiment
from gfrnn.workflows.session.printed_lines import print_product
from gfrnn.workflows.session.run_session import (
    compute_stage,
    linear_note,
    open_run,
    print_stage,
    record_performance,
)


def run_all(
    file: Path | None,
    output: Path | None,
    force: bool,
    options: ClusterOptions,
    strict: bool = False,
) -> None:
    """Compute all stages of a run, write its report and print its scores."""
    experiment, config, folder = load_given(file, options, output)
    run_experiment(experiment, config, folder, force, strict)


def run_experiment(
    experiment: Experiment,
    config: ClusterConfig,
    folder: Path,
    force: bool = False,
    strict: bool = False,
) -> None:
    """Compute all stages of an experiment in a folder, write its report and print its scores."""
    create = cache(partial(Run, experiment, folder, force=force, strict=strict))
    if run := _finished_run(create, STAGES, config, force):
        if _has_report(run):
            _print_report(run.report, " (done before, skipped)")
        else:
            _print_report(_write_report(run))
        print_scores(run)
        return
    later = ("forecast", "verify", "report")
    with open_run(create, experiment, folder, config, console, later=later, force=force) as (
        run,
        progress,
    ):
        with record_performance(folder, "run", console):
            for stage in STAGES:
                compute_stage(run, stage, force, progress, console)
        progress.show_table(dashboard_table(displayed_scores(open_scores(run.score_store))))
        progress(ProgressUpdate("report", 0, 1))
        page = _write_report(run)
        progress(ProgressUpdate("report", 1, 1))
    _print_report(page)
    print_scores(run)


def run_one(
    stage: str,
    file: Path | None,
    output: Path | None,
    force: bool,
    options: ClusterOptions,
    strict: bool = False,
) -> Run:
    """Compute one stage of a run and return the run."""
    experiment, config, folder = load_given(file, options, output)
    # Only a new fit may replace the run of another experiment.
    replace = force and stage == "fit"
    create = cache(partial(Run, experiment, folder, force=replace, strict=strict))
    return _run_stage(stage, create, experiment, folder, config, force)


def forecast_period(
    folder: Path | None,
    period: tuple[str, str],
    output: Path | None,
    force: bool,
    options: ClusterOptions,
    every: str | None = None,
    horizon: str | None = None,
    members: int | None = None,
    data: Sequence[str] = (),
) -> Run:
    """Forecast another period with the model of the run in a folder, into a folder of its own."""
    source = _folder_of_run("--period", folder)
    chosen = checked(Period, period, "--period")
    prepare = partial(
        NewPeriod.prepare,
        source,
        chosen,
        output,
        every=every,
        horizon=horizon,
        members=members,
        data=data,
    )
    return _forecast_new(prepare, source, force, options)


def forecast_once(
    folder: Path | None,
    init: str,
    output: Path | None,
    force: bool,
    options: ClusterOptions,
    horizon: str | None = None,
    members: int | None = None,
    data: Sequence[str] = (),
) -> Run:
    """Forecast from one time with the model of the run in a folder, into a folder of its own."""
    source = _folder_of_run("--init", folder)

    def prepare() -> NewPeriod:
        new = NewPeriod.from_initial_time(
            source, init, output, horizon=horizon, members=members, data=data
        )
        start = f"{new.experiment.periods.test.start:%Y-%m-%dT%H:%M}"
        newer = f" (newer times are incomplete: {new.note})" if new.note else ""
        print_product(console, "initial time", f"{start}{newer}")
        return new

    return _forecast_new(prepare, source, force, options)


def _folder_of_run(option: str, folder: Path | None) -> Path:
    if folder is not None:
        folder = folder_of_run(folder)
    if folder is None or not folder.is_dir():
        found = "no FILE" if folder is None else str(folder)
        raise ConfigError(
            f"{option}: needs the folder of a run, found {found}; give the folder in place of FILE"
        )
    return folder


def _forecast_new(
    prepare: Callable[[], NewPeriod], source: Path, force: bool, options: ClusterOptions
) -> Run:
    """Forecast a new period of the run in the folder ``source``.

    In an allocation only the driver's process prepares it, and until then its folder is not known.
    """
    prepare = cache(prepare)
    experiment = RunFolder(source).stored_experiment()
    config = options.config(experiment.cluster, str(source))
    folder = source if config.in_allocation else prepare().folder
    return _run_stage(
        "forecast",
        cache(lambda: prepare().run()),
        experiment,
        folder,
        config,
        force,
        destination=lambda: prepare().folder,
    )


def _run_stage(
    stage: str,
    create: Callable[[], Run],
    experiment: Experiment,
    folder: Path,
    config: ClusterConfig,
    force: bool,
    destination: Callable[[], Path] | None = None,
) -> Run:
    if run := _finished_run(create, (stage,), config, force):
        return run
    # The scores follow from small statistics, without any task.
    if stage == "verify" and not experiment.forecast.store and not config.in_allocation:
        run = create()
        run.check()
        print_stage(run, run.verify(force=force), console)
        return run
    replace = force and stage == "fit"
    with (
        open_run(
            create,
            experiment,
            folder,
            config,
            console,
            stage=stage,
            force=replace,
            again=force,
            destination=destination,
        ) as (run, progress),
        record_performance(run.folder, stage, console),
    ):
        compute_stage(run, stage, force, progress, console)
    return run


def _finished_run(
    create: Callable[[], Run], stages: Sequence[str], config: ClusterConfig, force: bool
) -> Run | None:
    """Return a run whose stages are all done, after printing that; it needs no cluster.

    The result is None if there is something to compute, and in an allocation, where only the
    driver's process may create the run.
    """
    if force or config.in_allocation:
        return None
    run = create()
    if not all(run.is_done(stage) for stage in stages):
        return None
    for stage in stages:
        print_stage(run, run.outcome(stage, skipped=True), console)
    return run


def _has_report(run: Run) -> bool:
    """Check for a report that is younger than all stages."""
    if not run.report.exists():
        return False
    written = run.report.stat().st_mtime
    times = [stage.finished for stage in run.record.stages.values() if stage.finished]
    return all(pd.Timestamp(time).timestamp() <= written for time in times)


def _write_report(run: Run) -> Path:
    # Matplotlib takes a second to import: only once there is something to draw.
    from gfrnn.workflows.report.page import write_report

    return write_report(run)


def _print_report(page: Path, note: str = "") -> None:
    add_results(report=page)
    print_product(console, "report", f"{page}{note}")


def print_scores(run: Run) -> None:
    """Print the tables of the scores of a run."""
    stored = open_scores(run.score_store)
    add_results(scores=score_records(stored, "channel", "system"))
    scores = displayed_scores(stored)
    for table in (terminal_table(scores, console), index_table(scores)):
        if table is not None:
            console.print(table)
    if note := linear_note(run.experiment, ModelNotes.read(run.model)):
        console.print(note, highlight=False, markup=False)
    for line in better_references(scores, run.experiment):
        console.print(line, highlight=False, markup=False)
    with open_statistics(run.statistics) as statistics:
        known, leads = statistics["known"].values, statistics["prediction_timedelta"].values
    if note := pairs_without_truth(known == 1, leads):
        console.print(note, highlight=False, markup=False)


def load_given(
    file: Path | None, options: ClusterOptions, output: Path | None = None
) -> tuple[Experiment, ClusterConfig, Path]:
    """Load an experiment file, or the experiment of the run in a folder.

    Returns
    -------
    Experiment
    ClusterConfig
    Path
        Folder of the run.

    Raises
    ------
    ConfigError
        If none is given, or it cannot be read.
    """
    if file is None:
        raise ConfigError(
            "FILE: missing; give an experiment file (`gfrnn new DATA...` writes one) or the folder "
            "of a run; `gfrnn demo` runs an example that needs no data"
        )
    experiment = given_experiment(file)
    where = file / "experiment.yaml" if file.is_dir() else file
    config = options.config(experiment.cluster, str(where))
    return experiment, config, output or folder_for(file, experiment)
