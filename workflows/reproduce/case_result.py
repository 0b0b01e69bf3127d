"""Result of a case: scores of all methods, bars, and further content of its page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

Better = Literal["higher", "lower"]
Kind = Literal["ours", "peer", "reference"]


@dataclass(frozen=True)
class Score:
    """Quantity by which methods are compared: a column of the table.

    Parameters
    ----------
    key : str
        Name in entries and bars.
    label : str
        Heading without the unit, e.g. ``valid prediction time, dt 0.02``.
    unit : str
        Empty for a quantity without a unit.
    better : {"higher", "lower"}
    """

    key: str
    label: str
    unit: str = ""
    better: Better = "lower"


TRAINING = Score("training", "training", "s", "lower")
"""Column of training times in every table; bars may refer to it."""


@dataclass(frozen=True)
class Entry:
    """Scores of one method: a line of the table.

    Parameters
    ----------
    name : str
    kind : {"ours", "peer", "reference"}
        A network of this project, another published method that was run, or a simple reference
        such as persistence.
    scores : mapping of str to sequence of float
        Values by key of the score, one for each seed, or a single one for a method without random
        numbers. Scores that were not measured are left out. Values of forecasts that diverged may
        be infinite or NaN.
    training : sequence of float, optional
        Seconds for each seed, measured by :func:`gfrnn.workflows.reproduce.timing.timed`.
    """

    name: str
    kind: Kind
    scores: Mapping[str, Sequence[float]]
    training: Sequence[float] | None = None

    def values(self, key: str) -> Sequence[float]:
        """Return the values of a score or of the training time; empty if it was not measured."""
        if key == TRAINING.key:
            return () if self.training is None else self.training
        return self.scores.get(key, ())

    def quartiles(self, key: str) -> tuple[float, float, float] | None:
        """Return lower quartile, median and upper quartile over seeds; None if not measured.

        All three are NaN if any value is.
        """
        values = self.values(key)
        return quartiles(values) if len(values) else None


def quartiles(values: ArrayLike) -> tuple[float, float, float]:
    """Return lower quartile, median and upper quartile, all NaN if any value is.

    Values may be infinite.
    """
    found = np.asarray(values, dtype=float)
    if np.isnan(found).any():
        return (np.nan, np.nan, np.nan)
    # Linear interpolation would take the difference of two infinities.
    method: Literal["linear", "nearest"] = "linear" if np.isfinite(found).all() else "nearest"
    low, middle, high = np.quantile(found, [0.25, 0.5, 0.75], method=method)
    return float(low), float(middle), float(high)


@dataclass(frozen=True)
class Bar:
    """Bound that the median over seeds of one entry must reach.

    Parameters
    ----------
    score : str
        Key of a score, or ``training``.
    entry : str
        Name of the entry that it applies to.
    value : float, optional
        The bound.
    against : str, optional
        Name of the entry whose median must be beaten, instead of a value. A bar against an entry
        that was not run (its library is not installed) counts as not measured.
    strict : bool
        Whether a median equal to the bound fails. Bars against an entry are always strict.
    text : str
        Source of the bound.

    Raises
    ------
    ValueError
        Unless exactly one of `value` and `against` is given.
    """

    score: str
    entry: str
    value: float | None = None
    against: str | None = None
    strict: bool = False
    text: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) == (self.against is None):
            raise ValueError("bar: give either value or against, and not both")


@dataclass(frozen=True)
class Verdict:
    """Bar with the measured median, and whether it is reached.

    Attributes
    ----------
    bar : Bar
    score : Score
    wanted, found : float or None
        Bound and measured median; None if not measured.
    reached : bool or None
        None if one of the two was not measured.
    """

    bar: Bar
    score: Score
    wanted: float | None
    found: float | None
    reached: bool | None


@dataclass(frozen=True)
class CaseResult:
    """Scores of all methods of a case, with everything that its page shows.

    Parameters
    ----------
    title : str
    description : sequence of str
        Paragraphs about the system, the data and the measurements.
    scores : sequence of Score
        Columns of the table in order, without the training time, which is always added.
    entries : sequence of Entry
        Lines of the table in order.
    draw : callable
        Function that draws into an empty figure (constrained layout, 10.5 x 4 inches; it may set
        another size). It is called with the project's style. For colours and line styles see
        :data:`gfrnn.workflows.reproduce.figure_style.STYLES`.
    caption : str
        Caption of the figure, which is also its text alternative.
    bars : sequence of Bar
    notes : sequence of str
        Sentences, e.g. ``The truth is trusted to 9.8 Lyapunov times.``
    dataset : xarray.Dataset, optional
        Results that do not fit into a table, such as curves; written to ``result.zarr``.

    Raises
    ------
    ValueError
        If two entries or two scores share a name, or an entry or a bar names an unknown one.
    """

    title: str
    description: Sequence[str]
    scores: Sequence[Score]
    entries: Sequence[Entry]
    draw: Callable[[Figure], None]
    caption: str
    bars: Sequence[Bar] = ()
    notes: Sequence[str] = ()
    dataset: xr.Dataset | None = None

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.entries]
        keys = [score.key for score in self.columns]
        for what, found in (("entry", names), ("score", keys)):
            twice = {name for name in found if found.count(name) > 1}
            if twice:
                raise ValueError(f"{what}: {sorted(twice)[0]!r} occurs twice; rename one")
        for entry in self.entries:
            unknown = set(entry.scores) - set(keys)
            if unknown:
                raise ValueError(
                    f"entry {entry.name!r}: no score {sorted(unknown)[0]!r}; "
                    f"allowed: {', '.join(keys)}"
                )
        for bar in self.bars:
            if bar.score not in keys:
                raise ValueError(f"bar: no score {bar.score!r}; allowed: {', '.join(keys)}")
            if bar.entry not in names:
                raise ValueError(f"bar: no entry {bar.entry!r}; allowed: {', '.join(names)}")

    @property
    def columns(self) -> tuple[Score, ...]:
        """Scores, then the training time."""
        return (*self.scores, TRAINING)

    def verdicts(self) -> list[Verdict]:
        """Compare the measured medians with all bars."""
        return [self._verdict(bar) for bar in self.bars]

    def _verdict(self, bar: Bar) -> Verdict:
        score = next(score for score in self.columns if score.key == bar.score)
        found = self._median(bar.entry, bar.score)
        wanted = bar.value if bar.against is None else self._median(bar.against, bar.score)
        if found is None or wanted is None:
            return Verdict(bar, score, wanted, found, None)
        ahead = found > wanted if score.better == "higher" else found < wanted
        # A diverged method (NaN) counts as worse than any other.
        ahead = ahead or (bar.against is not None and np.isnan(wanted) and not np.isnan(found))
        level = found == wanted and not bar.strict and bar.against is None
        return Verdict(bar, score, wanted, found, bool(ahead or level))

    def _median(self, entry: str, key: str) -> float | None:
        for candidate in self.entries:
            if candidate.name == entry:
                quartiles = candidate.quartiles(key)
                return None if quartiles is None else quartiles[1]
        return None
