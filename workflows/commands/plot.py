"""The command ``gfrnn plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfrnn.workflows.commands.console import console
from gfrnn.workflows.commands.options import Folder, places_of
from gfrnn.workflows.session.command_output import add_results
from gfrnn.workflows.session.printed_lines import print_product


def plot(
    folder: Folder,
    time: Annotated[
        str | None,
        typer.Option(
            help="Initial time, e.g. 2021-04-01T12, a day, or latest. Default: the last one whose "
            "truth is known.",
            metavar="TIME",
        ),
    ] = None,
    lead: Annotated[
        str | None,
        typer.Option(help="Lead, e.g. 3d or 6mo. Default: 3 days or months.", metavar="DURATION"),
    ] = None,
    variable: Annotated[
        list[str] | None,
        typer.Option(
            help="Draw this variable, e.g. geopotential_500 or t2m; may be repeated. Default: up "
            "to four.",
            metavar="NAME",
        ),
    ] = None,
    place: Annotated[
        list[str] | None,
        typer.Option(
            help="Draw the series at this place in place of maps, e.g. Madrid=40.4,-3.7; may be "
            "repeated.",
            metavar="NAME=LAT,LON",
        ),
    ] = None,
    index: Annotated[
        str | None,
        typer.Option(
            help="Draw this index of the key verification.indices, e.g. nino34: with --time one "
            "forecast, without all forecasts at --lead.",
            metavar="NAME",
        ),
    ] = None,
    skill: Annotated[
        bool,
        typer.Option(
            "--skill",
            help="Draw the RMSE of the forecasts and of the references against lead.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write, .png, .svg or .pdf. Default: in RUN/plots."
        ),
    ] = None,
) -> None:
    """Draw forecasts of a run beside the truth: maps, series at places, an index, or errors.

    Maps show the forecast, the truth and the difference, with coastlines. Series
    show the members, their mean, the truth and the climatology.

    Examples: [bold]gfrnn plot runs/my --time 2021-04-01 --lead 3d[/bold];
    [bold]gfrnn plot runs/my --time latest --place Madrid=40.4,-3.7 -o madrid.pdf[/bold];
    [bold]gfrnn plot runs/enso --index nino34 --lead 6mo[/bold];
    [bold]gfrnn plot runs/my --skill -o skill.svg[/bold]
    """
    from gfrnn.pipeline import Run
    from gfrnn.pipeline.storage import check_writable_file
    from gfrnn.workflows.plots.plot_run import PlotRequest, file_of, make_figure, write_figure
    from gfrnn.workflows.session.given_paths import folder_of_run

    request = PlotRequest(time, lead, variable or [], places_of(place or []), index, skill)
    request.check()
    run = Run.reopen(folder_of_run(folder))
    check_writable_file(file_of(output, run, "plot"))  # before anything is read
    figure, name = make_figure(run, request)
    file = file_of(output, run, name)
    write_figure(figure, file)
    add_results(plot=file)
    print_product(console, "plot", file)
