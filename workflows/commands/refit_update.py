"""The commands that follow from kept triangles: ``gfrnn refit`` and ``gfrnn update``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from gfrnn.pipeline.config.section import Period, checked
from gfrnn.pipeline.runs.refit import Refit
from gfrnn.pipeline.runs.update import Update
from gfrnn.workflows.commands.options import (
    ClusterFile,
    Folder,
    Memory,
    Place,
    Scheduler,
    Workers,
    numbers,
)
from gfrnn.workflows.session.monitor import RunMonitor
from gfrnn.workflows.session.run_session import computing, recorded, say_updated
from gfrnn.workflows.session.stopping import StopAfter, StopBefore, stop_in_time


def add_commands(app: typer.Typer, console: Callable[[], Console]) -> None:
    """Give the app both commands, which print on its console."""

    @app.command()
    def refit(
        folder: Folder,
        without: Annotated[
            list[int] | None, typer.Option(help="A training year to leave out; may be repeated.")
        ] = None,
        ridge: Annotated[str | None, typer.Option(help="Candidates, e.g. 1e-3,1e-2.")] = None,
        width: Annotated[
            list[int] | None,
            typer.Option(help="Hidden features, at most the run's; repeated, the best is taken."),
        ] = None,
        balance: Annotated[str | None, typer.Option(help="Candidates, e.g. 1,0.3.")] = None,
        output: Annotated[
            Path | None,
            typer.Option("--output", "-o", help="The new run's folder; default RUN-refit."),
        ] = None,
        force: Annotated[
            bool, typer.Option("--force", help="Replace a refit that is there.")
        ] = False,
        workers: Workers = None,
        memory: Memory = None,
        scheduler: Scheduler = None,
        cluster: ClusterFile = None,
        stop_before: StopBefore = None,
        stop_after: StopAfter = None,
    ) -> None:
        """Choose a model anew from the triangles that a fit has kept; the data are not read.

        What is not given stays as it was; go on with [bold]gfrnn forecast[/bold] and
        [bold]verify[/bold] in the new folder.

        Example: [bold]gfrnn refit runs/era_interim_europe --without 2003 --width 500[/bold]
        """
        stop_in_time(stop_before, stop_after)
        work = Refit.of(
            folder,
            output,
            without=without,
            ridge=numbers("--ridge", ridge),
            widths=width,
            balance=numbers("--balance", balance),
            force=force,
        )
        place = Place(cluster, workers, memory, scheduler)
        with _computing(work, "refit", folder, place, console()) as watch:
            run = work.run(watch)
        console().print(f"[bold]refit[/bold]: {run.model}", highlight=False)

    @app.command()
    def update(
        folder: Folder,
        data: Annotated[
            list[str],
            typer.Argument(help="New data: files, stores, globs or URLs.", metavar="NEW_DATA..."),
        ],
        forget: Annotated[
            float, typer.Option(help="What all earlier rows count, within (0, 1].")
        ] = 1.0,
        period: Annotated[
            tuple[str, str] | None,
            typer.Option(
                help="The part of NEW_DATA to take, both ends included.", metavar="START END"
            ),
        ] = None,
        output: Annotated[
            Path | None,
            typer.Option("--output", "-o", help="A new folder; by default the run is updated."),
        ] = None,
        workers: Workers = None,
        memory: Memory = None,
        scheduler: Scheduler = None,
        cluster: ClusterFile = None,
        stop_before: StopBefore = None,
        stop_after: StopAfter = None,
    ) -> None:
        """Fold new data into a trained model, without reading the old ones again.

        Examples: [bold]gfrnn update runs/era_interim_europe 'era5/2021-0[1-3].nc'[/bold];
        [bold]gfrnn update runs/my era5.zarr --period 2021-04-01 2021-04-30 --forget 0.99[/bold]
        """
        stop_in_time(stop_before, stop_after)
        part = None if period is None else checked(Period, period, "--period")
        work = Update.of(folder, data, output, forget=forget, period=part)
        place = Place(cluster, workers, memory, scheduler)
        with _computing(work, "update", folder, place, console()) as watch:
            run = work.run(watch)
        say_updated(run, console())


@contextmanager
def _computing(
    work: Refit | Update, command: str, folder: Path, place: Place, console: Console
) -> Iterator[RunMonitor]:
    """A cluster to do the work on, watched and recorded; errors name the run's folder."""
    config = place.config(work.experiment.cluster, str(folder))
    source = work.source.folder
    with (
        computing(config, console, work.experiment, source, place=work.folder) as (_, watch),
        recorded(work.folder, command, console),
    ):
        yield watch
