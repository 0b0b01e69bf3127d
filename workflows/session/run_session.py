"""What every command that computes does: open the run, the cluster and the progress display."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr
from distributed import get_client
from rich.console import Console

from gfrnn.cluster import ClusterConfig, open_cluster
from gfrnn.cluster.dashboard import open_page
from gfrnn.cluster.performance_report import performance_kept
from gfrnn.cluster.ssh_tunnel import tunnel
from gfrnn.pipeline import Experiment, Run
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.runs.run import StageOutcome
from gfrnn.workflows.session.matmul_rate import MatmulRate
from gfrnn.workflows.session.monitor import RunMonitor
from gfrnn.workflows.session.progress import show_progress
from gfrnn.workflows.session.stopping import say_limit, watched


@contextmanager
def working(
    begin: Callable[[], Run],
    experiment: Experiment,
    folder: Path,
    config: ClusterConfig,
    console: Console,
    *,
    later: Sequence[str] = (),
    force: bool = False,
) -> Iterator[tuple[Run, RunMonitor]]:
    """A run with a cluster to compute on, and its progress shown.

    Parameters
    ----------
    begin : callable
        Makes the run of the experiment in its folder.
    later : sequence of str
        Stages that follow the passes of the fit.
    """

    def begun() -> Run:
        run = begin()
        run.check(force=force)
        return run

    # Before a cluster is started for nothing; of an allocation, by the driver's process alone.
    run = None if config.in_allocation else begun()
    with computing(config, console, experiment, folder, later=later) as (cluster, watch):
        run = run or begun()
        run.describe_cluster(cluster)
        run.progress = watch
        yield run, watch


@contextmanager
def computing(
    config: ClusterConfig,
    console: Console,
    experiment: Experiment,
    folder: Path,
    *,
    place: Path | None = None,
    later: Sequence[str] = (),
) -> Iterator[tuple[dict[str, Any], RunMonitor]]:
    """A cluster to compute on, described, with a page of its own and a display of progress.

    Parameters
    ----------
    folder : Path
        Of a run, which is there.
    place : Path, optional
        Where results go; default ``folder``.
    later
        As in :func:`working`.
    """

    def say(line: str) -> None:
        console.print(f"cluster: {line}", highlight=False, markup=False)

    if not config.in_allocation:
        say_limit(console)
    with (
        open_cluster(config, folder=folder, say=say) as cluster,
        show_progress(console) as progress,
    ):
        if config.in_allocation:  # this is the driver's process
            say_limit(console)
        client = cluster.client
        watch = RunMonitor(
            experiment.name, str((place or folder).absolute()), later, watched(progress)
        )
        watch.peak = MatmulRate(client, experiment.model.precision)
        with open_page(client, cluster.dashboard, watch.shown, partial(_warn, console)) as page:
            if page:
                watch.changed = page.changed
            address = page.address if page else cluster.dashboard
            console.print(f"dashboard: {address}", highlight=False)
            if command := tunnel(address):
                console.print(f"from elsewhere: {command}", highlight=False)
            yield cluster.describe(), watch


@contextmanager
def recorded(folder: Path, command: str, console: Console) -> Iterator[None]:
    """Keep Dask's performance report of what a command computes, beside its results."""

    path = folder / f"performance-{command}.html"
    with performance_kept(get_client(), path, partial(_warn, console)):
        yield


def _warn(console: Console, sentence: str) -> None:
    console.print(f"[yellow]warning[/yellow]: {sentence}", highlight=False)


def say(outcome: StageOutcome, console: Console) -> None:
    """One line about a stage."""
    how = "done before, skipped" if outcome.skipped else f"{outcome.seconds:.1f} s"
    console.print(f"[bold]{outcome.stage}[/bold]: {outcome.product} ({how})", highlight=False)
    if outcome.stage == "forecast" and (note := lost_note(open_forecasts(outcome.product))):
        _warn(console, note)


def lost_note(forecasts: xr.Dataset) -> str:
    """A sentence about forecasts that left what weather can be; empty where none did."""
    lost, count = forecasts.attrs.get("lost_forecasts", 0), forecasts.sizes["time"]
    if not lost:
        return ""
    return (
        f"{lost} of {count} forecasts left what weather can be and are NaN from there on, and so "
        "are the scores; a larger ridge (fit.ridge), noise in training (model.noise) or a smaller "
        "model.scale may keep them in"
    )


def say_updated(run: Run, console: Console) -> None:
    """What an update has folded in, and what may be scored from now on."""
    assert run.updated is not None
    latest, last = run.updated.latest, run.updated.last
    console.print(
        f"[bold]update[/bold]: {run.model} ({latest.times} times from {latest.first} to "
        f"{last}, {latest.rows} rows)",
        highlight=False,
    )
    if not latest.consecutive:
        console.print(f"a gap lies before {latest.first}; no row crosses it", highlight=False)
    console.print(f"forecasts and scores: set periods.test to {last} or later", highlight=False)
