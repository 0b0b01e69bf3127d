"""Session of a command that computes: the run, its cluster and the display of progress."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import xarray as xr
from distributed import get_client
from numpy.typing import NDArray
from rich.console import Console

from gfrnn.cluster import ClusterConfig, open_cluster, planned_cluster_size
from gfrnn.cluster.dashboard import open_page
from gfrnn.cluster.human_units import human_duration
from gfrnn.cluster.performance_report import write_performance_report
from gfrnn.pipeline import Experiment, Run
from gfrnn.pipeline.data.time_axis import format_minute
from gfrnn.pipeline.errors import without_passwords
from gfrnn.pipeline.forecasting.divergence import divergences
from gfrnn.pipeline.forecasting.forecast_store import LIMITED
from gfrnn.pipeline.runs.folder import RunFolder
from gfrnn.pipeline.runs.run import StageOutcome
from gfrnn.pipeline.training.model_notes import ModelNotes
from gfrnn.workflows.report.better_references import better_on_validation
from gfrnn.workflows.report.labels import lead_label, number
from gfrnn.workflows.session.command_output import add_results
from gfrnn.workflows.session.graceful_stop import print_time_limit, stop_at_progress
from gfrnn.workflows.session.matmul_rate import MatmulRate
from gfrnn.workflows.session.printed_lines import (
    print_cluster_line,
    print_dashboard,
    print_product,
    print_warning,
)
from gfrnn.workflows.session.progress_display import show_progress
from gfrnn.workflows.session.run_progress import RunProgress

if TYPE_CHECKING:
    from gfrnn.pipeline.runs.refit import Refit
    from gfrnn.pipeline.runs.update import Update

ModelChange = TypeVar("ModelChange", "Refit", "Update")

# Ratio of the RMSE of a climatology to that of a mean from which on it is said. Harmonics of data
# without a cycle have sampling errors, which make it slightly larger than 1.
_CLIMATOLOGY_ERROR = 1.01

# Share of values that the bound limits at leads up to one day from which on a model is called
# unstable. Of a normal distribution, 20 % are beyond the smallest default bound, 2.1 times the root
# mean square in training, where the standard deviation has grown to 1.6 times it; of the training
# states themselves it is 4 %, as many as are usual in a stable forecast.
_UNSTABLE_SHARE = 0.2

# Forecasts that diverged whose times and places are named.
_SHOWN_DIVERGENCES = 3


@contextmanager
def open_run(
    create: Callable[[], Run],
    experiment: Experiment,
    folder: Path,
    config: ClusterConfig,
    console: Console,
    *,
    later: Sequence[str] = (),
    stage: str | None = None,
    force: bool = False,
    again: bool = False,
    destination: Callable[[], Path] | None = None,
) -> Iterator[tuple[Run, RunProgress]]:
    """Create a run, check it, and open a cluster for it with a display of its progress.

    Parameters
    ----------
    create : callable
        Creates the run of the experiment in its folder.
    experiment : Experiment
    folder : Path
        Folder of the run.
    config : ClusterConfig
    console : Console
    later : sequence of str
        Stages that follow the passes of the fit.
    stage : str, optional
        Stage that will be computed alone, from what the earlier ones have made.
    force : bool
        Whether a run of another experiment may be replaced.
    again : bool
        Whether the stage that is computed alone replaces what it has made before.
    destination : callable, optional
        As for :func:`open_monitored_cluster`.
    """

    def checked() -> Run:
        run = create()
        run.check(force=force, forecast_again=again and stage == "forecast")
        if stage is not None:
            run.check_ready(stage)
        size = planned_cluster_size(config)  # None where only the scheduler knows
        if size is not None and stage in (None, "fit"):
            run.check_memory(size[1])
        return run

    # Check before the cluster starts. In an allocation, only the driver's process may do so.
    run = None if config.in_allocation else checked()
    with open_monitored_cluster(
        config,
        console,
        experiment.name,
        folder,
        precision=experiment.model.precision,
        destination=destination,
        later=later,
    ) as (cluster, progress):
        run = run or checked()
        run.describe_cluster(cluster)
        run.progress = progress
        yield run, progress


@contextmanager
def open_monitored_cluster(
    config: ClusterConfig,
    console: Console,
    name: str,
    folder: Path,
    *,
    precision: str | None = None,
    destination: Callable[[], Path] | None = None,
    later: Sequence[str] = (),
) -> Iterator[tuple[dict[str, Any], RunProgress]]:
    """Open a cluster with a dashboard page and a display of progress.

    Parameters
    ----------
    config : ClusterConfig
    console : Console
    name : str
        Name of the experiment or of the forecasts, the title of the page.
    folder : Path
        Folder of an existing run, or of the results.
    precision : str, optional
        Precision of the model, whose matrix products are timed as a reference on the page.
    destination : callable, optional
        Returns the folder of the results, by default `folder`. It is called once the cluster is
        open: in an allocation, only in the driver's process.
    later : sequence of str
        Stages that follow those which the pipeline announces itself.

    Yields
    ------
    dict
        Description of the cluster for the record of the run.
    RunProgress
        The callback of progress.
    """
    if not config.in_allocation:
        print_time_limit(console)
    with (
        open_cluster(config, folder=folder, report=partial(print_cluster_line, console)) as cluster,
        show_progress(console) as display,
    ):
        if config.in_allocation:  # only the driver's process gets here
            print_time_limit(console)
        client = cluster.client
        results = (folder if destination is None else destination()).absolute()
        progress = RunProgress(name, str(results), later, stop_at_progress(display))
        if precision is not None:
            progress.peak = MatmulRate(client, precision)
        warn = partial(print_warning, console)
        with open_page(client, cluster.dashboard, progress.snapshot, warn) as page:
            if page:
                progress.changed = page.request_update
            print_dashboard(console, page.address if page else cluster.dashboard)
            yield cluster.describe(), progress


@contextmanager
def open_model_change(
    prepare: Callable[[], ModelChange],
    command: str,
    folder: Path,
    configure: Callable[[Mapping[str, Any], str], ClusterConfig],
    console: Console,
) -> Iterator[tuple[ModelChange, RunProgress | None]]:
    """Open a cluster for a refit or an update, with its progress and its performance recorded.

    Parameters
    ----------
    prepare : callable
        Checks the work. In an allocation, only the driver's process calls it, as it may read and
        write the folder of the run.
    command : str
    folder : Path
        Folder of the run whose model is changed.
    configure : callable
        Returns the configuration of the cluster for the keys in an experiment and their place.
    console : Console

    Yields
    ------
    Refit or Update
    RunProgress or None
        None where the work was done before, for which no cluster is opened.
    """
    prepare = cache(prepare)
    experiment = RunFolder(folder).stored_experiment()
    config = configure(experiment.cluster, str(folder))
    if not config.in_allocation and prepare().done:
        yield prepare(), None
        return
    with open_monitored_cluster(
        config,
        console,
        experiment.name,
        folder,
        precision=experiment.model.precision,
        destination=lambda: prepare().folder,
    ) as (_, progress):
        work = prepare()
        with nullcontext() if work.done else record_performance(work.folder, command, console):
            yield work, progress


@contextmanager
def record_performance(folder: Path, command: str, console: Console) -> Iterator[None]:
    """Write Dask's performance report of a command into the folder of its results."""
    path = folder / f"performance-{command}.html"
    with write_performance_report(get_client(), path, partial(print_warning, console)):
        yield


