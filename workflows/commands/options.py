"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from gfrnn.cluster import ClusterConfig
from gfrnn.pipeline.config.section import checked, read_tree
from gfrnn.pipeline.errors import ConfigError

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
ClusterFile = Annotated[
    Path | None,
    typer.Option(
        "--cluster", metavar="FILE", help="YAML file of cluster keys, instead of the experiment's."
    ),
]
PeriodOption = Annotated[
    tuple[str, str] | None,
    typer.Option("--period", help="Another period, both ends included.", metavar="START END"),
]
Folder = Annotated[Path, typer.Argument(help="A run's folder, e.g. runs/era_interim_europe.")]


@dataclass(frozen=True)
class Place:
    """What the options of a command say of where it computes."""

    cluster: Path | None = None
    workers: int | None = None
    memory: str | None = None
    scheduler: str | None = None

    @property
    def words(self) -> list[str]:
        """The options as they are typed; empty where none is given."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return [
            word
            for name, value in given.items()
            if value is not None
            for word in (f"--{name}", str(value))
        ]

    def config(self, tree: Mapping[str, Any], where: str) -> ClusterConfig:
        """The cluster to open.

        Parameters
        ----------
        tree : mapping
            The keys of the experiment, which those of the file replace, if there is one.
        where : str
            The experiment, for errors.

        Raises
        ------
        ConfigError
            Naming the file, the key, what was found and what is allowed.
        """
        if self.cluster is None:
            return checked(ClusterConfig, {**tree, **self._keys()}, f"{where}: cluster")
        return checked(ClusterConfig, read_tree(self.cluster) | self._keys(), str(self.cluster))

    def _keys(self) -> dict[str, Any]:
        """What comes before the keys of experiment and file."""
        keys: dict[str, Any] = {"workers": self.workers, "memory": self.memory}
        if self.scheduler is not None:
            key = "address" if "://" in self.scheduler else "scheduler_file"
            keys |= {"kind": "existing", key: self.scheduler}
        return {key: value for key, value in keys.items() if value is not None}


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
