"""The command ``gfrnn export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfrnn.workflows.commands.console import console
from gfrnn.workflows.session.command_output import add_results
from gfrnn.workflows.session.printed_lines import print_product


def export(
    path: Annotated[
        Path,
        typer.Argument(
            help="Folder of a run, e.g. runs/my, its experiment file, or a forecast store.",
            metavar="RUN_OR_STORE",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the files. Default: RUN/netcdf."),
    ] = None,
    init: Annotated[
        list[str] | None,
        typer.Option(
            help="Export this initial time only, e.g. 2021-04-01T12, a day, or latest; may be "
            "repeated.",
            metavar="TIME",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write files that exist already once more.")
    ] = False,
) -> None:
    """Write forecasts as netCDF files by the CF conventions, one for each initial time.

    Each file is complete as soon as it has its name. Files that exist are skipped,
    so that a command that was killed resumes.

    Examples: [bold]gfrnn export runs/my[/bold];
    [bold]gfrnn export runs/my --init latest --output /data/products[/bold]
    """
    from gfrnn.pipeline.forecasting.netcdf_export import NetcdfExport
    from gfrnn.pipeline.storage import check_writable
    from gfrnn.workflows.session.given_paths import folder_of_run
    from gfrnn.workflows.session.progress_display import show_progress

    path = folder_of_run(path, stores=True)
    work = NetcdfExport.prepare(path, output, init or (), force=force)
    if work.missing:
        check_writable(work.files[0].parent)
        with show_progress(console) as progress:
            work.write(progress)
    add_results(files=work.files, written=[work.files[place] for place in work.missing])
    skipped = len(work.files) - len(work.missing)
    there = work.files[0] if len(work.files) == 1 else work.files[0].parent
    total = len(work.files)
    counts = f"{total} initial {'times' if total > 1 else 'time'}"
    counts += f", {skipped} done before" if skipped else ""
    print_product(console, "export", f"{there} ({counts})")
