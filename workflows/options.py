"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.errors import ConfigError

ExperimentFile = Annotated[
    Path | None,
    typer.Argument(
        help="Experiment file or a run's folder; without one, the embedded nature run.",
        metavar="[FILE]",
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="The run's folder; default runs/NAME.")
]
Force = Annotated[bool, typer.Option("--force", help="Do it again, even if it is done.")]
Workers = Annotated[int | None, typer.Option(help="Worker processes on this machine.")]
Memory = Annotated[str | None, typer.Option(help="Memory of one worker, e.g. 4GiB.")]
Scheduler = Annotated[
    str | None, typer.Option(help="Address or scheduler file of a running Dask cluster.")
]
Folder = Annotated[Path, typer.Argument(help="A run's folder, e.g. runs/era_interim_europe.")]


def overrides(workers: int | None, memory: str | None, scheduler: str | None) -> dict[str, Any]:
    """What the command line says of the cluster."""
    if scheduler is None:
        return {"workers": workers, "memory": memory}
    key = "address" if "://" in scheduler else "scheduler_file"
    return {"kind": "existing", key: scheduler, "workers": workers, "memory": memory}


def numbers(option: str, text: str | None) -> list[float] | None:
    """The numbers of a list such as ``1e-3,1e-2``.

    Raises
    ------
    ConfigError
    """
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option}: {text!r} is not a list of numbers, e.g. 1e-3,1e-2") from None