def compute_stage(
    run: Run, stage: str, force: bool, progress: RunProgress, console: Console
) -> None:
    """Compute a stage of a run unless it is done, and print its result."""
    outcome: StageOutcome = getattr(run, stage)(force=force)
    print_stage(run, outcome, console)
    if outcome.skipped:
        progress.skip(outcome.stage)


def print_stage(run: Run, outcome: StageOutcome, console: Console) -> None:
    """Print the result of a stage of a run; say which forecasts diverged or were bounded."""
    how = "done before, skipped" if outcome.skipped else human_duration(outcome.seconds)
    print_product(console, outcome.stage, f"{outcome.product} ({how})")
    found = {"product": outcome.product, "seconds": outcome.seconds, "skipped": outcome.skipped}
    add_results(folder=run.folder, stages={outcome.stage: found})
    if outcome.stage == "fit" and (note := climatology_note(ModelNotes.read(run.model))):
        print_warning(console, note)
    if outcome.stage == "fit" and not outcome.skipped:
        for line in better_on_validation(run.load_model(), run.experiment):
            console.print(line, highlight=False, markup=False)
    if outcome.stage == "forecast":
        forecasts = run.rollouts()
        if note := diverged_note(forecasts):
            print_warning(console, note)
        if note := limited_note(forecasts):
            console.print(note, highlight=False, markup=False)
        if note := unstable_note(forecasts):
            print_warning(console, note)


def climatology_note(notes: ModelNotes | None) -> str:
    """Say that a climatology is worse than a mean; empty if it is not, or not known."""
    ratio = None if notes is None else notes.climatology_error
    if ratio is None or ratio <= _CLIMATOLOGY_ERROR:
        return ""
    return (
        f"on the validation period the climatology has {ratio:.2f} times the RMSE of the mean of "
        "the training period, which does not determine the annual or the diurnal cycle; set "
        "climatology.annual or climatology.diurnal to fewer harmonics, or choose a longer training "
        "period"
    )


def diverged_note(forecasts: xr.Dataset) -> str:
    """Describe the forecasts that diverged; empty if none did."""
    diverged, count = forecasts.attrs.get("lost_forecasts", 0), forecasts.sizes["time"]
    if not diverged:
        return ""
    known = divergences(forecasts)
    leads = forecasts["prediction_timedelta"].values
    places = [_place_of(each, leads) for each in known[:_SHOWN_DIVERGENCES]]
    more = [f"and {len(known) - len(places)} more"] if len(known) > len(places) else []
    where = f" ({'; '.join([*places, *more])})" if places else ""
    return (
        f"{diverged} of {count} forecasts diverged and are NaN from there on, and so are the "
        f"scores{where}; a larger ridge (fit.ridge), noise in training (model.noise) or a smaller "
        "model.scale may prevent it"
    )


