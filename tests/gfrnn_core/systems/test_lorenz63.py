"""Test on noise-free Lorenz 63 that R keeps precision which the Gram matrix loses."""

from dataclasses import replace

import numpy as np
import pytest

from gfrnn_core import SampledRNN
from gfrnn_core.lifting import lift
from gfrnn_core.metrics import valid_prediction_time
from gfrnn_core.systems import LORENZ63

DT, TRAINING, STARTS, APART, LEADS = 0.02, 5000, 30, 100, 1400


@pytest.fixture(scope="module")
def lorenz():
    """Return a trajectory of 5,000 training samples, and 30 starts after it."""
    path = LORENZ63.trajectory(DT, TRAINING + STARTS * APART + LEADS, spinup=500)
    starts = TRAINING + APART * np.arange(STARTS)
    truth = np.stack([path[start + 1 : start + 1 + LEADS] for start in starts])
    return path[:TRAINING], path[starts][:, None], truth


@pytest.fixture(scope="module", params=["pairs", "normal"])
def network(request, lorenz):
    return SampledRNN(width=1000, sampling=request.param, scale=0.5, ridge=1e-15).fit(lorenz[0])


def median_lyapunov_times(network, lorenz):
    training, history, truth = lorenz
    with np.errstate(over="ignore", invalid="ignore"):
        forecast = network.rollout(history, LEADS)
    exponent, climate = LORENZ63.lyapunov_exponent, training.std(axis=0)
    return np.median(valid_prediction_time(forecast, truth, DT, exponent, 0.3, scale=climate))


def test_lorenz_63_is_forecast_for_18_lyapunov_times(network, lorenz):
    assert median_lyapunov_times(network, lorenz) >= 18


@pytest.mark.slow
def test_the_gram_matrix_would_lose_a_third_of_it(network, lorenz):
    """Solve for the features and targets of the network through F'F, at the best ridge."""
    scaled = network.scaled(lorenz[0])
    features = lift(scaled[:-1], None, network.hidden)
    values, vectors = np.linalg.eigh(features.T @ features)
    projected = vectors.T @ (features.T @ np.diff(scaled, axis=0))
    best = 0.0
    for ridge in np.logspace(-17, -13, 5):
        strength = np.abs(values) + ridge * values[-1]
        outer = vectors @ (projected / strength[:, None])
        gram = replace(network, outer=outer[None])
        best = max(best, median_lyapunov_times(gram, lorenz))
    assert 5 < best < 16
    assert best < 0.7 * median_lyapunov_times(network, lorenz)


def test_single_precision_loses_much_of_it(lorenz):
    """Rows are rounded to seven digits, so the triangle has no more."""
    fine = SampledRNN(width=300, sampling="normal", scale=0.5, ridge=1e-15)
    double = median_lyapunov_times(fine.fit(lorenz[0]), lorenz)
    coarse = replace(fine, precision="float32", ridge=1e-7)
    single = median_lyapunov_times(coarse.fit(lorenz[0]), lorenz)
    assert 3 < single < 0.8 * double
