"""Arguments and options that several commands share."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gfrnn.pipeline.errors import ConfigError

if TYPE_CHECKING:
    from gfrnn.cluster import ClusterConfig

_MOST_LINKS = 40
"""Links that Linux follows from one path."""

ExperimentFile = Annotated[
    Path | None,
    typer.Argument(help="Experiment file, e.g. my.yaml, or folder of a run.", metavar="FILE"),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder of the run. Default: runs/NAME."),
]
Force = Annotated[bool, typer.Option("--force", help="Repeat stages that are already done.")]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Refuse to continue an interrupted stage with other library versions or BLAS kernels.",
    ),
]
Workers = Annotated[int | None, typer.Option(help="Number of worker processes, e.g. 4.")]
Memory = Annotated[
    str | None,
    typer.Option(help="Memory limit of each worker, e.g. 4GiB."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        help="Dask scheduler that runs already: address, e.g. tcp://host:8786, or scheduler file."
    ),
]
ClusterFile = Annotated[
    Path | None,
    typer.Option(
        "--cluster",
        metavar="FILE",
        help="YAML file with the keys of the section cluster, e.g. slurm.yaml. It replaces that "
        "section of the experiment.",
    ),
]
PeriodOption = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--period",
        help="Forecast this period, both ends included, e.g. 2021-01-01 2021-12-31. FILE must be "
        "the folder of a run.",
        metavar="START END",
    ),
]
InitOption = Annotated[
    str | None,
    typer.Option(
        "--init",
        help="Forecast from this one time, e.g. 2021-04-01T12, or from the latest complete state: "
        "latest. FILE must be the folder of a run.",
        metavar="TIME",
    ),
]
EveryOption = Annotated[
    str | None,
    typer.Option(
        "--every",
        help="With --period: time between initial times, e.g. 1d. Default: that of the run.",
        metavar="DURATION",
    ),
]
HorizonOption = Annotated[
    str | None,
    typer.Option(
        "--horizon",
        help="With --period or --init: length of the forecasts, e.g. 15d. Default: that of the "
        "run.",
        metavar="DURATION",
    ),
]
MembersOption = Annotated[
    int | None,
    typer.Option(
        "--members",
        help="With --period or --init: number of members of an ensemble, e.g. 50. Default: that of "
        "the run.",
        metavar="N",
    ),
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        help="With --period or --init: data to start from in place of those of the run: a file, "
        "zarr store, glob in quotes, or URL. Repeatable.",
        metavar="DATA",
    ),
]
Folder = Annotated[
    Path,
    typer.Argument(help="Folder of a run, e.g. runs/my, or its experiment file.", metavar="RUN"),
]
StopBefore = Annotated[
    str | None,
    typer.Option(
        help="Stop gracefully this long before the batch job ends, e.g. 10m. Default: 2m, or a "
        "fifth of the remaining time in short jobs. Exit code 75; run the command again to resume.",
        metavar="DURATION",
    ),
]
StopAfter = Annotated[
    str | None,
    typer.Option(
        help="Stop gracefully after this duration, e.g. 2h. Default: no limit. Exit code 75; run "
        "the command again to resume.",
        metavar="DURATION",
    ),
]


@dataclass(frozen=True)
class ClusterOptions:
    """Options of a command that choose the cluster.

    Attributes
    ----------
    cluster : Path or None
        YAML file of cluster keys.
    workers : int or None
    memory : str or None
    scheduler : str or None
        Address or scheduler file of a running cluster.
    """

    cluster: Path | None = None
    workers: int | None = None
    memory: str | None = None
    scheduler: str | None = None

    @property
    def arguments(self) -> list[str]:
        """The given options as command-line arguments."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return [
            word
            for name, value in given.items()
            if value is not None
            for word in (f"--{name}", str(value))
        ]

    def config(self, tree: Mapping[str, Any], where: str) -> ClusterConfig:
        """Return the configuration of the cluster to open.

        Parameters
        ----------
        tree : mapping
            Cluster keys of the experiment. A cluster file replaces them; options take precedence
            over both.
        where : str
            File of the experiment or folder of its run, or another name for error messages.

        Raises
        ------
        ConfigError
            Names the file, the key, what was found and what is allowed. Also if the section would
            run commands or send the work elsewhere, and somebody else controls its file.
        """
        from gfrnn.cluster import ClusterConfig
        from gfrnn.pipeline.config.section import checked
        from gfrnn.pipeline.config.yaml_tree import YamlTree, read_tree

        place, keys = f"{where}: cluster", self._keys()
        if self.cluster is not None:
            given, place = read_tree(self.cluster).updated(keys), str(self.cluster)
        else:
            given = YamlTree(tree, _cluster_places(Path(where)) if tree else {}).updated(keys)
        if self.scheduler is not None:
            place += " with --scheduler (kind existing)"
        config = checked(ClusterConfig, given, place)
        if self.cluster is None and self.scheduler is None and config.trusts_its_author:
            _check_author(Path(where), config.kind)
        return config

    def _keys(self) -> dict[str, Any]:
        keys: dict[str, Any] = {"workers": self.workers, "memory": self.memory}
        if self.scheduler is not None:
            key = "address" if "://" in self.scheduler else "scheduler_file"
            keys |= {"kind": "existing", key: self.scheduler}
        return {key: value for key, value in keys.items() if value is not None}


