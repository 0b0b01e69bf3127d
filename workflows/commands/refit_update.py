"""The commands ``gfrnn refit`` and ``gfrnn update``, which start from the triangles of a fit."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gfrnn.workflows.commands.console import console
from gfrnn.workflows.commands.options import (
    ClusterFile,
    ClusterOptions,
    Folder,
    Memory,
    Scheduler,
    StopAfter,
    StopBefore,
    Workers,
    parse_numbers,
)
from gfrnn.workflows.session.command_output import add_results
from gfrnn.workflows.session.graceful_stop import set_time_limit
from gfrnn.workflows.session.printed_lines import print_product


def refit(
    folder: Folder,
    without: Annotated[
        list[int] | None,
        typer.Option(help="Leave out this training year, e.g. 2003; may be repeated."),
    ] = None,
    ridge: Annotated[
        str | None, typer.Option(help="Ridge strengths to try (fit.ridge), e.g. 1e-3,1e-2.")
    ] = None,
    width: Annotated[
        list[int] | None,
        typer.Option(
            help="Number of hidden features, at most that of the run, e.g. 500; repeat it to try "
            "several and use the best."
        ),
    ] = None,
    balance: Annotated[
        str | None,
        typer.Option(help="Weights of hidden features to try (fit.balance), e.g. 1,0.3."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the new run. Default: RUN-refit."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing refit.")] = False,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    stop_before: StopBefore = None,
    stop_after: StopAfter = None,
) -> None:
    """Solve and select a model again from the R factors of a fit, without reading the data.

    Settings that are not given stay the same. The result is a new folder, in
    which [bold]gfrnn forecast[/bold] and [bold]gfrnn verify[/bold] continue.

    Example: [bold]gfrnn refit runs/era_interim_europe --without 2003 --width 500[/bold]
    """
    from gfrnn.pipeline.runs.refit import Refit
    from gfrnn.workflows.session.given_paths import folder_of_run
    from gfrnn.workflows.session.run_session import open_model_change

    set_time_limit(stop_before, stop_after)
    folder = folder_of_run(folder)
    prepare = partial(
        Refit.prepare,
        folder,
        output,
        without=without,
        ridge=None if ridge is None else parse_numbers("--ridge", ridge),
        widths=width,
        balance=None if balance is None else parse_numbers("--balance", balance),
        force=force,
    )
    configure = ClusterOptions(cluster, workers, memory, scheduler).config
    with open_model_change(prepare, "refit", folder, configure, console) as (work, progress):
        run = work.run(progress)
    add_results(folder=run.folder, model=run.model, skipped=work.done)
    print_product(console, "refit", f"{run.model}{' (done before, skipped)' * work.done}")


def update(
    folder: Folder,
    data: Annotated[
        list[str],
        typer.Argument(help="New data: files, zarr stores, globs or URLs.", metavar="NEW_DATA..."),
    ],
    forget: Annotated[
        float, typer.Option(help="Weight of all earlier data, above 0 and at most 1, e.g. 0.99.")
    ] = 1.0,
    period: Annotated[
        tuple[str, str] | None,
        typer.Option(
            help="Use this part of NEW_DATA, both ends included, e.g. 2021-04-01 2021-04-30.",
            metavar="START END",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of a new run. Default: update RUN itself."),
    ] = None,
    workers: Workers = None,
    memory: Memory = None,
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    stop_before: StopBefore = None,
    stop_after: StopAfter = None,
) -> None:
    """Train an existing model further with new data, without reading the old data again.

    The new data must begin after the last time that the model was trained with. An
    update that was finished before is skipped, so a killed one can be repeated.
    The result is that of a fit to the old and the new data together, with the
    same climatology, EOFs and hidden weights.

    Examples: [bold]gfrnn update runs/era_interim_europe 'era5/2021-0[1-3].nc'[/bold];
    [bold]gfrnn update runs/my era5.zarr --period 2021-04-01 2021-04-30 --forget 0.99[/bold]
    """
    from gfrnn.pipeline.config.section import Period, checked
    from gfrnn.pipeline.runs.update import Update
    from gfrnn.workflows.session.given_paths import folder_of_run
    from gfrnn.workflows.session.run_session import open_model_change, print_update

    set_time_limit(stop_before, stop_after)
    folder = folder_of_run(folder)
    part = None if period is None else checked(Period, period, "--period")
    prepare = partial(Update.prepare, folder, data, output, forget=forget, period=part)
    configure = ClusterOptions(cluster, workers, memory, scheduler).config
    with open_model_change(prepare, "update", folder, configure, console) as (work, progress):
        run = work.run(progress)
    print_update(run, data, console, skipped=work.done)
