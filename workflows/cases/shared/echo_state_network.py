"""Echo state networks of reservoirpy, the method that cases compare with.

Settings are chosen as the authors of reservoirpy advise (Hinaut and Trouvain, 'Which hype for my
new task? Hints and random search for echo state networks hyperparameters', ICANN 2021): spectral
radius, leak rate, input scaling and ridge are drawn at random from wide ranges, each draw is tried
with several reservoirs, and the best draw on validation data is taken.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from gfrnn.pipeline.config.section import Section
from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.cases.shared.reservoir import Reservoir, train_reservoirpy

Array = NDArray[Any]

ECHO_STATE_NETWORK = "echo state network"
NOT_INSTALLED = (
    "The echo state network is left out, because reservoirpy is not installed. "
    "Install it with pip install reservoirpy, or GFRNN with its extra echo."
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

    Attributes
    ----------
    reservoir : Reservoir
        Network of standardised states.
    mean, deviation : ndarray, shape (d,)
        Mean and standard deviation of the training states, by which states are standardised.
    """

    reservoir: Reservoir
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
        together = np.concatenate(series)
        mean, deviation = together.mean(axis=0), together.std(axis=0)
        scaled = [(one - mean) / deviation for one in series]
        reservoir = train_reservoirpy(
            [one[:-1] for one in scaled],
            [one[1:] for one in scaled],
            settings.warmup,
            seed,
            units=width,
            spectral_radius=settings.spectral_radius,
            leak=settings.leak,
            input_scaling=settings.input_scaling,
            bias=settings.bias,
            ridge=settings.ridge,
        )
        return cls(reservoir, mean, deviation)

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
        units = np.zeros((self.reservoir.recurrent.shape[0], len(history)))
        for time in range(scaled.shape[1]):
            units = self.reservoir.step(units, scaled[:, time])
        forecast = self.reservoir.roll_out(units.T, steps) * self.deviation + self.mean
        forecast[~np.isfinite(forecast)] = np.nan
        return np.asarray(forecast)
