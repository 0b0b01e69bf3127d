"""Networks with the same weights at all places of a periodic line, and their forecasts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from gfrnn.pipeline.config.section import Section
from gfrnn.workflows.cases.shared.field_system import BATCH, FieldSystem
from gfrnn.workflows.cases.shared.trajectories import Truth, divergence_allowed
from gfrnn_core import Patches, SampledRNN
from gfrnn_core.metrics import forecast_error

Array = NDArray[Any]

LINEAR = "linear model, same window"


class FieldNetwork(Section):
    """Settings of the patches and of the weights that all of them share."""

    size: PositiveInt
    """Number of cells that a patch predicts."""
    halo: tuple[NonNegativeInt, NonNegativeInt]
    """Numbers of cells before and after the patch that the linear terms see."""
    inner: tuple[NonNegativeInt, NonNegativeInt]
    """Numbers of cells before and after the patch that the hidden features see."""
    scale: PositiveFloat
    ridge: NonNegativeFloat
    rows: PositiveInt
    """Approximate number of training samples, drawn from all times and patches."""

    @model_validator(mode="after")
    def _inner_within_halo(self) -> Self:
        if any(inner > halo for inner, halo in zip(self.inner, self.halo, strict=True)):
            raise ValueError(
                f"inner: {self.inner} is not within halo, {self.halo}; take a larger halo"
            )
        return self


class FieldModel(Section):
    """A model of the comparison: a network, or the linear model if the width is 0."""

    width: NonNegativeInt
    noise: NonNegativeFloat
    """Standard deviation of the input noise in training, relative to that of the inputs."""

    @property
    def name(self) -> str:
        """Name in the table."""
        return f"sampled network, {self.width:,} features" if self.width else LINEAR


def train(settings: FieldNetwork, model: FieldModel, seed: int, states: Array) -> SampledRNN:
    """Train a network whose hidden features see only the inner part of the window.

    Distant cells affect a place weakly and so almost linearly. Hidden features that do not see them
    resolve the near ones better. The linear terms need the whole window; without it, input noise
    does not keep forecasts of smooth fields stable.

    Parameters
    ----------
    settings : FieldNetwork
    model : FieldModel
    seed : int
    states : ndarray, shape (times, cells)
    """
    patches = Patches(
        (states.shape[1],), (settings.halo,), size=settings.size, inner=(settings.inner,)
    )
    network = SampledRNN(
        model.width,
        sampling="normal",
        scale=settings.scale,
        noise=model.noise,
        ridge=settings.ridge,
        patches=patches,
        share=min(1.0, settings.rows / ((len(states) - 1) * patches.places)),
        seed=seed,
    )
    return network.fit(states)


@dataclass(frozen=True)
class FieldForecasts:
    """Errors of the forecasts from all initial states.

    Attributes
    ----------
    errors : ndarray, shape (starts, steps)
        Squared relative errors.
    valid_times : ndarray, shape (starts,)
        In Lyapunov times, at most the trusted time of the truth.
    first : ndarray, shape (steps, cells)
        Forecast from the first initial state.
    """

    errors: Array
    valid_times: Array
    first: Array


def forecast(
    system: FieldSystem,
    network: SampledRNN,
    truth: Truth,
    threshold: float,
    step: Callable[[], None] = lambda: None,
    batch: int = BATCH,
) -> FieldForecasts:
    """Forecast from all initial states, a batch at a time; ``step`` is called after each batch."""
    errors, valid_times, first = [], [], None
    for begin in range(0, len(truth.starts), batch):
        part = slice(begin, begin + batch)
        own = Truth(truth.starts[part], truth.states[part], truth.trusted_time[part])
        with divergence_allowed():
            found = network.rollout(own.starts[:, None], own.states.shape[1])
        errors.append(forecast_error(found, own.states, "squared_relative"))
        valid_times.append(
            own.valid_times(found, system.dt, system.exponent, threshold, "squared_relative")
        )
        first = found[0] if first is None else first
        step()
    if first is None:
        raise ValueError("truth: has no initial states; give at least one")
    return FieldForecasts(np.concatenate(errors), np.concatenate(valid_times), first)
