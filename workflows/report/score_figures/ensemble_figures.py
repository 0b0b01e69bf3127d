"""Figures of the scores of ensembles: CRPS, spread against error, and rank histograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Channel
from gfrnn.workflows.report.figures import STYLE, Picture, embed
from gfrnn.workflows.report.labels import channel_label, lead_label, unit_label
from gfrnn.workflows.report.score_figures.panels import (
    BAND,
    LEADS,
    PARTS,
    blank_panel,
    change_picture,
    curves,
    described,
    lead_panel,
    line_across,
    line_style,
)
from gfrnn.workflows.report.score_figures.score_change import score_change

Array = NDArray[Any]

SPREAD: dict[str, Any] = {"color": "#7a4fa3", "linestyle": (0, (1, 1.2)), "linewidth": 2.0}
"""Style of the line of the spread."""

_MOST_BINS = 21


def ensemble_systems(scores: xr.Dataset) -> list[str]:
    """Return the names of the systems that are ensembles, the forecasts first.

    The CRPS of a reference that is a single forecast is its mean absolute error.
    """
    systems = [str(name) for name in scores["system"].values]

    def single(name: str) -> bool:
        own = scores.sel(system=name)
        return np.array_equal(own["fair_crps"].values, own["mae"].values, equal_nan=True)

    return [name for name in systems if name == "forecast" or not single(name)]


def ensemble_pictures(scores: xr.Dataset, channel: Channel, shown: Sequence[int]) -> list[Picture]:
    """Plot scores of the ensembles of one channel.

    Parameters
    ----------
    scores : xarray.Dataset
        Scores of the whole area and all pairs.
    channel : Channel
    shown : sequence of int
        Indices of the leads of the rank histograms.

    Returns
    -------
    list of Picture
        Fair CRPS of all ensembles, its change against the linear model with its interval if that
        is an ensemble, spread and RMSE, the ratio of both with its interval, and rank histograms.
    """
    systems = ensemble_systems(scores)
    own = scores.sel(channel=channel.name)
    leads = own["prediction_timedelta"].values
    unit, name = unit_label(str(own["units"].item())), channel_label(channel)
    crps = own["fair_crps"].sel(system=systems)
    pictures = [curves(crps, leads, f"Fair CRPS ({unit})", name, bottom=0.0)]
    if "linear" in systems:
        change = score_change(own, "linear", "crps")
        pictures.append(change_picture(change, leads, "Fair CRPS", name))
    pictures += [_spread_picture(own, leads, unit, name), _ratio_picture(own, leads, name)]
    return pictures + [
        _rank_picture(
            own.isel(prediction_timedelta=lead),
            number,
            f"Ranks of {name}, {lead_label(leads[lead])}",
        )
        for number, lead in enumerate(shown)
    ]


@matplotlib.rc_context(STYLE)
def _spread_picture(own: xr.Dataset, leads: Array, unit: str, name: str) -> Picture:
    """Plot the RMSE of the ensemble mean and the spread that it is compared with."""
    title = f"RMSE and spread ({unit})"
    figure, panel, times = lead_panel(leads, title)
    error = own["rmse"].sel(system="forecast").values
    spread = own["spread_skill_ratio"].values * error  # with the factor for finite ensembles
    low, high = _interval(own, "spread_skill_ratio")
    panel.fill_between(times, low * error, high * error, color=SPREAD["color"], **BAND)
    panel.plot(times, error, **line_style("forecast", len(leads)))
    panel.plot(times, spread, **SPREAD, zorder=6)
    panel.set_ylim(bottom=0)
    words = described(title, name, error, leads).removesuffix(".")
    return embed(figure, f"{words}; spread: {spread[0]:.3g} and {spread[-1]:.3g}.")


@matplotlib.rc_context(STYLE)
def _ratio_picture(own: xr.Dataset, leads: Array, name: str) -> Picture:
    """Plot the ratio of spread and error with its interval."""
    title = "Spread / error"
    figure, panel, times = lead_panel(leads, title)
    ratio = own["spread_skill_ratio"].values
    low, high = _interval(own, "spread_skill_ratio")
    style = {**line_style("forecast", len(leads)), "markersize": 3, "linewidth": 1.8}
    panel.fill_between(times, low, high, color=style["color"], **BAND)
    panel.plot(times, ratio, **style)
    line_across(panel, 1.0)
    drawn = np.concatenate([ratio, low, high])
    drawn = drawn[np.isfinite(drawn)]
    # A ratio near 1 is not magnified.
    panel.set_ylim(drawn.min(initial=0.8), drawn.max(initial=1.2))
    words = described(title, name, ratio, leads).removesuffix(".")
    known = np.isfinite(low[0])
    interval = f"; 95 % interval of the first: {low[0]:.3g} to {high[0]:.3g}" if known else ""
    return embed(figure, f"{words}{interval}.")


def _interval(own: xr.Dataset, score: str) -> tuple[Array, Array]:
    """Return the ends of the interval of a score; NaN for scores of earlier versions."""
    low, high = (own.get(f"{score}_{end}", np.nan * own[score]) for end in ("low", "high"))
    return low.values, high.values


@matplotlib.rc_context(STYLE)
def _rank_picture(own: xr.Dataset, number: int, title: str) -> Picture:
    """Plot a rank histogram, relative to a flat one, with intervals of bars of a single rank.

    Parameters
    ----------
    own : xarray.Dataset
        Scores of one channel and lead.
    number : int
        Position of the lead among those shown.
    title : str
    """
    frequencies = own["rank_histogram"].values
    heights, edges = rank_bars(frequencies)
    ends = np.array(_interval(own, "rank_histogram")) * len(frequencies)
    single = np.flatnonzero(np.isclose(np.diff(edges) * len(frequencies), 1.0))
    ranks = (edges[single] * len(frequencies)).round().astype(int)
    label = title.rpartition(", ")[2]
    figure, panel = blank_panel(f"Ranks, {label}", xlabel="members below the truth", xticks=PARTS)
    colour = LEADS[number]["color"]
    panel.stairs(heights, edges, fill=True, color=colour, alpha=0.35)
    panel.stairs(heights, edges, color=colour)
    panel.vlines(
        0.5 * (edges[single] + edges[single + 1]), *ends[:, ranks], color=colour, linewidth=1.0
    )
    line_across(panel, 1.0)
    panel.grid(visible=False, axis="x")
    panel.set_xlim(0, 1)
    panel.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    top = np.concatenate([heights, ends[1, ranks]])
    panel.set_ylim(0, max(1.5, 1.05 * float(top[np.isfinite(top)].max(initial=0.0))))
    parts = [
        f"{which} bin {heights[place]:.2f}"
        + (f" ({low:.2f} to {high:.2f})" if np.isfinite(low) else "")
        for which, place in (("lowest", 0), ("highest", -1))
        for low, high in [ends[:, place]]
    ]
    return embed(figure, f"Rank histogram relative to a flat one. {title}: {', '.join(parts)}.")


def rank_bars(frequencies: Array) -> tuple[Array, Array]:
    """Return the heights of the bars of a rank histogram, relative to a flat one.

    Neighbouring ranks of a large ensemble share a bar, whose height is the mean of theirs. The
    first and the last rank keep bars of their own, as the truth beyond all members shows errors
    that others hide.

    Parameters
    ----------
    frequencies : ndarray, shape (members + 1,)

    Returns
    -------
    heights : ndarray, shape (bars,)
        1 in a flat histogram.
    edges : ndarray, shape (bars + 1,)
        From 0 to 1.
    """
    count = len(frequencies)
    if count <= _MOST_BINS:
        starts = np.arange(count)
    else:
        inner = np.linspace(1, count - 1, _MOST_BINS - 1).round().astype(int)
        starts = np.concatenate([[0], inner])
    sums = np.add.reduceat(frequencies, starts)
    edges = np.append(starts, count)
    return count * sums / np.diff(edges), edges / count
