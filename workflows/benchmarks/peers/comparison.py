"""Definition of a comparison: data, contenders, and the bars for their results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck
from gfrnn.workflows.benchmarks.peers.results import PeerResult

Standing = Literal["ours", "peer", "reference"]


@dataclass(frozen=True)
class Contender:
    """A program and its options.

    Attributes
    ----------
    name : str
        First column of the table.
    standing : {"ours", "peer", "reference"}
    program : str
        Class derived from :class:`~gfrnn.workflows.benchmarks.peers.program.Program`, as
        ``module:Name``. It is imported in the process that is measured only.
    packages : tuple of str
        Distributions that must be installed; their versions are recorded.
    seeds : int
        Number of seeds; errors are means over them.
    mean : bool
        Whether the mean of the forecasts of all seeds has a row of its own.
    searches : bool
        Whether settings are searched; otherwise ``setting`` is taken.
    setting : dict
        Setting of a contender that does not search.
    options : dict
        Arguments of the class, of types that JSON can hold.
    """

    name: str
    standing: Standing
    program: str
    packages: tuple[str, ...] = ()
    seeds: int = 1
    mean: bool = False
    searches: bool = True
    setting: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ErrorColumn:
    """A column of errors or of other scores.

    Attributes
    ----------
    key : str
        Key in what :meth:`~gfrnn.workflows.benchmarks.peers.program.Program.score` returns.
    label : str
        Heading, with the unit.
    digits : int
        Significant digits in the table.
    better : {"lower", "higher"}
    """

    key: str
    label: str
    digits: int = 3
    better: Literal["lower", "higher"] = "lower"


Bars = Callable[[Mapping[str, PeerResult]], Iterable[BarCheck]]
"""Function of the results by name of the contender; it yields no bar where a result is missing."""


def no_bars(results: Mapping[str, PeerResult]) -> Iterable[BarCheck]:
    """Return no bars."""
    return ()


@dataclass(frozen=True)
class Comparison:
    """Contenders on the same data.

    Attributes
    ----------
    name : str
        Name for ``--rows``.
    title : str
        Heading of the table.
    about : str
        Sentences for readers of the table: data, periods, how settings are chosen.
    columns : tuple of ErrorColumn
    contenders : tuple of Contender
        In the order of the table and of the measurements.
    prepare : str, optional
        Function ``module:name`` of (folder, quick, **options) that writes the data of all
        contenders into a folder, in a process of its own, not measured.
    options : dict
        Keyword arguments of ``prepare``.
    bars : callable
    """

    name: str
    title: str
    about: str
    columns: tuple[ErrorColumn, ...]
    contenders: tuple[Contender, ...]
    prepare: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    bars: Bars = no_bars
