"""Definition of a case of the papers: settings, a run that gives a result, and validations.

The settings file ``workflows/cases/settings/NAME.yaml`` registers a case; the module of the same
name in ``workflows/cases`` (underscores for hyphens) defines one :class:`Case`, called ``CASE``.
Everything else (the command, the table, the page, the choice of settings) is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gfrnn.pipeline.config.section import Section
from gfrnn.pipeline.reduction.progress import Progress

Better = Literal["higher", "lower"]
Kind = Literal["ours", "peer", "reference"]
Settings = TypeVar("Settings", bound=Section)


@dataclass(frozen=True)
class Score:
    """A column of the table.

    Parameters
    ----------
    key : str
        The name that entries and bars use.
    label : str
        The heading, without the unit: ``valid prediction time, dt 0.02``.
    unit : str
        Empty for what has none.
    better : {"higher", "lower"}
    """

    key: str
    label: str
    unit: str = ""
    better: Better = "lower"


TRAINING = Score("training", "training", "s", "lower")
"""The column of training times, which every table has; bars may name it."""


@dataclass(frozen=True)
class Entry:
    """A line of the table.

    Parameters
    ----------
    name : str
    kind : {"ours", "peer", "reference"}
        A network of this project, somebody else's method that was run, or a plain reference such
        as persistence.
    scores : mapping of str to sequence of float
        Key of a score: its values, one a seed. What knows no seed has one value. A score left out
        was not measured. Values may be infinite or NaN: a forecast that diverged.
    training : sequence of float, optional
        Seconds, one a seed, each measured by :func:`gfrnn.workflows.reproduce.timing.timed`.
    """

    name: str
    kind: Kind
    scores: Mapping[str, Sequence[float]]
    training: Sequence[float] | None = None

    def values(self, key: str) -> Sequence[float]:
        """The values of a score or of the training time; empty where it was not measured."""
        if key == TRAINING.key:
            return () if self.training is None else self.training
        return self.scores.get(key, ())

    def quartiles(self, key: str) -> tuple[float, float, float] | None:
        """Lower quartile, median and upper quartile over seeds; None where not measured.

        A value that is NaN makes all three NaN.
        """
        values = np.asarray(self.values(key), dtype=float)
        if values.size == 0:
            return None
        if np.isnan(values).any():
            return (np.nan, np.nan, np.nan)
        # Other rules of interpolation take the difference of two infinities.
        method: Literal["linear", "nearest"]
        method = "linear" if np.isfinite(values).all() else "nearest"
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], method=method)
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
        The bar itself.
    against : str, optional
        Instead of a value: the name of the entry whose median must be beaten. A bar against an
        entry that was not run (a peer that is not installed) counts as not measured.
    strict : bool
        Whether the value itself is not enough. Bars against an entry are always strict.
    text : str
        Where the bar comes from.

    Raises
    ------
    ValueError
        Unless there is either a value or an entry to beat.
    """

    score: str
    entry: str
    value: float | None = None
    against: str | None = None
    strict: bool = False
    text: str = ""

    def __post_init__(self) -> None:
        if (self.value is None) == (self.against is None):
            raise ValueError("bar: give either value or against")


@dataclass(frozen=True)
class Verdict:
    """A bar with what was measured.

    Attributes
    ----------
    bar : Bar
    score : Score
    wanted, found : float or None
        None where it was not measured.
    reached : bool or None
        None where nothing can be said.
    """

    bar: Bar
    score: Score
    wanted: float | None
    found: float | None
    reached: bool | None


