"""Trajectories from many initial states, and the time for which they are trusted."""

from __future__ import annotations

import numpy as np
import pytest

from gfrnn.workflows.cases.shared.trajectories import (
    Truth,
    attractor_states,
    trajectories,
)
from gfrnn_core.systems import LORENZ63, System

OSCILLATOR = System("harmonic", lambda s: np.stack([s[..., 1], -s[..., 0]], -1), 2, 0.0, (1.0, 0.0))


def test_many_starts_are_integrated_together():
    starts = np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 1.0]])
    path = trajectories(OSCILLATOR, starts, 0.1, 50)
    angle = 0.1 * np.arange(51)[None, :]
    x, v = starts[:, :1], starts[:, 1:]
    expected = np.stack(
        [x * np.cos(angle) + v * np.sin(angle), v * np.cos(angle) - x * np.sin(angle)], axis=-1
    )
    np.testing.assert_allclose(path, expected, atol=1e-11)


def test_a_regular_system_is_trusted_to_the_end_and_a_chaotic_one_is_not():
    regular = Truth.follow(OSCILLATOR, np.array([[1.0, 0.0]]), 0.1, 300, np.ones(2))
    assert regular.trusted_time.tolist() == pytest.approx([30.0])
    starts = attractor_states(LORENZ63, 3, 0, 10.0)
    chaotic = Truth.follow(LORENZ63, starts, 0.02, 2500, np.full(3, 8.0))
    assert chaotic.states.shape == (3, 2500, 3)
    # An error of 1e-13 grows to 0.03 in ln(3e11) = 26 Lyapunov times, approximately.
    assert (chaotic.trusted_time * LORENZ63.lyapunov_exponent > 18).all()
    assert (chaotic.trusted_time * LORENZ63.lyapunov_exponent < 36).all()


def test_seeds_give_different_states_on_the_attractor():
    first, same, other = (attractor_states(LORENZ63, 5, seed, 20.0) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1
    assert (np.abs(first[:, 0]) < 25).all()
    assert (first[:, 2] > 0).all()
