"""The case of Lorenz 63: its data, its solvers and its table, at small sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gfrnn.workflows.cases import load_case, lorenz63_case
from gfrnn.workflows.cases.shared.lorenz63_data import Lorenz63Data
from gfrnn.workflows.reproduce.settings_file import load_settings, with_values
from gfrnn_core import SampledRNN
from gfrnn_core.systems import LORENZ63


def test_the_gram_matrix_solves_the_same_problem():
    train = LORENZ63.trajectory(0.02, 1500, spinup=500)
    network = SampledRNN(20, sampling="normal", ridge=0.0, seed=1)  # well conditioned
    factor, gram = network.fit(train), lorenz63_case.solve_gram(network, train, 0.0)
    np.testing.assert_allclose(gram.outer, factor.outer, rtol=1e-4, atol=1e-7)


def small_lorenz(**keys):
    case = load_case("lorenz63")
    found = load_settings(case, quick=True)
    small = {"width": 100, "climate_starts": 3, "climate_steps": 200}
    for name in ("fine", "squared", "noise_3", "noise_2"):
        small |= {
            f"setups.{name}.samples": 1000,
            f"setups.{name}.starts": 3,
            f"setups.{name}.steps": 200,
        }
    return case, with_values(case, found.values, small | keys, "test")


@pytest.mark.slow
def test_lorenz63_fills_its_table():
    case, settings = small_lorenz()
    calls = []
    result = case.run(settings, [0, 1], calls.append)
    assert calls[-1].done == calls[-1].total
    entries = {entry.name: entry for entry in result.entries}
    ours = entries["R factor, normal"]
    assert set(ours.scores) == {"fine", "squared", "noise_3", "noise_2", "kl"}
    assert all(len(values) == 2 for values in ours.scores.values())
    longest = 200 * 0.02 * LORENZ63.lyapunov_exponent
    assert all(0 < value <= longest for value in ours.scores["fine"])
    # More noise shortens the valid time.
    assert np.mean(ours.scores["noise_2"]) < np.mean(ours.scores["fine"])
    assert entries["Gram matrix, normal"].scores["fine"]
    assert {bar.score: bar.entry for bar in result.bars} == {
        "fine": "R factor, normal",
        "squared": "R factor, normal",
        "noise_3": "R factor, normal, delays",
        "noise_2": "R factor, normal, delays",
    }


def test_valid_times_end_with_the_trusted_time():
    _, settings = small_lorenz()
    data = Lorenz63Data.make(settings.setups["fine"], 1, 1)
    whole = data.valid_times(data.truth.states)
    assert whole == pytest.approx(200 * 0.02 * LORENZ63.lyapunov_exponent)
    short = replace(data, truth=replace(data.truth, trusted_time=np.array([1.0, 2.0, 9.0])))
    assert short.valid_times(data.truth.states) == pytest.approx(
        np.minimum([1.0, 2.0, 9.0], 4.0) * LORENZ63.lyapunov_exponent
    )


def test_noise_is_relative_to_the_standard_deviation_and_validation_has_other_starts():
    _, settings = small_lorenz()
    data = Lorenz63Data.make(settings.setups["noise_2"], 1, 1)
    share = (data.noisy(0) - data.train).std(axis=0) / data.train.std(axis=0)
    np.testing.assert_allclose(share, 0.01, rtol=0.1)
    other = Lorenz63Data.make(settings.setups["noise_2"], 2, 1)
    assert np.abs(other.truth.starts - data.truth.starts).min() > 1e-3


def test_notes_give_the_samples_of_each_column():
    keys = {"width": 10, "climate_starts": 1, "climate_steps": 50, "setups.squared.samples": 700}
    for name in ("fine", "squared", "noise_3", "noise_2"):
        keys |= {f"setups.{name}.starts": 1, f"setups.{name}.steps": 20}
    case, settings = small_lorenz(**keys)
    notes = case.run(settings, [0], lambda advance: None).notes
    squared = next(note for note in notes if "dt 0.01" in note)
    assert "700 training samples" in squared
    fine = next(note for note in notes if "dt 0.02" in note)
    assert "1000 training samples" in fine
