"""Echo state networks of xesn, and settings of echo state networks drawn at random."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.workflows.cases.shared.reservoir import Reservoir

Array = NDArray[Any]


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
