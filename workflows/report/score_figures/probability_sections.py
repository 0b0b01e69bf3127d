"""Sections of a report about ensembles, events and power along longitude, if there are scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from gfrnn.pipeline.data.grid import Channel
from gfrnn.workflows.report.figures import Picture
from gfrnn.workflows.report.labels import heading, lead_label
from gfrnn.workflows.report.score_figures.ensemble_figures import (
    SPREAD,
    ensemble_pictures,
    ensemble_systems,
)
from gfrnn.workflows.report.score_figures.event_figures import (
    LEAST_SHARE,
    event_label,
    event_pictures,
)
from gfrnn.workflows.report.score_figures.panels import legend_of, line_legend
from gfrnn.workflows.report.score_figures.power_figures import power_pictures
from gfrnn.workflows.report.score_figures.score_change import score_change
from gfrnn.workflows.report.score_figures.scorecard import Scorecard, ensemble_scorecards

_MOST_EVENTS = 12

Panels = list[tuple[str, list[Picture]]]
"""Headings, and pictures that stand abreast below each."""


@dataclass(frozen=True)
class EnsembleSection:
    """Scores of the ensembles of a run.

    Attributes
    ----------
    members : int
    references : list of str
        Names of the references that are ensembles.
    cards : list of Scorecard
        Of the fair CRPS against each of them.
    panels : Panels
        Of each channel.
    legend : list of dict
        Lines of the ensembles and of the spread.
    """

    members: int
    references: list[str]
    cards: list[Scorecard]
    panels: Panels
    legend: list[dict[str, Any]]


@dataclass(frozen=True)
class EventSection:
    """Scores of the events of a run.

    Attributes
    ----------
    panels : Panels
        Of each event.
    events : int
        Number of all events, of which the first are shown.
    members : int
        1 for single forecasts.
    least : float
        Part of the forecasts in % below which a probability has no point, see LEAST_SHARE.
    """

    panels: Panels
    events: int
    members: int
    least: float = 100 * LEAST_SHARE


def ensemble_section(
    scores: xr.Dataset, channels: Sequence[Channel], shown: Sequence[int], cards: Sequence[int]
) -> EnsembleSection | None:
    """Return the section about ensembles; None for single forecasts.

    Parameters
    ----------
    scores : xarray.Dataset
        Scores of the whole area and all pairs.
    channels : sequence of Channel
    shown, cards : sequence of int
        Indices of the leads of diagrams and of scorecards.
    """
    if "rank_histogram" not in scores:
        return None
    references = ensemble_systems(scores)[1:]
    return EnsembleSection(
        scores.sizes["rank"] - 1,
        references,
        ensemble_scorecards(scores, channels, cards, references),
        [(heading(channel), ensemble_pictures(scores, channel, shown)) for channel in channels],
        line_legend(["forecast", *references]) + legend_of([("spread", SPREAD)]),
    )


def event_section(
    scores: xr.Dataset, channels: Sequence[Channel], shown: Sequence[int]
) -> EventSection | None:
    """Return the section about events; None without thresholds.

    Parameters
    ----------
    scores, shown
        As for :func:`ensemble_section`.
    channels : sequence of Channel
        All channels.
    """
    if "event" not in scores.dims:
        return None
    by_name = {channel.name: channel for channel in channels}
    panels = []
    for place in range(min(scores.sizes["event"], _MOST_EVENTS)):
        own = scores.isel(event=place)
        label = event_label(own, by_name[str(own["event_channel"].item())])
        panels.append((label, event_pictures(own, label, shown)))
    return EventSection(panels, scores.sizes["event"], scores.sizes["members_with_event"] - 1)


def power_section(
    scores: xr.Dataset, channels: Sequence[Channel], shown: Sequence[int]
) -> Panels | None:
    """Return the panels of spectra; None without any.

    Parameters are those of :func:`ensemble_section`.
    """
    if "truth_power" not in scores:
        return None
    panels = [(heading(channel), power_pictures(scores, channel, shown)) for channel in channels]
    return [(name, pictures) for name, pictures in panels if pictures]


def ensemble_sentence(scores: xr.Dataset, channel: Channel, lead: int) -> str:
    """Summarise the scores of the ensembles of a channel at a lead's index; empty without any."""
    if "rank_histogram" not in scores:
        return ""
    own = scores.sel(channel=channel.name)
    words = []
    if "linear" in ensemble_systems(scores):
        change = float(score_change(own, "linear", "crps").change[lead])
        if np.isfinite(change):
            side = "below" if change < 0 else "above"
            words.append(
                f"the fair CRPS of its {scores.sizes['rank'] - 1} members is {abs(change):.1f} % "
                f"{side} that of the linear model with its own errors"
            )
    ratio = float(own["spread_skill_ratio"].values[lead])
    if np.isfinite(ratio):
        words.append(f"the ratio of spread to error is {ratio:.2f}")
    when = lead_label(scores["prediction_timedelta"].values[lead])
    return f"{heading(channel)} at {when}: {', and '.join(words)}." if words else ""
