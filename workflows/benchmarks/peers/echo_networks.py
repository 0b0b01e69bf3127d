"""Echo state networks of reservoirpy and xesn, rolled out for many initial times at once.

The libraries draw the weights and solve for the readout. Both step one forecast at a time; here,
all forecasts are stepped together with the matrices of the library, with the same result.
"""

from __future__ import annotations

import warnings
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
    biases : ndarray, shape (units,)
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
        units = np.zeros((len(self.biases), 1))
        found = np.empty((len(series), len(self.biases)))
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
    series: Array,
    targets: Array,
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
    series : ndarray, shape (times, d)
    targets : ndarray, shape (times, outputs)
    warmup : int
        Number of first times that the readout is not trained on.
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
        bias=partial(bernoulli, input_scaling=bias),
        seed=seed,
    )
    readout = Ridge(ridge=ridge)
    with warnings.catch_warnings():  # the search also tries ill-conditioned readouts
        warnings.simplefilter("ignore")
        (pool >> readout).fit(series, targets, warmup=warmup)
    dense = pool.bias.toarray() if hasattr(pool.bias, "toarray") else np.asarray(pool.bias)
    return Reservoir(pool.W, pool.Win, dense.reshape(-1), leak, readout.Wout, readout.bias)


def train_xesn(
    series: Array,
    warmup: int,
    seed: int,
    *,
    units: int,
    spectral_radius: float,
    leak: float,
    input_factor: float,
    bias: float,
    ridge: float,
) -> Reservoir:
    """Train an echo state network that forecasts the next state with xesn.

    Parameters
    ----------
    series : ndarray, shape (times, d)
    warmup : int
        Number of first times that the readout is not trained on.
    seed : int
    units, spectral_radius, leak, input_factor, bias, ridge
        Settings of ``xesn.ESN``; other options keep its defaults.
    """
    import xarray as xr
    from xesn import ESN

    size = series.shape[1]
    shared: dict[str, Any] = {"distribution": "uniform"}
    network = ESN(
        n_input=size,
        n_output=size,
        n_reservoir=units,
        leak_rate=leak,
        tikhonov_parameter=ridge,
        input_kwargs={
            "factor": input_factor,
            "normalization": "multiply",
            "is_sparse": False,
            "random_seed": 3 * seed,
            **shared,
        },
        adjacency_kwargs={
            "factor": spectral_radius,
            "normalization": "eig",
            "is_sparse": True,
            "connectedness": 5,
            "format": "csr",
            "random_seed": 3 * seed + 1,
            **shared,
        },
        bias_kwargs={"factor": bias, "random_seed": 3 * seed + 2, **shared},
    )
    network.build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.train(xr.DataArray(series.T, dims=("state", "time")), n_spinup=warmup)
    biases = np.asarray(network.bias_vector).reshape(-1)
    readout = np.asarray(network.Wout).T
    return Reservoir(network.W, network.Win, biases, leak, readout, np.zeros(size))


def draws(count: int, seed: int, scale: tuple[float, float]) -> list[dict[str, float]]:
    """Draw settings of echo state networks at random from wide ranges.

    Parameters
    ----------
    count : int
    seed : int
    scale : tuple of float
        Least and largest factor of the inputs, of which the logarithm is uniform.
    """
    generator = np.random.default_rng(seed)

    def logarithmic(low: float, high: float) -> float:
        return float(f"{np.exp(generator.uniform(np.log(low), np.log(high))):.3g}")

    return [
        {
            "spectral_radius": round(float(generator.uniform(0.05, 1.3)), 3),
            "leak": round(float(generator.uniform(0.1, 1.0)), 3),
            "scale": logarithmic(*scale),
            "bias": logarithmic(0.01, 2.0),
            "ridge": logarithmic(1e-6, 1e2),
        }
        for _ in range(count)
    ]