@dataclass(frozen=True)
class CaseResult:
    """Result of a case.

    Parameters
    ----------
    title : str
    about : sequence of str
        Paragraphs: the system, the data, what is measured.
    scores : sequence of Score
        The columns, in their order; the training time is added by itself.
    entries : sequence of Entry
        The lines, in their order.
    draw : callable
        Draws into an empty figure (constrained layout, 10.5 x 4 inches; it may set another size).
        The project's style is in force while it is called. Colours and strokes of an entry:
        :data:`gfrnn.workflows.reproduce.figure_style.STYLES`.
    caption : str
        What the figure shows, also for people who do not see it.
    bars : sequence of Bar
    notes : sequence of str
        Plain sentences: ``The truth is trusted to 9.8 Lyapunov times and counted to there.``
    dataset : xarray.Dataset, optional
        What tables do not hold, such as curves; written as ``result.zarr`` with its attributes.

    Raises
    ------
    ValueError
        If two entries or two scores share a name, or an entry or a bar names what is not there.
    """

    title: str
    about: Sequence[str]
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
                raise ValueError(f"{what}: {sorted(twice)[0]!r} is there twice")
        for entry in self.entries:
            unknown = set(entry.scores) - set(keys)
            if unknown:
                raise ValueError(f"entry {entry.name!r}: no score {sorted(unknown)[0]!r}")
        for bar in self.bars:
            if bar.score not in keys:
                raise ValueError(f"bar: no score {bar.score!r}; there is {', '.join(keys)}")
            if bar.entry not in names:
                raise ValueError(f"bar: no entry {bar.entry!r}; there is {', '.join(names)}")

    @property
    def columns(self) -> tuple[Score, ...]:
        """The scores and the training time."""
        return (*self.scores, TRAINING)

    def verdicts(self) -> list[Verdict]:
        """Every bar: reached, not reached, or not measured."""
        return [self._verdict(bar) for bar in self.bars]

    def _verdict(self, bar: Bar) -> Verdict:
        score = next(score for score in self.columns if score.key == bar.score)
        found = self._median(bar.entry, bar.score)
        wanted = bar.value if bar.against is None else self._median(bar.against, bar.score)
        if found is None or wanted is None:
            return Verdict(bar, score, wanted, found, None)
        ahead = found > wanted if score.better == "higher" else found < wanted
        # A method that diverged (NaN) is worse than any that did not.
        ahead = ahead or (bar.against is not None and np.isnan(wanted) and not np.isnan(found))
        level = found == wanted and not bar.strict and bar.against is None
        return Verdict(bar, score, wanted, found, bool(ahead or level))

    def _median(self, entry: str, key: str) -> float | None:
        for candidate in self.entries:
            if candidate.name == entry:
                quartiles = candidate.quartiles(key)
                return None if quartiles is None else quartiles[1]
        return None


@dataclass(frozen=True)
class Validation(Generic[Settings]):
    """A score on validation trajectories, by which some settings are chosen.

    Parameters
    ----------
    score : Score
    measure : callable
        (settings, seed) to the score. It must never look at test trajectories. NaN is worst. It
        is called on the workers of a cluster where there is one, so that it must be picklable.
    applies : callable
        Whether there is anything to choose with these settings: a case of several tasks chooses
        for the one that the settings name.
    """

    score: Score
    measure: Callable[[Settings, int], float]
    applies: Callable[[Settings], bool] = lambda settings: True


@dataclass(frozen=True)
class Case(Generic[Settings]):
    """A case of the papers.

    Parameters
    ----------
    name : str
        As on the command line, and the name of its settings file.
    summary : str
        One line for the help.
    settings : type of Section
        Frozen pydantic model of the settings; unknown keys are refused. Values come from
        ``workflows/cases/settings/NAME.yaml``, so that the model needs no defaults.
    run : callable
        (settings, seeds, progress) to a result. ``progress`` may be called as often as one likes;
        the total stays the same for one name. Same settings and seeds, same scores.
    validations : mapping of str to Validation
        By a name that the ``candidates`` of the settings file use. Several where one part of the
        settings is chosen by another score than another part.
    parallel : bool
        Whether ``run`` puts its jobs on the current Dask client, as
        :func:`gfrnn.pipeline.reduction.run_tasks.run_tasks` does.

    Notes
    -----
    The settings file::

        dt: 0.02                       # values of the model, sections may nest
        network: {width: 1000, scale: 0.5, ridge: 1.0e-15}
        quick:                         # laid over the values by --quick
          network: {width: 300}
        candidates:                    # what --choose tries
          network:                     # name of a validation
            keys:                      # dotted keys; every combination is tried
              network.scale: [0.2, 0.5, 1.0]
              network.ridge: [1.0e-15, 1.0e-13]
            seeds: 2                   # each combination is scored by the mean over these
          echo:
            trials: 50                 # random search: so many draws, lists and ranges mixed
            seeds: 3
            keys:
              echo.leak: {uniform: [0.1, 1.0]}
              echo.ridge: {log: [1.0e-12, 1.0e-2]}
    """

    name: str
    summary: str
    settings: type[Settings]
    run: Callable[[Settings, Sequence[int], Progress], CaseResult]
    validations: Mapping[str, Validation[Settings]] = field(default_factory=dict)
    parallel: bool = False
