"""Data of Lorenz 63 with or without noise, and the scores of forecasts on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from gfrnn.pipeline.config.section import Section
from gfrnn.workflows.cases.shared.network_settings import SampledNetworkSettings
from gfrnn.workflows.cases.shared.trajectories import (
    VALIDATION_SEED,
    Truth,
    attractor_states,
    divergence_allowed,
    trajectories,
)
from gfrnn.workflows.reproduce.case_result import Score
from gfrnn_core import SampledRNN
from gfrnn_core.metrics import ErrorNorm
from gfrnn_core.systems import LORENZ63

Array = NDArray[Any]

EXPONENT = LORENZ63.lyapunov_exponent

VALIDATION_SCORE = Score("validity", "valid prediction time", "Lyapunov times", "higher")

# A hundred initial states are enough for a choice of settings.
_VALIDATION_STARTS = 100
# Added to the seed, so that validation does not see the noise of the test runs.
_VALIDATION_NOISE = 1000


class Lorenz63Setup(Section):
    """Settings of the data and of the score; `noise` is relative to the standard deviation."""

    dt: PositiveFloat
    samples: PositiveInt
    noise: NonNegativeFloat = 0.0
    starts: PositiveInt
    steps: PositiveInt
    norm: ErrorNorm = "nrmse"
    threshold: PositiveFloat
    statistic: Literal["median", "mean"] = "median"
    bar: PositiveFloat | None = None


class Lorenz63Network(SampledNetworkSettings):
    """Settings of a network with delays."""

    delays: PositiveInt = 1

    def untrained(self, width: int, seed: int) -> SampledRNN:
        """Return an untrained network with these settings."""
        return self.network(width, seed, self.delays)


@lru_cache(maxsize=4)
def training_series(dt: float, samples: int) -> Array:
    """Return the training series without noise, shape (samples, 3)."""
    return LORENZ63.trajectory(dt, samples - 1, (1.0, 1.0, 1.0), spinup=round(20 / dt))


@dataclass(frozen=True)
class Lorenz63Data:
    """A training series without noise, and true trajectories from other initial states.

    Attributes
    ----------
    setup : Lorenz63Setup
    train : ndarray, shape (samples, 3)
    history : ndarray, shape (starts, delays, 3)
        True states up to the initial state of each forecast.
    truth : Truth
    """

    setup: Lorenz63Setup
    train: Array
    history: Array
    truth: Truth

    @classmethod
    def make(cls, setup: Lorenz63Setup, seed: int, delays: int) -> Lorenz63Data:
        """Compute the data; the seed gives the initial states of the forecasts."""
        train = training_series(setup.dt, setup.samples)
        first = attractor_states(LORENZ63, setup.starts, seed, time=30.0)
        history = trajectories(LORENZ63, first, setup.dt, delays - 1)
        truth = Truth.follow(LORENZ63, history[:, -1], setup.dt, setup.steps, train.std(axis=0))
        return cls(setup, train, history, truth)

    def noisy(self, seed: int) -> Array:
        """Return the training series with noise."""
        if self.setup.noise == 0:
            return self.train
        rng = np.random.default_rng([seed, 17])
        deviation = self.setup.noise * self.train.std(axis=0)
        return np.asarray(self.train + deviation * rng.standard_normal(self.train.shape))

    def validation_series(self, seed: int) -> Array:
        """Return the training series with noise that differs from that of the test runs."""
        return self.noisy(seed + _VALIDATION_NOISE)

    def forecast(self, network: SampledRNN) -> Array:
        """Forecast from all initial states, shape (starts, steps, 3)."""
        with divergence_allowed():
            return network.rollout(self.history[:, -network.delays :], self.setup.steps)

    def valid_times(self, forecast: Array) -> Array:
        """Return valid prediction times in Lyapunov times, shape (starts,)."""
        setup = self.setup
        scale = self.train.std(axis=0) if setup.norm == "nrmse" else None
        return self.truth.valid_times(
            forecast, setup.dt, EXPONENT, setup.threshold, setup.norm, scale
        )

    def score(self, forecast: Array) -> float:
        """Return the median or mean of the valid prediction times."""
        statistic = np.median if self.setup.statistic == "median" else np.mean
        return float(statistic(self.valid_times(forecast)))


@lru_cache(maxsize=8)
def validation_data(setup: str, delays: int) -> Lorenz63Data:
    """Return data with the initial states of the validation.

    Parameters
    ----------
    setup : str
        Lorenz63Setup as JSON, which can be hashed.
    delays : int
    """
    chosen = Lorenz63Setup.model_validate_json(setup)
    starts = min(chosen.starts, _VALIDATION_STARTS)
    return Lorenz63Data.make(chosen.model_copy(update={"starts": starts}), VALIDATION_SEED, delays)
