"""Scores of probability forecasts, derived from the mean table of events.

Tables have shape (..., 2, members + 1) and are means over initial times of those that
:func:`gfrnn.pipeline.verification.statistics.event_table.event_table` returns. The forecast
probability is the part of the members that have the event.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class BrierDecomposition(NamedTuple):
    """The parts of the Brier score, which is reliability - resolution + uncertainty.

    Attributes
    ----------
    reliability, resolution, uncertainty : ndarray, shape (...)
        Dimensionless; small reliability and large resolution are good.
    """

    reliability: Array
    resolution: Array
    uncertainty: Array


class ReliabilityDiagram(NamedTuple):
    """Observed frequencies of an event by its forecast probability.

    Attributes
    ----------
    probability : ndarray, shape (..., bins)
        Mean forecast probability in the bin, NaN in an empty one.
    frequency : ndarray, shape (..., bins)
        Frequency of the event for these forecasts, NaN in an empty bin.
    share : ndarray, shape (..., bins)
        Part of the forecasts (by weight) that are in the bin.
    """

    probability: Array
    frequency: Array
    share: Array


def brier_score(table: Array) -> Array:
    """Return the Brier score ``<(p - o)^2>``: dimensionless, shape (...), 0 is perfect."""
    probability = _probabilities(table)
    return np.asarray(table[..., 0, :] @ probability**2 + table[..., 1, :] @ (1 - probability) ** 2)


def fair_brier_score(table: Array) -> Array:
    """Return the fair Brier score, whose mean does not depend on the number of members.

    It is ``<(p - o)^2 - p (1 - p) / (M - 1)>`` (Ferro 2014, Q. J. R. Meteorol. Soc. 140,
    1917-1923); NaN with one member.
    """
    members = table.shape[-1] - 1
    if members == 1:
        return np.full(table.shape[:-2], np.nan)
    probability = _probabilities(table)
    spread = table.sum(axis=-2) @ (probability * (1 - probability))
    return np.asarray(brier_score(table) - spread / (members - 1))


def brier_decomposition(table: Array) -> BrierDecomposition:
    """Return reliability, resolution and uncertainty of the Brier score.

    Forecasts are grouped by their probability, which takes M + 1 values, so the parts add up to the
    Brier score exactly (Murphy 1973, J. Appl. Meteorol. 12, 595-600).
    """
    probability, frequency, share = reliability_diagram(table)
    climate = table[..., 1, :].sum(axis=-1) / table.sum(axis=(-2, -1))
    empty = share == 0
    reliability = np.where(empty, 0.0, share * (probability - frequency) ** 2).sum(axis=-1)
    resolution = np.where(empty, 0.0, share * (frequency - climate[..., None]) ** 2).sum(axis=-1)
    return BrierDecomposition(reliability, resolution, climate * (1 - climate))


def reliability_diagram(table: Array, bins: int | None = None) -> ReliabilityDiagram:
    """Return observed frequencies by forecast probability.

    Parameters
    ----------
    table : ndarray, shape (..., 2, members + 1)
    bins : int, optional
        Number of bins of equal width from 0 to 1. The default is one bin for each of the
        ``members + 1`` probabilities.

    Raises
    ------
    ValueError
        If ``bins`` is below 1.
    """
    probability = _probabilities(table)
    if bins is None:
        edges = np.arange(len(probability))
    elif bins < 1:
        raise ValueError(f"bins: found {bins}, allowed: 1 or more")
    else:
        edges = np.minimum(np.arange(len(probability)) * bins // (len(probability) - 1), bins - 1)
    own = edges[:, None] == np.arange(edges[-1] + 1)
    total, events = table.sum(axis=-2), table[..., 1, :]
    share = total @ own
    with np.errstate(divide="ignore", invalid="ignore"):
        return ReliabilityDiagram((total * probability) @ own / share, events @ own / share, share)


def roc_curve(table: Array) -> tuple[Array, Array]:
    """Return the curve of the relative operating characteristic.

    Point j belongs to warnings that are given if ``members + 1 - j`` members or more have the
    event: the first is never, the last is always.

    Returns
    -------
    false_alarm_rate, hit_rate : ndarray, shape (..., members + 2)
        Parts of the cases without and with the event that had a warning, from 0 to 1; NaN where
        there are no such cases.
    """
    warned = np.cumsum(table[..., ::-1], axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = warned / warned[..., -1:]
    rates = np.concatenate([np.where(np.isnan(rates[..., :1]), np.nan, 0.0), rates], axis=-1)
    return rates[..., 0, :], rates[..., 1, :]


def roc_area(table: Array) -> Array:
    """Return the area under the ROC curve: 1 is perfect, 0.5 has no skill.

    The curve is not smoothed: straight lines join its points. NaN where the event occurs always or
    never.
    """
    return np.asarray(np.trapezoid(*roc_curve(table)[::-1], axis=-1))


def _probabilities(table: Array) -> Array:
    """Return the forecast probabilities of a table: shape (members + 1,)."""
    return np.linspace(0.0, 1.0, table.shape[-1])
