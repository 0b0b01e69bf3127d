"""What a page shows, in plain values that travel as such; nothing here knows what is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stage:
    """A piece of work on the page.

    Attributes
    ----------
    name : str
    done, total : int
        Parts; ``total`` is 0 where it is not known yet.
    seconds : float or None
        It has taken so far, or in all where it is over; None before it begins.
    left : float or None
        Seconds until it is done; 0 where it is over, None where nobody knows.
    """

    name: str
    done: int
    total: int
    seconds: float | None = None
    left: float | None = None


@dataclass(frozen=True)
class Reading:
    """A number on the page.

    Attributes
    ----------
    label : str
    value : float or None
        None where it is not known.
    unit : str
        ``s`` is shown as a duration, ``%`` beside its number, all else as a word after it.
    ticks : int
        What a second adds to it while nothing else is told: 1 to an age, -1 to what is left.
    of_thread : float or None
        The value is shown in per cent of this many times the threads of all workers.
    """

    label: str
    value: float | None
    unit: str = ""
    ticks: int = 0
    of_thread: float | None = None


@dataclass(frozen=True)
class Worker:
    """Memory of one worker: what its process uses and may use, in bytes; 0 for no limit."""

    name: str
    threads: int
    used: int
    limit: int


@dataclass(frozen=True)
class Table:
    """A table on the page; the first of each row is its heading."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Shown:
    """All that a page shows of a run at a time.

    Attributes
    ----------
    title, place : str
        What runs, and where its results go.
    stages : tuple of Stage
        In their order.
    readings : tuple of Reading
        Shown as numbers.
    lines : tuple of Reading
        Drawn over time; always the same ones.
    needed : int
        Bytes that a task was planned to need at most; 0 where nothing was planned.
    table : Table or None
        Results, once they are there.
    """

    title: str
    place: str
    stages: tuple[Stage, ...] = ()
    readings: tuple[Reading, ...] = ()
    lines: tuple[Reading, ...] = ()
    needed: int = 0
    table: Table | None = None

    def plain(self) -> dict[str, Any]:
        """As a dict of what a message holds."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Shown:
        """From :meth:`plain`."""
        table = plain["table"]
        return cls(
            title=plain["title"],
            place=plain["place"],
            stages=tuple(Stage(**stage) for stage in plain["stages"]),
            readings=tuple(Reading(**reading) for reading in plain["readings"]),
            lines=tuple(Reading(**line) for line in plain["lines"]),
            needed=plain["needed"],
            table=Table(**table) if table else None,
        )
