"""Test networks of other libraries: their rollouts, and that they learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gfrnn.workflows.benchmarks.peers.echo_networks import draws, train_xesn
from gfrnn.workflows.benchmarks.peers.gated_networks import GatedSettings, Windows, predict, train
from gfrnn.workflows.cases.shared.reservoir import train_reservoirpy

SETTINGS = {"units": 60, "spectral_radius": 0.9, "leak": 0.5, "bias": 0.2, "ridge": 1e-6}


def waves(times: int = 400) -> np.ndarray:
    t = 0.1 * np.arange(times)
    return np.stack([np.sin(t), np.cos(t) + 0.5 * np.sin(2 * t)], axis=1)


def test_the_rollout_is_that_of_reservoirpy():
    nodes = pytest.importorskip("reservoirpy.nodes")
    series = waves()
    network = train_reservoirpy([series[:-1]], [series[1:]], 20, 3, input_scaling=0.5, **SETTINGS)
    pool = nodes.Reservoir(60, lr=0.5, W=network.recurrent, Win=network.inputs, bias=network.biases)
    model = pool >> nodes.Ridge(Wout=network.readout, bias=network.offset)
    for state in series[:200]:
        out = model.step(state)
    for mine in network.roll_out(network.drive(series[:200])[[-1]], 20)[0]:
        np.testing.assert_allclose(mine, out, rtol=1e-9, atol=1e-12)
        out = model.step(out)


def test_a_readout_may_have_several_leads():
    pytest.importorskip("reservoirpy")
    series = waves()
    targets = np.concatenate([series[1:-4], series[5:]], axis=1)
    network = train_reservoirpy([series[:-5]], [targets], 20, 0, input_scaling=0.5, **SETTINGS)
    found = network.read(network.drive(series[:-5]))
    assert np.abs(found - targets)[50:].max() < 0.05


def test_the_rollout_is_that_of_xesn():
    xesn = pytest.importorskip("xesn")
    import xarray as xr

    series = waves()
    network = train_xesn(series, 20, 1, input_factor=0.5, **SETTINGS)
    theirs = xesn.ESN(2, 2, 60, 0.5, 1e-6, *_matrices())
    theirs.W, theirs.Win = network.recurrent, network.inputs
    theirs.bias_vector, theirs.Wout = network.biases, network.readout.T
    given = xr.DataArray(series[:220].T, dims=("state", "time"), coords={"time": np.arange(220.0)})
    expected = theirs.predict(given, n_steps=15, n_spinup=200).values[:, 1:].T
    found = network.roll_out(network.drive(series[:201])[[-1]], 15)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert np.abs(found - series[201:216]).max() < 0.05


def _matrices():
    return (
        {"factor": 1.0, "distribution": "uniform"},
        {"factor": 1.0, "distribution": "uniform", "is_sparse": True, "connectedness": 5},
        {"factor": 1.0, "distribution": "uniform"},
    )


def test_draws_lie_in_their_ranges_and_depend_on_the_seed():
    found = draws(200, 0, (1e-3, 1e3))
    scales = np.array([one["scale"] for one in found])
    assert scales.min() < 1e-2
    assert scales.max() > 1e2
    assert 0.5 < np.mean(np.log10(scales) > 0) * 2 < 1.5
    assert all(0.1 <= one["leak"] <= 1 for one in found)
    assert found == draws(200, 0, (1e-3, 1e3))
    assert found != draws(200, 1, (1e-3, 1e3))


def windows(head: str, first: int, last: int, series: np.ndarray) -> Windows:
    starts = np.arange(first, last)
    ahead = np.array([1, 3]) if head == "direct" else np.arange(1, 4)
    later = starts[:, None] + ahead
    clock = np.zeros((len(starts), len(ahead), 1))
    inputs = np.concatenate([series, np.zeros((len(series), 1))], axis=1)
    return Windows(inputs[starts[:, None] + np.arange(-4, 1)], series[later], clock)


@pytest.mark.parametrize("head", ["direct", "rollout"])
@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_gated_networks_learn_waves(cell, head):
    pytest.importorskip("torch")
    series = waves(600)
    settings = GatedSettings(cell, head, hidden=16, rate=1e-2, epochs=15)
    training, held_out = (windows(head, *ends, series) for ends in ((5, 400), (400, 590)))
    network, _, error = train(settings, training, 0, held_out)
    found = predict(network, held_out)
    assert found.shape == held_out.targets.shape
    assert np.square(found - held_out.targets).mean() == pytest.approx(error, rel=1e-5)
    assert error < 0.02 * np.square(held_out.targets).mean()
    same, _, _ = train(settings, training, 0, held_out)
    np.testing.assert_array_equal(predict(same, held_out), found)


def test_training_stops_early_and_keeps_the_best_epoch():
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(120, 2))
    settings = GatedSettings("GRU", hidden=64, rate=1e-2, epochs=60, patience=2)
    training, held_out = (windows("direct", *ends, noise) for ends in ((5, 60), (60, 110)))
    network, epochs, error = train(settings, training, 0, held_out)
    assert epochs < 30
    again, _, _ = train(GatedSettings("GRU", hidden=64, rate=1e-2, epochs=epochs), training, 0)
    np.testing.assert_allclose(predict(again, held_out), predict(network, held_out), atol=1e-5)
    assert error == pytest.approx(
        np.square(predict(network, held_out) - held_out.targets).mean(), rel=1e-5
    )


def test_the_learning_rate_falls_along_a_cosine(monkeypatch):
    torch = pytest.importorskip("torch")
    rates = []

    class Recorded(torch.optim.Adam):
        def step(self, *arguments):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*arguments)

    monkeypatch.setattr(torch.optim, "Adam", Recorded)
    rows = windows("direct", 5, 200, waves(300))
    settings = GatedSettings("GRU", hidden=4, epochs=3, rate=1e-2, batch=64)
    for schedule in ("constant", "cosine"):
        train(replace(settings, schedule=schedule), rows, 0)
    steps = len(rates) // 2
    assert rates[:steps] == [1e-2] * steps
    expected = 0.5e-2 * (1 + np.cos(np.pi * np.arange(steps) / steps))
    np.testing.assert_allclose(rates[steps:], expected)
