"""Network that forecasts a station's temperature at several leads from past values.

The hidden layer is that of the sampled network (arXiv 2410.23467). Each lead has its own outer
weights, which forecast the change of the temperature directly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
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
    """Selection of predictors and the scale of their hidden weights.

    Parameters
    ----------
    lags : tuple of int
        Lags in hours; 0 is the present.
    means : tuple of int
        Lengths in hours of running means up to the present.
    decay : float
        Hidden weights of lag k are multiplied by (1 + k)^-decay.
    mean_weight, calendar_weight : float
        Factors on the hidden weights of running means and of harmonics.
    annual, diurnal : int
        Numbers of harmonics of the year and of the day. All of them and their products are linear
        predictors; the first of the year and the first two of the day are also inputs of the
        hidden features.
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
        """Number of hours before the present that a row needs."""
        return max(*self.lags, *(hours - 1 for hours in self.means), 0)


@dataclass(frozen=True)
class StationRows:
    """Predictors and targets of each hour; NaN where values that they need are missing.

    Attributes
    ----------
    time : DatetimeIndex
    states : ndarray, shape (hours, p)
        Standardised values at all lags, then running means, then harmonics.
    inputs : ndarray, shape (hours, q)
        Harmonics and their products that are linear predictors only.
    weight_factors : ndarray, shape (p,)
        Factors on the hidden weights of each state variable.
    targets : ndarray, shape (hours, leads)
        Changes of the temperature in standard deviations; NaN after the last hour.
    leads : tuple of int
        Leads in hours.
    deviation : float
        Standard deviation of the training temperatures.
    extent : float
        Maximum of the training temperatures minus their minimum.
    """

    time: pd.DatetimeIndex
    states: Array
    inputs: Array
    weight_factors: Array
    targets: Array
    leads: tuple[int, ...]
    deviation: float
    extent: float

    @cached_property
    def usable(self) -> Array:
        """Whether no predictor is missing, shape (hours,)."""
        return np.asarray(np.isfinite(self.states).all(axis=1))

    @cached_property
    def complete(self) -> Array:
        """Whether neither a predictor nor a target is missing, shape (hours,)."""
        return np.asarray(self.usable & np.isfinite(self.targets).all(axis=1))

    def normalised(self, errors: Array) -> float:
        """Return the mean squared error of temperatures scaled to 0..1.

        Parameters
        ----------
        errors : ndarray
            Errors in standard deviations.
        """
        return float(np.square(errors).mean() * (self.deviation / self.extent) ** 2)


def build_rows(
    table: pd.DataFrame, train: Array, predictors: StationPredictors, leads: Sequence[int]
) -> StationRows:
    """Compute predictors and targets of all hours.

    Parameters
    ----------
    table : DataFrame
        Hourly values, see :func:`gfrnn.workflows.cases.station.station_files.read_station`.
    train : ndarray of bool, shape (hours,)
        Training hours, from which means and standard deviations are computed.
    predictors : StationPredictors
    leads : sequence of int
        Leads in hours.

    Raises
    ------
    DataError
        If there are no training hours, or a variable is constant or missing in them.
    """
    inside = table[train]
    if inside.empty:
        raise DataError(
            f"train: no hours; the file begins at {table.index[0]}, so train on a later period"
        )
    constant = [name for name in table if not inside[name].max() > inside[name].min()]
    if constant:
        raise DataError(
            f"{constant[0]} is constant or missing in the training period; train on a longer one"
        )
    scaled = (table - inside.mean()) / inside.std(ddof=0)
    time = pd.DatetimeIndex(table.index)
    size = table.shape[1]
    waves = harmonics(time.to_numpy(), predictors.annual, predictors.diurnal)[:, 1:]
    annual, diurnal = waves[:, : 2 * predictors.annual], waves[:, 2 * predictors.annual :]
    seen_harmonics = np.concatenate([annual[:, :2], diurnal[:, :4]], axis=1)
    values = scaled.to_numpy()
    past = size * (len(predictors.lags) + len(predictors.means))
    states = np.full((len(time), past + seen_harmonics.shape[1]), np.nan)
    for place, lag in enumerate(predictors.lags):
        states[lag:, place * size : (place + 1) * size] = values[: max(len(values) - lag, 0)]
    for place, hours in enumerate(predictors.means, start=len(predictors.lags)):
        states[:, place * size : (place + 1) * size] = scaled.rolling(hours).mean()
    states[:, past:] = seen_harmonics
    decay = (1.0 + np.asarray(predictors.lags)) ** -predictors.decay
    weights = [
        np.repeat(decay, size),
        np.full(size * len(predictors.means), predictors.mean_weight),
    ]
    weights += [np.full(seen_harmonics.shape[1], predictors.calendar_weight)]
    products = (annual[:, :, None] * diurnal[:, None, :]).reshape(len(time), -1)
    temperature = scaled[TEMPERATURE].to_numpy()
    targets = np.full((len(time), len(leads)), np.nan)
    for column, lead in enumerate(leads):
        targets[:-lead, column] = temperature[lead:] - temperature[:-lead]
    trained = inside[TEMPERATURE]
    return StationRows(
        time,
        states,
        np.concatenate([annual[:, 2:], diurnal[:, 4:], products], axis=1),
        np.concatenate(weights),
        targets,
        tuple(leads),
        float(trained.std(ddof=0)),
        float(trained.max() - trained.min()),
    )


