"""The command ``gfrnn spectrum``."""

from __future__ import annotations

from typing import Annotated

import typer

from gfrnn.workflows.commands.console import console
from gfrnn.workflows.commands.options import Folder
from gfrnn.workflows.session.command_output import add_results
from gfrnn.workflows.session.printed_lines import print_product


def spectrum(
    folder: Folder,
    modes: Annotated[
        int, typer.Option(min=1, help="Number of modes to print and to store, e.g. 20.")
    ] = 10,
) -> None:
    """Compute periods, damping and maps of the modes of a run's linear dynamics.

    They are the eigenpairs of the Koopman operator on the delayed states, from
    the triangles of a finished fit, without reading the data. Their residuals on
    the validation period tell which of them can be trusted. Writes spectrum.zarr
    and the page spectrum.html into the folder of the run.

    Example: [bold]gfrnn spectrum runs/enso --modes 20[/bold]
    """
    from gfrnn.pipeline import Run
    from gfrnn.pipeline.runs.spectrum.spectrum_store import write_spectrum
    from gfrnn.workflows.session.given_paths import folder_of_run
    from gfrnn.workflows.spectrum.mode_table import mode_records, mode_terminal_table
    from gfrnn.workflows.spectrum.spectrum_page import write_spectrum_page

    run = Run.reopen(folder_of_run(folder))
    found = write_spectrum(run, modes)
    console.print(mode_terminal_table(found, modes))
    console.print(
        f"{int(found.confirmed.sum())} of {len(found.eigenvalues)} modes are confirmed by the "
        "validation period",
        highlight=False,
    )
    page = write_spectrum_page(run, found, modes)
    add_results(modes=mode_records(found, modes), spectrum=run.spectrum, page=page)
    print_product(console, "spectrum", run.spectrum)
    print_product(console, "page", page)
