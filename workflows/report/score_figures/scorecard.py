"""Scorecards: change of a score against a reference for each channel and lead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.config.verification_config import WHOLE
from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.verification.subsets import MONTHS
from gfrnn.workflows.report.labels import heading, lead_label, number, signed, unit_label
from gfrnn.workflows.report.score_figures.score_change import SCORES, ScoreChange, score_change

Array = NDArray[Any]

STEPS = (1.0, 3.0, 10.0, 30.0)
"""Sizes of a change in % at which the colour of a cell becomes stronger."""

_NAMES = {"rmse": "RMSE", "crps": "Fair CRPS"}
_PERSISTENCE = ("damped persistence", "persistence")


@dataclass(frozen=True)
class ScoreCell:
    """One cell of a scorecard.

    Attributes
    ----------
    text : str
        Change in %, with a star if its interval excludes 0.
    title : str
        Errors, change and interval in words.
    kind : str
        Classes of its style: ``better`` or ``worse``, the strength ``s0`` to ``s4``, and ``sure``
        if the interval excludes 0. Empty where there is no change, or one that is written as 0.0.
    """

    text: str
    title: str
    kind: str


@dataclass(frozen=True)
class Scorecard:
    """Changes of a score against one reference, by channel and lead.

    Attributes
    ----------
    title : str
    score : str
        Name of the score, such as ``RMSE``.
    leads : list of str
    rows : list of tuple
        Label of a channel, and its cells.
    """

    title: str
    score: str
    leads: list[str]
    rows: list[tuple[str, list[ScoreCell]]]


@dataclass(frozen=True)
class ScorecardGroup:
    """Scorecards that the page folds together.

    Attributes
    ----------
    title : str
    cards : list of Scorecard
    intervals : bool
        Whether the scores have intervals.
    """

    title: str
    cards: list[Scorecard]
    intervals: bool = True


def main_scorecards(
    scores: xr.Dataset, channels: Sequence[Channel], leads: Sequence[int]
) -> tuple[list[Scorecard], list[ScorecardGroup]]:
    """Return the scorecards of the whole area: those shown first, and those to fold.

    Parameters
    ----------
    scores : xarray.Dataset
        Scores of the whole area and all pairs.
    channels : sequence of Channel
        In the order of the rows.
    leads : sequence of int
        Indices of the leads.
    """
    systems = [str(name) for name in scores["system"].values if name != "forecast"]
    cards = {
        name: _scorecard(scores, channels, leads, name, f"Against {_described(name)}")
        for name in systems
    }
    folded = [card for name, card in cards.items() if name in _PERSISTENCE]
    first = [card for name, card in cards.items() if name not in _PERSISTENCE]
    return first, [ScorecardGroup("Against persistence", folded)] if folded else []


def ensemble_scorecards(
    scores: xr.Dataset, channels: Sequence[Channel], leads: Sequence[int], systems: Sequence[str]
) -> list[Scorecard]:
    """Return the scorecards of the fair CRPS against other ensembles.

    Parameters
    ----------
    scores, channels, leads
        As for :func:`main_scorecards`.
    systems : sequence of str
        Names of the references that are ensembles.
    """
    return [
        _scorecard(
            scores, channels, leads, name, f"Against {_described(name)} with its own errors", "crps"
        )
        for name in systems
    ]


def subset_scorecards(
    subsets: xr.Dataset, channels: Sequence[Channel], leads: Sequence[int], calendar: bool = True
) -> list[ScorecardGroup]:
    """Return scorecards against the linear model by region, season and hour.

    Parameters
    ----------
    subsets : xarray.Dataset
        Scores of all regions and subsets.
    channels, leads
        As for :func:`main_scorecards`.
    calendar : bool
        False leaves out seasons and hours.
    """
    regions = [str(name) for name in subsets["region"].values if name != WHOLE]
    parts = [str(name) for name in subsets["subset"].values if name not in (WHOLE, *MONTHS)]
    parts = parts if calendar else []
    hours = [name for name in parts if name.endswith("UTC")]
    seasons = [name for name in parts if name not in hours]

    def card(own: xr.Dataset, title: str) -> Scorecard:
        return _scorecard(own, channels, leads, "linear", title)

    def by_part(names: Sequence[str]) -> list[Scorecard]:
        whole = subsets.sel(region=WHOLE)
        # The intervals are those of all pairs.
        own = whole.drop_vars([str(name) for name in whole if "subset" not in whole[name].dims])
        return [card(own.sel(subset=name), name) for name in names]

    groups = [
        ScorecardGroup(
            "By region, against the linear model",
            [card(subsets.sel(region=name, subset=WHOLE), _capital(name)) for name in regions],
        ),
        ScorecardGroup("By season, against the linear model", by_part(seasons), intervals=False),
        ScorecardGroup(
            "By hour of the day, against the linear model", by_part(hours), intervals=False
        ),
    ]
    return [group for group in groups if group.cards]


def _scorecard(
    scores: xr.Dataset,
    channels: Sequence[Channel],
    leads: Sequence[int],
    system: str,
    title: str,
    score: str = "rmse",
) -> Scorecard:
    own = scores.isel(prediction_timedelta=list(leads))
    labels = [lead_label(lead) for lead in own["prediction_timedelta"].values]
    rows = [
        (heading(channel), _cells(own.sel(channel=channel.name), channel, system, labels, score))
        for channel in channels
    ]
    return Scorecard(title, _NAMES[score], labels, rows)


def _cells(
    scores: xr.Dataset, channel: Channel, system: str, labels: Sequence[str], score: str
) -> list[ScoreCell]:
    change = score_change(scores, system, score)
    values = scores[SCORES[score]]
    ours, theirs = (values.sel(system=name).values for name in ("forecast", system))
    unit = unit_label(str(scores["units"].item()))
    return [
        ScoreCell(
            text,
            f"{heading(channel)}, {label}: {_NAMES[score]} {number(ours[place])} {unit} against "
            f"{number(theirs[place])} {unit}{_interval(change, place)}",
            _kind(change, place),
        )
        for place, (label, text) in enumerate(zip(labels, change.cells(), strict=True))
    ]


def _kind(change: ScoreChange, place: int) -> str:
    value = change.change[place]
    if not change.shown[place]:
        return ""
    strength = int(np.digitize(abs(value), STEPS))
    side = "better" if value < 0 else "worse"
    return f"{side} s{strength}" + (" sure" if change.significant[place] else "")


def _interval(change: ScoreChange, place: int) -> str:
    if not np.isfinite(change.low[place]):
        return ""
    low, high = signed(change.low[place]), signed(change.high[place])
    return f"; 95 % interval of the change {low} to {high} %"


def _described(system: str) -> str:
    return {
        "linear": "the linear model",
        "quadratic": "quadratic features",
        "linear inverse": "the linear inverse model",
    }.get(system, system)


def _capital(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]