def hidden_layer(rows: StationRows, width: int, scale: float, seed: int) -> HiddenWeights:
    """Draw normal hidden weights and multiply them by the factors of the predictors."""
    pool = rows.states[np.flatnonzero(rows.complete)[:2]]  # normal weights depend on its shape only
    hidden = sample_weights(pool, width, sampling="normal", scale=scale, seed=seed)
    weights = hidden.weights * rows.weight_factors[:, None]
    return HiddenWeights(weights, hidden.biases, hidden.activation)


def factorise(rows: StationRows, hidden: HiddenWeights, chosen: Array) -> RFactor:
    """Return the R factor of the chosen rows without missing values.

    Rows are rounded to float32, whose error is far below that of observations in whole degrees.

    Parameters
    ----------
    rows : StationRows
    hidden : HiddenWeights
    chosen : ndarray of bool, shape (hours,)

    Raises
    ------
    ConfigError
        If there are fewer rows than feature columns.
    """
    places = np.flatnonzero(chosen & rows.complete)
    features = rows.states.shape[1] + 1 + rows.inputs.shape[1] + hidden.width
    if len(places) < features:
        raise ConfigError(
            f"network.width: {features} feature columns, but only {len(places)} hours of training; "
            "use a smaller width or a longer period"
        )
    total = features + len(rows.leads)
    together = 2 * total
    memory = np.empty(min(together, len(places)) * total, dtype=np.float32)

    def blocks() -> Iterator[Array]:
        for start in range(0, len(places), together):
            some = places[start : start + together]
            block = memory[: len(some) * total].reshape((len(some), total), order="F")
            lift_into(block, rows.states[some], rows.inputs[some], hidden)
            block[:, features:] = rows.targets[some]
            yield block

    return RFactor.from_blocks(blocks(), total)


def balanced(factor: RFactor, hidden: int, leads: int, balance: float) -> RFactor:
    """Return the R factor with its hidden columns multiplied by ``balance``.

    A balance below 1 strengthens the regularisation of hidden features.

    Parameters
    ----------
    factor : RFactor
    hidden : int
        Number of hidden features.
    leads : int
        Number of leads.
    balance : float
    """
    weights = np.ones(factor.columns)
    weights[factor.columns - leads - hidden : factor.columns - leads] = balance
    return RFactor(factor.triangle * weights, factor.rows)


def balanced_path(factor: RFactor, hidden: int, leads: int, balance: float) -> RidgePath:
    """Decompose the :func:`balanced` R factor for all ridges."""
    scaled = balanced(factor, hidden, leads, balance)
    return RidgePath.from_factor(scaled, factor.columns - leads, leads)


def solve(
    factor: RFactor, hidden: int, ridges: Sequence[float], balances: Sequence[float]
) -> Array:
    """Return outer weights with a ridge and a balance for each lead, shape (features, leads)."""
    leads = len(ridges)
    outer = np.empty((factor.columns - leads, leads))
    strengths = np.asarray(ridges)
    for balance in sorted(set(balances)):
        same = np.equal(balances, balance)
        scaled = balanced(factor, hidden, leads, balance)
        path = RidgePath.from_float32_rows(scaled, len(outer), leads, strengths[same])
        outer[:, same] = path.weights(strengths)[:, same]
        outer[len(outer) - hidden :, same] *= balance
    return outer


def forecast(rows: StationRows, hidden: HiddenWeights, outer: Array, places: Array) -> Array:
    """Forecast changes of the temperature, in standard deviations, shape (places, leads)."""
    return np.asarray(lift(rows.states[places], rows.inputs[places], hidden) @ outer)


def climatology(
    rows: StationRows, temperature: Array, train: Array, annual: int, diurnal: int
) -> Array:
    """Return the climatology of each hour from products of annual and diurnal harmonics.

    Parameters
    ----------
    rows : StationRows
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
