"""The echo state network of reservoirpy: training, and rollouts from many histories."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.cases.shared.echo_state_network import EchoStateNetwork, EchoStateSettings

ECHO_SETTINGS = EchoStateSettings(
    spectral_radius=0.9, leak=0.5, input_scaling=0.3, bias=0.2, ridge=1e-8, warmup=20
)


def waves(times=400):
    t = 0.1 * np.arange(times)
    return np.stack([np.sin(t), 5 + 3 * np.cos(t) + np.sin(2 * t)], axis=1)


def test_the_rollout_is_that_of_reservoirpy():
    nodes = pytest.importorskip("reservoirpy.nodes")
    series = waves()
    network = EchoStateNetwork.fit(ECHO_SETTINGS, 40, [series[:200], series[200:]], seed=3)
    found = network.rollout(np.stack([series[:60], series[90:150]]), 25)
    for start, mine in zip((0, 90), found, strict=True):
        reservoir = nodes.Reservoir(
            40,
            lr=0.5,
            W=network.reservoir.recurrent,
            Win=network.reservoir.inputs,
            bias=network.reservoir.biases,
        )
        readout = nodes.Ridge(Wout=network.reservoir.readout, bias=network.reservoir.offset)
        model = reservoir >> readout
        for state in series[start : start + 60]:
            out = model.step((state - network.mean) / network.deviation)
        for row in mine:
            np.testing.assert_allclose(row, out * network.deviation + network.mean, rtol=1e-9)
            out = model.step(out)


def test_the_echo_state_network_learns_and_depends_on_its_seed():
    pytest.importorskip("reservoirpy")
    series = waves()
    one, same, other = (
        EchoStateNetwork.fit(ECHO_SETTINGS, 60, [series[:300]], seed).rollout(
            series[None, 200:301], 50
        )
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0
    assert np.abs(one[0] - series[301:351]).max() < 0.05 * 3


def test_without_reservoirpy_a_fit_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install reservoirpy"):
        EchoStateNetwork.fit(ECHO_SETTINGS, 10, [waves()], 0)
