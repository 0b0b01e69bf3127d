"""Echo state networks of reservoirpy, the method that cases compare with.

Settings are chosen as the authors of reservoirpy advise (Hinaut and Trouvain, 'Which hype for my
new task? Hints and random search for echo state networks hyperparameters', ICANN 2021): spectral
radius, leak rate, input scaling and ridge are drawn at random from wide ranges, each draw is tried
with several reservoirs, and the best draw on validation data is taken.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from gfrnn.pipeline.config.section import Section
from gfrnn.pipeline.errors import ConfigError

Array = NDArray[Any]

ECHO_STATE_NETWORK = "echo state network"
NOT_INSTALLED = (
    "The echo state network is left out, because reservoirpy is not installed. "
    "Install it with pip install 'gfrnn[echo]'."
)


class EchoStateSettings(Section):
    """Settings of an echo state network; other options of reservoirpy keep their defaults."""

    spectral_radius: PositiveFloat
    leak: float = Field(gt=0, le=1)
    input_scaling: PositiveFloat
    bias: NonNegativeFloat
    """Scale of random biases; without biases a reservoir is an odd function of its inputs."""
    ridge: NonNegativeFloat
    warmup: NonNegativeInt
    """Number of steps at the start of each series that are not used to train the readout."""


def reservoirpy_installed() -> bool:
    """Return whether reservoirpy is installed."""
    return importlib.util.find_spec("reservoirpy") is not None


@dataclass(frozen=True)
class EchoStateNetwork:
    """A trained echo state network that forecasts from many initial states at once.

    reservoirpy trains the network. Its reservoir steps one forecast at a time; this class takes its
    matrices and steps all forecasts together, with the same result.

    Attributes
    ----------
    recurrent_weights : sparse array, shape (width, width)
    input_weights : sparse array, shape (width, d)
    input_biases : ndarray, shape (width, 1)
    leak : float
    readout_weights : ndarray, shape (width, d)
    readout_biases : ndarray, shape (d,)
    mean, deviation : ndarray, shape (d,)
        Mean and standard deviation of the training states, by which states are standardised.
    """

    recurrent_weights: Any
    input_weights: Any
    input_biases: Array
    leak: float
    readout_weights: Array
    readout_biases: Array
    mean: Array
    deviation: Array

    @classmethod
    def fit(
        cls, settings: EchoStateSettings, width: int, series: Sequence[Array], seed: int
    ) -> EchoStateNetwork:
        """Train a network on standardised series.

        Parameters
        ----------
        settings : EchoStateSettings
        width : int
            Number of units of the reservoir.
        series : sequence of ndarray, shape (times, d)
            Series without gaps, all of the same length.
        seed : int

        Raises
        ------
        ConfigError
            If reservoirpy is not installed.
        """
        if not reservoirpy_installed():
            raise ConfigError(NOT_INSTALLED)
        from reservoirpy.mat_gen import bernoulli
        from reservoirpy.nodes import Reservoir, Ridge

        together = np.concatenate(series)
        mean, deviation = together.mean(axis=0), together.std(axis=0)
        scaled = [(one - mean) / deviation for one in series]
        reservoir = Reservoir(
            width,
            lr=settings.leak,
            sr=settings.spectral_radius,
            input_scaling=settings.input_scaling,
            bias=partial(bernoulli, input_scaling=settings.bias) if settings.bias else 0.0,
            seed=seed,
        )
        readout = Ridge(ridge=settings.ridge)
        with warnings.catch_warnings():  # the search also tries ill-conditioned readouts
            warnings.simplefilter("ignore")
            (reservoir >> readout).fit(
                [one[:-1] for one in scaled],
                [one[1:] for one in scaled],
                warmup=settings.warmup,
            )
        return cls(
            reservoir.W,
            reservoir.Win,
            _column(reservoir.bias),
            settings.leak,
            readout.Wout,
            readout.bias,
            mean,
            deviation,
        )

    def rollout(self, history: Array, steps: int) -> Array:
        """Forecast from true histories, which set the state of the reservoir.

        Parameters
        ----------
        history : ndarray, shape (starts, times, d)
            The last state is the initial state of the forecast.
        steps : int

        Returns
        -------
        ndarray, shape (starts, steps, d)
            NaN where a forecast is not finite.
        """
        scaled = (history - self.mean) / self.deviation
        units = np.zeros((self.recurrent_weights.shape[0], len(history)))
        for time in range(scaled.shape[1]):
            units = self._step(units, scaled[:, time])
        forecast = np.empty((len(history), steps, scaled.shape[2]))
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(steps):
                forecast[:, step] = units.T @ self.readout_weights + self.readout_biases
                units = self._step(units, forecast[:, step])
        forecast = forecast * self.deviation + self.mean
        forecast[~np.isfinite(forecast)] = np.nan
        return forecast

    def _step(self, units: Array, states: Array) -> Array:
        driven = np.tanh(
            self.recurrent_weights @ units + self.input_weights @ states.T + self.input_biases
        )
        return np.asarray((1 - self.leak) * units + self.leak * driven)


def _column(bias: Any) -> Array:
    """Return biases, which reservoirpy may keep as a sparse array, as a dense column."""
    dense = bias.toarray() if hasattr(bias, "toarray") else np.asarray(bias)
    return dense.reshape(-1, 1)
