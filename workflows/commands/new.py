"""The command ``gfrnn new``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfrnn.workflows.commands.console import console


def new(
    data: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, zarr stores, globs or URLs of one data set.", metavar="[DATA...]"
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="File to write, e.g. my.yaml. Default: NAME.yaml."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the experiment. Default: that of the file (--save) or of the data."
        ),
    ] = None,
    level: Annotated[
        list[str] | None,
        typer.Option(
            help="Pressure level in hPa, if only the name of the file contains it, e.g. 500, or "
            "z500.nc=500 for one of DATA. Repeatable.",
            metavar="[DATA=]HPA",
        ),
    ] = None,
    variable: Annotated[
        list[str] | None,
        typer.Option(help="Forecast this variable, e.g. geopotential. Repeatable. Default: all."),
    ] = None,
    region: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(
            help="Part of the area in degrees, e.g. 35 60 -10 30.", metavar="SOUTH NORTH WEST EAST"
        ),
    ] = None,
    train: Annotated[
        tuple[str, str] | None,
        typer.Option(
            help="Training period, e.g. 2000-01-01 2007-12-31; with --validation and --test.",
            metavar="START END",
        ),
    ] = None,
    validation: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Validation period, on which settings are chosen.", metavar="START END"),
    ] = None,
    test: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Test period, which is forecast and scored.", metavar="START END"),
    ] = None,
    horizon: Annotated[
        str | None, typer.Option(help="Length of the forecasts, e.g. 10d.", metavar="DURATION")
    ] = None,
    members: Annotated[
        int | None,
        typer.Option(min=2, help="Number of members of an ensemble. Default: one forecast."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing; derive from the data what is missing.")
    ] = False,
) -> None:
    """Write an experiment file, with comments, for data of your own.

    In a terminal, it asks for what the options do not give, and proposes answers.
    The experiment is checked against the data before it is written.

    Examples: [bold]gfrnn new[/bold];
    [bold]gfrnn new 'era5/*.nc' --save my.yaml --horizon 5d --yes[/bold]
    """
    import sys

    from gfrnn.pipeline.data.inspection.starting_experiment import StartingChoices
    from gfrnn.pipeline.errors import ConfigError
    from gfrnn.workflows.session.new_experiment import new_experiment

    periods = {"train": train, "validation": validation, "test": test}
    given = {key: list(value) for key, value in periods.items() if value is not None}
    if given and len(given) < len(periods):
        missing = next(key for key in periods if key not in given)
        raise ConfigError(f"--{missing}: missing; give all of --train, --validation and --test")
    choices = StartingChoices(variable or None, region, given or None, horizon, members)
    asks = not yes and sys.stdin.isatty()
    new_experiment(data or (), level or (), name, save, choices, console, asks=asks)
