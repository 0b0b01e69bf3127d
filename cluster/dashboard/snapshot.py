"""Snapshots of a run: plain values that are sent to the scheduler and displayed on the page."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StageSnapshot:
    """Progress of one stage.

    Attributes
    ----------
    name : str
    done, total : int
        Chunks; ``total`` is 0 where it is not known yet.
    seconds : float or None
        Time taken so far; None before the stage begins.
    left : float or None
        Estimated seconds until the stage is done; 0 once it is, None where there is no estimate.
    """

    name: str
    done: int
    total: int
    seconds: float | None = None
    left: float | None = None


@dataclass(frozen=True)
class Metric:
    """A number with a label.

    Attributes
    ----------
    label : str
    value : float or None
        None where it is not known.
    unit : str
        ``s`` is displayed as a duration, any other unit after the number.
    ticks : int
        Change per second between two snapshots: 1 for an age, -1 for a remaining time.
    of_thread : float or None
        If given, the value is displayed as a percentage of this number times the threads of all
        workers.
    """

    label: str
    value: float | None
    unit: str = ""
    ticks: int = 0
    of_thread: float | None = None


@dataclass(frozen=True)
class WorkerMemory:
    """Memory of one worker.

    Attributes
    ----------
    name : str
    threads : int
    used, limit : int
        Bytes that its process uses and may use; a limit of 0 is none.
    """

    name: str
    threads: int
    used: int
    limit: int


@dataclass(frozen=True)
class ResultTable:
    """A table of results; the first cell of each row is its heading."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class RunSnapshot:
    """State of a run at one time.

    Attributes
    ----------
    title, place : str
        Name of the run, and the folder of its results.
    stages : tuple of StageSnapshot
        In the order in which they run.
    metrics : tuple of Metric
        Displayed as numbers.
    lines : tuple of Metric
        Drawn over time; all snapshots of a run have the same ones.
    needed : int
        Planned peak memory of a task in bytes; 0 where there is no plan.
    table : ResultTable or None
        Results, once there are any.
    """

    title: str
    place: str
    stages: tuple[StageSnapshot, ...] = ()
    metrics: tuple[Metric, ...] = ()
    lines: tuple[Metric, ...] = ()
    needed: int = 0
    table: ResultTable | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a dict of plain values, as Dask's messages hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSnapshot:
        """Make a snapshot from the values of :meth:`to_dict`."""
        table = values["table"]
        return cls(
            title=values["title"],
            place=values["place"],
            stages=tuple(StageSnapshot(**stage) for stage in values["stages"]),
            metrics=tuple(Metric(**metric) for metric in values["metrics"]),
            lines=tuple(Metric(**line) for line in values["lines"]),
            needed=values["needed"],
            table=ResultTable(**table) if table else None,
        )
