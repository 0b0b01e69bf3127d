"""Trained echo state networks that are rolled out for many initial times at once.

reservoirpy draws weights and solves for readouts. Its reservoirs step one forecast at a time;
here, all forecasts are stepped together with its matrices, with the same result.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Reservoir:
    """A trained echo state network.

    Attributes
    ----------
    recurrent : array or sparse array, shape (units, units)
    inputs : array or sparse array, shape (units, d)
    biases : ndarray, shape (units,) or (1,)
    leak : float
    readout : ndarray, shape (units, outputs)
    offset : ndarray, shape (outputs,)
    """

    recurrent: Any
    inputs: Any
    biases: Array
    leak: float
    readout: Array
    offset: Array

    def step(self, units: Array, states: Array) -> Array:
        """Return the units after one more state, shape (units, n) for states (n, d)."""
        driven = self.recurrent @ units + self.inputs @ states.T + self.biases[:, None]
        return np.asarray((1 - self.leak) * units + self.leak * np.tanh(driven))

    def drive(self, series: Array) -> Array:
        """Return the units after each time of a series, from zero: shape (times, units)."""
        units = np.zeros((self.recurrent.shape[0], 1))
        found = np.empty((len(series), len(units)))
        for time, state in enumerate(series):
            units = self.step(units, state[None])
            found[time] = units[:, 0]
        return found

    def read(self, units: Array) -> Array:
        """Return the output of units of shape (n, units)."""
        return np.asarray(units @ self.readout + self.offset)

    def roll_out(self, units: Array, steps: int) -> Array:
        """Forecast with outputs as further inputs, shape (n, steps, d), from units (n, units)."""
        state, found = units.T, []
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(steps):
                found.append(self.read(state.T))
                state = self.step(state, found[-1])
        return np.stack(found, axis=1)


def train_reservoirpy(
    series: Sequence[Array],
    targets: Sequence[Array],
    warmup: int,
    seed: int,
    *,
    units: int,
    spectral_radius: float,
    leak: float,
    input_scaling: float,
    bias: float,
    ridge: float,
) -> Reservoir:
    """Train an echo state network with reservoirpy.

    Parameters
    ----------
    series : sequence of ndarray, shape (times, d)
        Series without gaps, all of the same length.
    targets : sequence of ndarray, shape (times, outputs)
    warmup : int
        Number of first times of each series that the readout is not trained on.
    seed : int
    units, spectral_radius, leak, input_scaling, bias, ridge
        Settings of ``reservoirpy.nodes.Reservoir`` and ``Ridge``.
    """
    from reservoirpy.mat_gen import bernoulli
    from reservoirpy.nodes import Reservoir as Pool
    from reservoirpy.nodes import Ridge

    pool = Pool(
        units,
        lr=leak,
        sr=spectral_radius,
        input_scaling=input_scaling,
        bias=partial(bernoulli, input_scaling=bias) if bias else 0.0,
        seed=seed,
    )
    readout = Ridge(ridge=ridge)
    with warnings.catch_warnings():  # the search also tries ill-conditioned readouts
        warnings.simplefilter("ignore")
        (pool >> readout).fit([*series], [*targets], warmup=warmup)
    dense = pool.bias.toarray() if hasattr(pool.bias, "toarray") else np.asarray(pool.bias)
    return Reservoir(pool.W, pool.Win, dense.reshape(-1), leak, readout.Wout, readout.bias)