def _place_of(diverged: Mapping[str, Any], leads: NDArray[Any]) -> str:
    """Describe when and where a forecast diverged; leads are those of all forecasts."""
    north, east = diverged["latitude"], (diverged["longitude"] + 180) % 360 - 180
    place = f"{abs(north):g} {'SN'[north >= 0]}, {abs(east):g} {'WE'[east >= 0]}"
    return (
        f"from {diverged['initial']} at {lead_label(leads[diverged['lead'] - 1])}, just before "
        f"farthest from the climatology in {diverged['channel']} at {place}"
    )


def linear_note(experiment: Experiment, notes: ModelNotes | None) -> str:
    """Say that the model of ``fit.widths`` with the least error is the linear one; else empty."""
    if notes is None or 0 not in experiment.fit.widths or experiment.model.features:
        return ""
    linear = notes.linear_solve
    if linear is None or [each.width for each in notes.solves] != [0]:
        return ""
    if notes.solves[0].candidate != linear.candidate:
        return ""
    return "of fit.widths, 0 hidden features were chosen: the forecast is the linear model"


def limited_note(forecasts: xr.Dataset) -> str:
    """Describe how many values the bound of rollouts has limited; empty if none."""
    shares, leads = forecasts[LIMITED].values, forecasts["prediction_timedelta"].values
    held = shares > 0
    if not held.any():
        return ""
    mean, largest = (_percentage(float(found(shares))) for found in (np.nanmean, np.nanmax))
    return (
        f"the bound (model.bound) has limited values of {held.any(axis=1).sum()} of {len(shares)} "
        "forecasts, as it holds each value of a state within a multiple of its root mean square in "
        f"training: {mean} of all values, from {lead_label(leads[held.any(axis=0).argmax()])} on, "
        f"and at most {largest} of those of one forecast at one lead; a few percent of all values "
        "are usual for forecasts of many steps"
    )


def unstable_note(forecasts: xr.Dataset) -> str:
    """Say that the bound has limited many values at leads up to one day; empty if it has not."""
    shares, leads = forecasts[LIMITED].values, forecasts["prediction_timedelta"].values
    monthly = leads.dtype.kind == "i"
    early = 1 if monthly else max(1, int((leads <= np.timedelta64(1, "D")).sum()))
    known = shares[:, :early]
    known = known[np.isfinite(known)]
    share = float(known.mean()) if known.size else np.nan
    if not share > _UNSTABLE_SHARE:  # NaN if no share is known
        return ""
    return (
        f"the bound (model.bound) has limited {_percentage(share)} of the values at leads up to "
        f"{lead_label(leads[early - 1])}, so the forecasts are unstable; try larger values of "
        "fit.ridge, or noise in training (model.noise)"
    )


def _percentage(share: float) -> str:
    return f"{number(100 * share, 2)} %" if share >= 1e-3 else "less than 0.1 %"


def print_update(run: Run, data: Sequence[str], console: Console, *, skipped: bool = False) -> None:
    """Print the data that an update has added, and the command that forecasts from their end.

    Parameters
    ----------
    run : Run
        Updated run.
    data : sequence of str
        Paths of the new data.
    console : Console
    skipped : bool
        Whether the update was done before.
    """
    assert run.updated is not None
    latest = run.updated.latest
    # Models hold times with a space before the hour.
    first, last, previous = (
        format_minute(np.datetime64(text)) if text else ""
        for text in (latest.first, run.updated.last, latest.previous)
    )
    before = "; done before, skipped" if skipped else ""
    add_results(
        folder=run.folder,
        model=run.model,
        update={"skipped": skipped, "times": latest.times, "rows": latest.rows}
        | {"first": first, "last": last, "consecutive": latest.consecutive},
    )
    count = latest.times - latest.missing
    times = f"{count} times from {first} to {last}, {latest.rows} rows{before}"
    print_product(console, "update", f"{run.model} ({times})")
    if latest.missing:
        console.print(
            f"times without any value of a variable, which count as gaps: {latest.missing}",
            highlight=False,
        )
    if not latest.consecutive:
        where = f"between {previous} and {first}" if previous else f"before {first}"
        console.print(f"there is a gap {where}; no row crosses it", highlight=False)
    if latest.gaps:
        console.print(
            f"gaps between {first} and {last}: {latest.gaps}; no row crosses one",
            highlight=False,
        )
    words = ["gfrnn", "forecast", str(run.folder)]
    words += [word for path in data for word in ("--data", path)]
    command = without_passwords(shlex.join([*words, "--init", "latest"]))
    console.print(f"forecast from {last} or later: {command}", highlight=False, markup=False)
