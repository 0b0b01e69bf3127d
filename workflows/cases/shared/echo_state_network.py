"""The peer 'echo state network': reservoirpy's, with its own training.

Tuned as its authors advise: Hinaut and Trouvain, 'Which hype for my new task? Hints and random
search for echo state networks hyperparameters', ICANN 2021. They let the spectral radius, the leak
rate, the input scaling and the ridge be drawn at random over wide ranges, several reservoirs a
draw, and take the best on validation data.
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
    "The peer 'echo state network' is left out: reservoirpy is not installed. "
    "Install it with pip install 'gfrnn[peers]'."
)


class EchoStateSettings(Section):
    """Settings that the authors of reservoirpy tune; all others keep their defaults."""

    spectral_radius: PositiveFloat
    leak: float = Field(gt=0, le=1)
    input_scaling: PositiveFloat
    bias: NonNegativeFloat
    """Size of the units' random biases: without them a reservoir is an odd function."""
    ridge: NonNegativeFloat
    warmup: NonNegativeInt
    """Steps at the start of each series that train no readout."""


def reservoirpy_installed() -> bool:
    """Whether reservoirpy is there."""
    return importlib.util.find_spec("reservoirpy") is not None


@dataclass(frozen=True)
class EchoStateNetwork:
    """A trained echo state network that forecasts many starts at once.

    Training is reservoirpy's own. Its reservoir then steps one start at a time; the rollout takes
    its matrices and steps all starts together, which gives the same numbers.

    Attributes
    ----------
    recurrent : sparse array, shape (width, width)
    inward : sparse array, shape (width, d)
    offset : ndarray, shape (width, 1)
    leak : float
    outward : ndarray, shape (width, d)
    bias : ndarray, shape (d,)
    shift, spread : ndarray, shape (d,)
        The network sees standardised states, as ours do.
    """

    recurrent: Any
    inward: Any
    offset: Array
    leak: float
    outward: Array
    bias: Array
    shift: Array
    spread: Array

    @classmethod
    def fit(
        cls, settings: EchoStateSettings, width: int, series: Sequence[Array], seed: int
    ) -> EchoStateNetwork:
        """Standardise, drive the reservoir, solve the readout.

        Parameters
        ----------
        settings : EchoSettings
        width : int
            Units of the reservoir.
        series : sequence of ndarray, shape (times, d)
            Gapless each; all of one length.
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
        shift, spread = together.mean(axis=0), together.std(axis=0)
        scaled = [(one - shift) / spread for one in series]
        reservoir = Reservoir(
            width,
            lr=settings.leak,
            sr=settings.spectral_radius,
            input_scaling=settings.input_scaling,
            bias=partial(bernoulli, input_scaling=settings.bias) if settings.bias else 0.0,
            seed=seed,
        )
        readout = Ridge(ridge=settings.ridge)
        with warnings.catch_warnings():  # an ill-conditioned readout is a matter of the search
            warnings.simplefilter("ignore")
            (reservoir >> readout).fit(
                [one[:-1] for one in scaled],
                [one[1:] for one in scaled],
                warmup=settings.warmup,
            )
        return cls(
            reservoir.W,
            reservoir.Win,
            _dense(reservoir.bias),
            settings.leak,
            readout.Wout,
            readout.bias,
            shift,
            spread,
        )

    def rollout(self, history: Array, steps: int) -> Array:
        """Forecasts from histories that warm the reservoir up.

        Parameters
        ----------
        history : ndarray, shape (starts, times, d)
            The last of them is the start.
        steps : int

        Returns
        -------
        ndarray, shape (starts, steps, d)
            NaN from where a forecast is not finite any more.
        """
        scaled = (history - self.shift) / self.spread
        inner = np.zeros((self.recurrent.shape[0], len(history)))
        for time in range(scaled.shape[1]):
            inner = self._step(inner, scaled[:, time])
        found = np.empty((len(history), steps, scaled.shape[2]))
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(steps):
                found[:, step] = inner.T @ self.outward + self.bias
                inner = self._step(inner, found[:, step])
        found = found * self.spread + self.shift
        found[~np.isfinite(found)] = np.nan
        return found

    def _step(self, inner: Array, states: Array) -> Array:
        driven = np.tanh(self.recurrent @ inner + self.inward @ states.T + self.offset)
        return np.asarray((1 - self.leak) * inner + self.leak * driven)


def _dense(bias: Any) -> Array:
    """Biases as a column, whatever the library keeps them in."""
    plain = bias.toarray() if hasattr(bias, "toarray") else np.asarray(bias)
    return plain.reshape(-1, 1)
