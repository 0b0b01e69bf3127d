"""The command ``gfrnn nature``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfrnn.pipeline.errors import RunError
from gfrnn.workflows.commands.console import console
from gfrnn.workflows.session.printed_lines import print_product


def nature(
    path: Annotated[Path, typer.Argument(help="The zarr store to write.", metavar="OUT.zarr")],
    years: Annotated[int, typer.Option(min=1, help="Number of calendar years.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the initial state.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing store.")] = False,
) -> None:
    """Simulate weather with a quasi-geostrophic model and write it as an ERA5-like zarr store.

    Example: [bold]gfrnn nature nature.zarr --years 10[/bold]
    """
    if path.exists() and not force:
        raise RunError(f"{path}: exists already; choose another name, or replace it with --force")
    from gfrnn.workflows.nature_run import write_nature
    from gfrnn.workflows.session.progress_display import show_progress

    with show_progress(console) as progress:
        write_nature(path, years=years, seed=seed, overwrite=force, progress=progress)
    print_product(console, "nature run", f"{path} (simulated weather, not the real one)")
