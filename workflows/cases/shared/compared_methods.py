"""Sampled network, echo state network and linear model, trained on the same trajectories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from gfrnn.pipeline.config.section import Section
from gfrnn.workflows.cases.shared.echo_state_network import (
    ECHO_STATE_NETWORK,
    EchoStateNetwork,
    EchoStateSettings,
)
from gfrnn.workflows.cases.shared.network_settings import SampledNetworkSettings
from gfrnn.workflows.cases.shared.trajectories import (
    TRAIN_SEED,
    Truth,
    divergence_allowed,
    trajectories,
)
from gfrnn_core import SampledRNN
from gfrnn_core.metrics import normalised_mse
from gfrnn_core.systems import System

Array = NDArray[Any]

SAMPLED_NETWORK = "sampled network"
LINEAR = "linear model"


class TrajectorySettings(Section):
    """Settings of training series and forecasts."""

    dt: PositiveFloat
    series: PositiveInt
    """Number of training trajectories."""
    samples: PositiveInt
    """Length of each training trajectory."""
    history: PositiveInt
    """Number of true states before a forecast; each method uses as many of them as it needs."""
    starts: PositiveInt
    steps: PositiveInt
    """Number of steps of a forecast over which errors are averaged."""
    valid_steps: PositiveInt | None = None
    """Number of steps of the longer forecasts for valid prediction times."""
    threshold: PositiveFloat = 0.3


class ComparisonSettings(Section):
    """Settings of trajectories and methods."""

    data: TrajectorySettings
    width: PositiveInt
    delays: PositiveInt = 1
    network: SampledNetworkSettings
    linear_ridge: NonNegativeFloat
    echo: EchoStateSettings

    @model_validator(mode="after")
    def _delays_within_history(self) -> ComparisonSettings:
        if self.delays > self.data.history:
            raise ValueError(
                f"delays: {self.delays} are more than data.history, {self.data.history}; "
                "take fewer delays or a longer history"
            )
        return self


@dataclass(frozen=True)
class ComparedSystem:
    """A system, its observed coordinates, and the initial states of trajectories.

    Attributes
    ----------
    system : System
    observed : int
        Number of leading coordinates that the methods get.
    initial_states : callable
        (number, generator) to initial states, shape (number, d).
    title : str
    description : tuple of str
        Paragraphs about the system.
    """

    system: System
    observed: int
    initial_states: Callable[[int, np.random.Generator], Array]
    title: str
    description: tuple[str, ...]


@dataclass(frozen=True)
class ComparisonData:
    """Training series, histories and the truth after them, in observed coordinates.

    Attributes
    ----------
    train : list of ndarray, shape (samples, observed)
    history : ndarray, shape (starts, times, observed)
        True states up to the initial state of each forecast.
    truth : Truth
    """

    train: list[Array]
    history: Array
    truth: Truth

    @property
    def scale(self) -> Array:
        """Standard deviation of each coordinate in the training series, shape (observed,)."""
        return np.asarray(np.concatenate(self.train).std(axis=0))


@lru_cache(maxsize=2)
def make_data(compared: ComparedSystem, settings: TrajectorySettings, seed: int) -> ComparisonData:
    """Compute the training series, and the test or validation trajectories of a seed."""

    def paths(number: int, seed: int, steps: int) -> Array:
        first = compared.initial_states(number, np.random.default_rng(seed))
        return trajectories(compared.system, first, settings.dt, steps)

    train = paths(settings.series, TRAIN_SEED, settings.samples - 1)
    history = paths(settings.starts, seed, settings.history - 1)
    scale = train.reshape(-1, train.shape[-1]).std(axis=0)
    steps = max(settings.steps, settings.valid_steps or 0)
    truth = Truth.follow(compared.system, history[:, -1], settings.dt, steps, scale)
    observed = slice(None, compared.observed)
    return ComparisonData(
        list(train[..., observed]),
        history[..., observed],
        Truth(truth.starts[:, observed], truth.states[..., observed], truth.trusted_time),
    )


ComparedModel = SampledRNN | EchoStateNetwork


def train_sampled(settings: ComparisonSettings, data: ComparisonData, seed: int) -> ComparedModel:
    """Train the sampled network."""
    return settings.network.network(settings.width, seed, settings.delays).fit(data.train)


def train_linear(settings: ComparisonSettings, data: ComparisonData, seed: int) -> ComparedModel:
    """Train the linear model, a network without hidden features; the seed has no effect."""
    return SampledRNN(0, ridge=settings.linear_ridge, delays=settings.delays).fit(data.train)


def train_echo(settings: ComparisonSettings, data: ComparisonData, seed: int) -> ComparedModel:
    """Train the echo state network with reservoirpy."""
    return EchoStateNetwork.fit(settings.echo, settings.width, data.train, seed)


TRAINERS: Mapping[str, Callable[[ComparisonSettings, ComparisonData, int], ComparedModel]] = {
    SAMPLED_NETWORK: train_sampled,
    ECHO_STATE_NETWORK: train_echo,
    LINEAR: train_linear,
}
"""Functions that train each method, by its name in the table."""


def forecast(model: ComparedModel, data: ComparisonData, steps: int) -> Array:
    """Forecast from all histories, shape (starts, steps, observed)."""
    if isinstance(model, EchoStateNetwork):
        return model.rollout(data.history, steps)
    with divergence_allowed():
        return model.rollout(data.history[:, -model.delays :], steps)


def mean_error(found: Array, data: ComparisonData, steps: int) -> float:
    """Return the normalised mean squared error over all starts and the first steps."""
    return normalised_mse(found[:, :steps], data.truth.states[:, :steps], scale=data.scale)
