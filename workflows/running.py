"""What every command that computes does: open the run, the cluster and the progress display."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from rich.console import Console
from rich.table import Table

from cluster import ClusterConfig, open_cluster
from pipeline import Run
from pipeline.experiment import Outcome
from pipeline.products import open_forecasts
from pipeline.sections import format_duration
from pipeline.tasks import Progress
from workflows.progress import show_progress
from workflows.stopping import watched


@contextmanager
def working(
    begin: Callable[[], Run],
    folder: Path,
    config: ClusterConfig,
    console: Console,
    *,
    force: bool = False,
) -> Iterator[Run]:
    """A run, which ``begin`` makes in its folder, with a cluster to compute on and its progress
    shown."""

    def begun() -> Run:
        run = begin()
        run.check(force=force)
        return run

    # Before a cluster is started for nothing; of an allocation, by the driver's process alone.
    run = None if config.in_allocation else begun()
    with computing(config, console, folder) as (cluster, progress):
        run = run or begun()
        run.describe_cluster(cluster)
        run.progress = progress
        yield run


@contextmanager
def computing(
    config: ClusterConfig, console: Console, folder: Path
) -> Iterator[tuple[dict[str, Any], Progress]]:
    """A cluster to compute on for a run in a folder, described, and a display of progress."""

    def say(line: str) -> None:
        console.print(f"cluster: {line}", highlight=False, markup=False)

    with open_cluster(config, folder=folder, say=say) as cluster:
        console.print(f"dashboard: {cluster.dashboard}", highlight=False)
        with show_progress(console) as progress:
            yield cluster.describe(), watched(progress)


def say(outcome: Outcome, console: Console) -> None:
    """One line about a stage."""
    how = "done before, skipped" if outcome.skipped else f"{outcome.seconds:.1f} s"
    console.print(f"[bold]{outcome.stage}[/bold]: {outcome.product} ({how})", highlight=False)
    if outcome.stage == "forecast" and (note := lost_note(open_forecasts(outcome.product))):
        console.print(f"[yellow]warning[/yellow]: {note}", highlight=False)


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
    latest, last = run.updated["latest"], run.updated["last"]
    console.print(
        f"[bold]update[/bold]: {run.model} ({latest['times']} times from {latest['first']} to "
        f"{last}, {latest['rows']} rows)",
        highlight=False,
    )
    if not latest["consecutive"]:
        console.print(f"a gap lies before {latest['first']}; no row crosses it", highlight=False)
    console.print(f"forecasts and scores: set periods.test to {last} or later", highlight=False)


def skill_table(scores: xr.Dataset, leads: int = 5) -> Table:
    """RMSE of the forecasts and the references, by channel and lead.

    Parameters
    ----------
    scores : xarray.Dataset
        As :func:`pipeline.verify` gives it.
    leads : int
        Columns at most: the first, the last and some between.
    """
    axis = pd.to_timedelta(scores["prediction_timedelta"].values)
    places = np.unique(np.geomspace(1, len(axis), leads).round().astype(int)) - 1
    table = Table(title="RMSE, cos-latitude weighted", title_justify="left")
    table.add_column("system", no_wrap=True)
    for place in places:
        table.add_column(f"+{format_duration(axis[place])}", justify="right", no_wrap=True)
    for channel in scores["channel"].values:
        rmse = scores["rmse"].sel(channel=channel).isel(prediction_timedelta=places)
        best = rmse.min("system")
        table.add_row(f"[bold]{channel}[/bold], {scores['units'].sel(channel=channel).item()}")
        for system in scores["system"].values:
            cells = [
                f"[bold]{value:.4g}[/bold]" if value <= least else f"{value:.4g}"
                for value, least in zip(rmse.sel(system=system).values, best.values, strict=True)
            ]
            table.add_row(f"  {system}", *cells)
        table.add_section()
    return table