def _cluster_places(file: Path) -> dict[str, tuple[int, int]]:
    """Return line and column of each key of the section in a file; none if it is no such file."""
    from gfrnn.pipeline.config.yaml_tree import read_tree

    with suppress(ConfigError):
        return read_tree(file).places_in("cluster")
    return {}


def _check_author(place: Path, kind: str) -> None:
    """Check that nobody else controls the file of an experiment or its folder; root may.

    Who controls the folder can put another file, or a link, into the place of one that was read.

    Raises
    ------
    ConfigError
    """
    file = place / "experiment.yaml" if place.is_dir() else place
    for path in _followed(file.absolute()):
        problem = _foreign(path.parent, "the folder") or _foreign(path, "the file")
        if problem:
            raise ConfigError(
                f"{file}: cluster: {problem}, and a section of the kind {kind} can run commands as "
                "you; read it, and give its keys in a file of your own as --cluster FILE"
            )


def _followed(path: Path) -> Iterator[Path]:
    """Yield a path and, where it is a link, all that it leads to."""
    for _ in range(_MOST_LINKS):
        yield path
        if not path.is_symlink():
            return
        path = path.parent / path.readlink()


def _foreign(path: Path, what: str) -> str:
    """Describe how others control a file, link or folder; empty if they do not or it is missing."""
    try:
        found = path.stat() if what == "the folder" else path.lstat()
    except OSError:
        return ""  # the experiment comes from no file
    if found.st_uid not in (os.getuid(), 0):
        return f"{what} {path} belongs to the user {_user_name(found.st_uid)}"
    # The mode of a link says nothing. Under a sticky folder, only owners rename and remove.
    free = stat.S_ISLNK(found.st_mode) or (
        stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    )
    if found.st_mode & stat.S_IWOTH and not free:
        return f"{what} {path} can be changed by every user (its mode allows others to write)"
    return ""


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def parse_numbers(option: str, text: str) -> list[float]:
    """Parse a list of numbers such as ``1e-3,1e-2``.

    Raises
    ------
    ConfigError
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option}: {text!r} is not a list of numbers, e.g. 1e-3,1e-2") from None


def parse_counts(option: str, text: str) -> list[int]:
    """Parse a list of positive integers such as ``500,1000``.

    Raises
    ------
    ConfigError
    """
    numbers = parse_numbers(option, text)
    if any(not number.is_integer() or number < 1 for number in numbers):
        raise ConfigError(f"{option}: {text!r} is not a list of positive integers, e.g. 500,1000")
    return [int(number) for number in numbers]


def places_of(words: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return latitude and longitude in degrees of places such as ``Madrid=40.4,-3.7``.

    Raises
    ------
    ConfigError
        If a word is no place, or a name is given twice.
    """
    found: dict[str, tuple[float, float]] = {}
    for word in words:
        name, _, coordinates = word.partition("=")
        try:
            latitude, longitude = map(float, coordinates.split(","))
        except ValueError:
            latitude = longitude = float("nan")
        if not (name and -90 <= latitude <= 90 and -180 <= longitude <= 360):
            raise ConfigError(
                f"--place: {word!r} is not a name with latitude (-90 to 90) and longitude (-180 to "
                "360); write for example Madrid=40.4,-3.7"
            )
        if name in found:
            raise ConfigError(f"--place: the name {name!r} is given twice; choose different ones")
        found[name] = latitude, longitude
    return found
