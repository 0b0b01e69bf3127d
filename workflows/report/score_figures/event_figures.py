"""Figures of the scores of events: reliability, sharpness, ROC, and skill against lead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.verification.statistics.probability_scores import (
    ReliabilityDiagram,
    reliability_diagram,
    roc_curve,
)
from gfrnn.workflows.report.figures import STYLE, Picture, embed
from gfrnn.workflows.report.labels import heading, lead_label, unit_label
from gfrnn.workflows.report.score_figures.panels import (
    LEADS,
    PARTS,
    blank_panel,
    described,
    lead_panel,
    line_across,
    line_style,
)

Array = NDArray[Any]

LEAST_SHARE = 0.001
"""Part of all forecasts below which a probability has no point in a reliability diagram."""

_MOST_PROBABILITIES = 21
_BINS = 10  # of the probabilities of larger ensembles


def event_label(scores: xr.Dataset, channel: Channel) -> str:
    """Name an event for a heading: ``Temperature 850 hPa of at least 273.15 K``.

    Parameters
    ----------
    scores : xarray.Dataset
        Scores of one event.
    channel : Channel
        The channel of the event.
    """
    threshold = float(scores["threshold"])
    if not np.isfinite(threshold):  # the name ends with the level of a quantile, such as q90
        level = str(scores["event"].item()).rpartition(" q")[2]
        return f"{heading(channel)} of at least its {level} % quantile"
    unit = unit_label(str(scores["units"].sel(channel=channel.name).item()))
    return f"{heading(channel)} of at least {threshold:g} {unit}"


def event_pictures(scores: xr.Dataset, label: str, shown: Sequence[int]) -> list[Picture]:
    """Plot the scores of one event.

    Parameters
    ----------
    scores : xarray.Dataset
        Scores of one event, of the whole area and all pairs.
    label : str
        Name of the event.
    shown : sequence of int
        Indices of the leads of the diagrams.

    Returns
    -------
    list of Picture
        Reliability diagram, frequencies of the forecast probabilities, ROC curve, and Brier skill
        score against lead.
    """
    leads = scores["prediction_timedelta"].values
    chosen = scores.isel(prediction_timedelta=list(shown))
    order = ("prediction_timedelta", "observed", "members_with_event")
    tables = chosen["event_table"].transpose(*order).values
    bins = None if tables.shape[-1] <= _MOST_PROBABILITIES else _BINS
    diagram = reliability_diagram(tables, bins)
    when = f"{label} at {', '.join(lead_label(leads[place]) for place in shown)}"
    return [
        _reliability_picture(diagram, tables[:, 1].sum(axis=-1), when),
        _sharpness_picture(diagram, when),
        _roc_picture(tables, chosen["roc_area"].values, when),
        _skill_picture(scores["brier_skill_score"].values, leads, label),
    ]


@matplotlib.rc_context(STYLE)
def _reliability_picture(diagram: ReliabilityDiagram, rates: Array, when: str) -> Picture:
    """Plot the frequency of an event by its forecast probability, a line a lead.

    Parameters
    ----------
    diagram : ReliabilityDiagram
        Of each lead.
    rates : ndarray, shape (leads,)
        How often the event happens.
    when : str
        Event and leads.
    """
    figure, panel = blank_panel(
        "Reliability", xlabel="forecast probability", xlim=(0, 1), ylim=(0, 1), xticks=PARTS,
        yticks=PARTS,
    )  # fmt: skip
    panel.plot((0, 1), (0, 1), color="0.45", linewidth=0.8)
    line_across(panel, float(rates.mean()))
    for style, *parts in zip(LEADS, *diagram, strict=False):
        probability, frequency, share = parts
        often = share >= LEAST_SHARE
        panel.plot(probability[often], frequency[often], marker="o", markersize=2.5, **style)
    words = ", ".join(f"{100 * rate:.3g} %" for rate in rates)
    return embed(
        figure,
        f"Reliability diagram of {when}: frequency of the event against its forecast probability. "
        f"The event happens in {words} of the cases.",
    )


@matplotlib.rc_context(STYLE)
def _sharpness_picture(diagram: ReliabilityDiagram, when: str) -> Picture:
    """Plot how often each probability is forecast, a line a lead."""
    figure, panel = blank_panel(
        "Frequency of forecasts", xlabel="forecast probability", xlim=(0, 1), xticks=PARTS
    )
    for style, probability, share in zip(LEADS, diagram.probability, diagram.share, strict=False):
        some = share > 0
        panel.plot(probability[some], 100 * share[some], **style)
    panel.set_ylim(bottom=0)
    panel.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    certain = ", ".join(f"{100 * share[[0, -1]].sum():.3g} %" for share in diagram.share)
    return embed(
        figure,
        f"Frequency of the forecast probabilities of {when}. The smallest and the largest are "
        f"forecast in {certain} of the cases.",
    )


@matplotlib.rc_context(STYLE)
def _roc_picture(tables: Array, areas: Array, when: str) -> Picture:
    """Plot hit rates against false alarm rates, a line a lead."""
    figure, panel = blank_panel(
        "ROC", xlabel="false alarm rate", xlim=(0, 1), ylim=(0, 1), xticks=PARTS, yticks=PARTS
    )
    panel.plot((0, 1), (0, 1), color="0.45", linewidth=0.8)
    for style, table in zip(LEADS, tables, strict=False):
        panel.plot(*roc_curve(table), **style)
    words = ", ".join(f"{area:.3f}" for area in areas)
    return embed(
        figure,
        f"Hit rate against false alarm rate of {when}. Areas under the curves: {words}.",
    )


@matplotlib.rc_context(STYLE)
def _skill_picture(skill: Array, leads: Array, label: str) -> Picture:
    """Plot the Brier skill score against lead."""
    title = "Brier skill score"
    figure, panel, times = lead_panel(leads, title)
    panel.plot(times, skill, **line_style("forecast", len(leads)))
    line_across(panel, 0.0)
    panel.set_ylim(top=1.0)
    return embed(figure, described(title, label, skill, leads))
