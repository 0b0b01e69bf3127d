"""One station's temperature at several leads from delays: rows, triangles, outer weights.

The hidden layer is that of the sampled network (arXiv 2410.23467); every lead has outer weights of
its own, which forecast the change of the temperature directly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gfrnn.pipeline.errors import ConfigError, DataError
from gfrnn.pipeline.states.harmonics import harmonics
from gfrnn.workflows.cases.station.station_files import TEMPERATURE
from gfrnn_core import RFactor, RidgePath, sample_weights
from gfrnn_core.lifting import lift, lift_into
from gfrnn_core.sampling import HiddenWeights

Array = NDArray[Any]


@dataclass(frozen=True)
class StationPredictors:
    """Past values that are inputs of the network.

    Parameters
    ----------
    lags : tuple of int
        Hours back from the present, 0 for the present itself.
    means : tuple of int
        Hours over which running means are taken, up to the present.
    decay : float
        Hidden weights of lag k are smaller by (1 + k)^-decay.
    mean_weight, calendar_weight : float
        What hidden weights of running means and of the calendar are multiplied by.
    annual, diurnal : int
        Harmonics of the year and of the day; they and their products enter linearly. Hidden
        features see the first of the year and the first two of the day, where they are there.
    """

    lags: tuple[int, ...]
    means: tuple[int, ...]
    decay: float = 0.0
    mean_weight: float = 1.0
    calendar_weight: float = 1.0
    annual: int = 1
    diurnal: int = 1

    @property
    def history(self) -> int:
        """Hours that a row reaches back."""
        return max(*self.lags, *(hours - 1 for hours in self.means), 0)


@dataclass(frozen=True)
class StationRows:
    """A row every hour; NaN where the file has a hole in what the row needs.

    Attributes
    ----------
    time : DatetimeIndex
    states : ndarray, shape (hours, p)
        Standardised values at all lags, then running means, then cycles of the calendar.
    inputs : ndarray, shape (hours, q)
        Functions of the calendar that enter linearly only.
    attention : ndarray, shape (p,)
        What hidden weights are multiplied by.
    targets : ndarray, shape (hours, leads)
        Change of the temperature, in standard deviations; NaN beyond the end.
    leads : tuple of int
        Hours.
    spread : float
        Standard deviation of the training temperatures.
    reach : float
        Their maximum less their minimum.
    """

    time: pd.DatetimeIndex
    states: Array
    inputs: Array
    attention: Array
    targets: Array
    leads: tuple[int, ...]
    spread: float
    reach: float

    @property
    def usable(self) -> Array:
        """Whether all that a forecast needs is there: shape (hours,)."""
        return np.asarray(np.isfinite(self.states).all(axis=1))

    @property
    def complete(self) -> Array:
        """Whether a row can be trained on: shape (hours,)."""
        return np.asarray(self.usable & np.isfinite(self.targets).all(axis=1))

    def normalised(self, errors: Array) -> float:
        """Mean square of errors in standard deviations, with the temperature scaled to 0..1."""
        return float(np.square(errors).mean() * (self.spread / self.reach) ** 2)


def build_rows(
    table: pd.DataFrame, train: Array, predictors: StationPredictors, leads: Sequence[int]
) -> StationRows:
    """Rows of all hours of a station.

    Parameters
    ----------
    table : DataFrame
        Hourly values, see :func:`gfrnn.workflows.cases.station.station_files.read_station`.
    train : ndarray of bool, shape (hours,)
        The training hours, from which means and spreads are taken.
    view : View
    leads : sequence of int
        Hours.

    Raises
    ------
    DataError
        If there are no training hours, or a variable is constant in them.
    """
    inside = table[train]
    if inside.empty:
        raise DataError(f"the file begins at {table.index[0]}, after the training period")
    constant = [name for name in table if not inside[name].max() > inside[name].min()]
    if constant:
        raise DataError(f"{constant[0]} is constant or missing in the training period")
    scaled = (table - inside.mean()) / inside.std(ddof=0)
    time = pd.DatetimeIndex(table.index)
    size = table.shape[1]
    waves = harmonics(time.to_numpy(), predictors.annual, predictors.diurnal)[:, 1:]
    annual, diurnal = waves[:, : 2 * predictors.annual], waves[:, 2 * predictors.annual :]
    cycles = np.concatenate([annual[:, :2], diurnal[:, :4]], axis=1)
    seen = [scaled.shift(lag).to_numpy() for lag in predictors.lags]
    seen += [scaled.rolling(hours).mean().to_numpy() for hours in predictors.means]
    decay = (1.0 + np.asarray(predictors.lags)) ** -predictors.decay
    weights = [
        np.repeat(decay, size),
        np.full(size * len(predictors.means), predictors.mean_weight),
    ]
    weights += [np.full(cycles.shape[1], predictors.calendar_weight)]
    products = (annual[:, :, None] * diurnal[:, None, :]).reshape(len(time), -1)
    temperature = scaled[TEMPERATURE].to_numpy()
    targets = np.full((len(time), len(leads)), np.nan)
    for column, lead in enumerate(leads):
        targets[:-lead, column] = temperature[lead:] - temperature[:-lead]
    spread = inside[TEMPERATURE]
    return StationRows(
        time,
        np.concatenate([*seen, cycles], axis=1),
        np.concatenate([annual[:, 2:], diurnal[:, 4:], products], axis=1),
        np.concatenate(weights),
        targets,
        tuple(leads),
        float(spread.std(ddof=0)),
        float(spread.max() - spread.min()),
    )


def hidden_layer(rows: StationRows, width: int, scale: float, seed: int) -> HiddenWeights:
    """Normal hidden weights, larger for what the view gives more attention."""
    pool = rows.states[rows.complete][:2]  # normal weights need its length only
    hidden = sample_weights(pool, width, sampling="normal", scale=scale, seed=seed)
    weights = hidden.weights * rows.attention[:, None]
    return HiddenWeights(weights, hidden.biases, hidden.activation)


def factorise(rows: StationRows, hidden: HiddenWeights, chosen: Array) -> RFactor:
    """The R factor of the chosen hours' rows, those with holes left out.

    Rows are rounded to float32: observations of whole degrees have noise far above that.

    Parameters
    ----------
    rows : Rows
    hidden : HiddenWeights
    chosen : ndarray of bool, shape (hours,)

    Raises
    ------
    ConfigError
        If fewer rows than feature columns are left.
    """
    places = np.flatnonzero(chosen & rows.complete)
    features = rows.states.shape[1] + 1 + rows.inputs.shape[1] + hidden.width
    if len(places) < features:
        raise ConfigError(
            f"network.width: {features} feature columns, but only {len(places)} hours of training; "
            "take a smaller width or a longer period"
        )
    total = features + len(rows.leads)

    def blocks() -> Iterator[Array]:
        for start in range(0, len(places), 2 * total):
            some = places[start : start + 2 * total]
            block = np.empty((len(some), total), dtype=np.float32, order="F")
            lift_into(block, rows.states[some], rows.inputs[some], hidden)
            block[:, features:] = rows.targets[some]
            yield block

    return RFactor.from_blocks(blocks(), total)


def balanced_path(factor: RFactor, hidden: int, leads: int, balance: float) -> RidgePath:
    """Decompose with hidden columns multiplied by ``balance``: below 1 they are held back more."""
    weights = np.ones(factor.columns)
    weights[factor.columns - leads - hidden : factor.columns - leads] = balance
    scaled = RFactor(factor.triangle * weights, factor.rows)
    return RidgePath.from_factor(scaled, factor.columns - leads, leads)


def solve(
    factor: RFactor, hidden: int, ridges: Sequence[float], balances: Sequence[float]
) -> Array:
    """Outer weights with a ridge and a balance for each lead: shape (features, leads)."""
    leads = len(ridges)
    outer = np.empty((factor.columns - leads, leads))
    for balance in sorted(set(balances)):
        weights = balanced_path(factor, hidden, leads, balance).weights(np.asarray(ridges))
        weights[len(weights) - hidden :] *= balance
        same = np.equal(balances, balance)
        outer[:, same] = weights[:, same]
    return outer


def forecast(rows: StationRows, hidden: HiddenWeights, outer: Array, places: Array) -> Array:
    """Change of the temperature at each lead, in standard deviations: shape (places, leads)."""
    return np.asarray(lift(rows.states[places], rows.inputs[places], hidden) @ outer)


def climatology(
    rows: StationRows, temperature: Array, train: Array, annual: int, diurnal: int
) -> Array:
    """Hour of the day times day of the year: least squares on products of harmonics.

    Parameters
    ----------
    rows : Rows
    temperature : ndarray, shape (hours,)
    train : ndarray of bool, shape (hours,)
    annual, diurnal : int
        Numbers of harmonics.

    Returns
    -------
    ndarray, shape (hours,)
    """
    waves = harmonics(rows.time.to_numpy(), annual, diurnal)
    year, day = waves[:, : 1 + 2 * annual], waves[:, 1 + 2 * annual :]
    day = np.concatenate([np.ones((len(day), 1)), day], axis=1)
    design = (year[:, :, None] * day[:, None, :]).reshape(len(waves), -1)
    known = train & np.isfinite(temperature)
    weights = np.linalg.lstsq(design[known], temperature[known], rcond=None)[0]
    return np.asarray(design @ weights)
