"""Fields forecast by one network for all places: a travelling field, and the two cases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from pydantic import ValidationError

from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.workflows.cases import kuramoto_sivashinsky_case, load_case, lorenz96_case
from gfrnn.workflows.cases.shared import field_comparison, field_system
from gfrnn.workflows.cases.shared.field_comparison import FieldCaseSettings, value_pairs
from gfrnn.workflows.cases.shared.field_forecasts import (
    LINEAR,
    FieldModel,
    FieldNetwork,
    forecast,
    train,
)
from gfrnn.workflows.cases.shared.field_system import FieldSystem
from gfrnn.workflows.cases.shared.invariant_measure import LONG_RUN_SEEDS, TRUE_RUNS
from gfrnn.workflows.cases.shared.step_progress import no_progress
from gfrnn.workflows.cases.shared.trajectories import (
    TEST_SEED,
    TRAIN_SEED,
    VALIDATION_SEED,
    Truth,
)
from gfrnn.workflows.reproduce.settings_file import load_settings, with_values
from gfrnn_core.systems import KuramotoSivashinsky

CELLS, DT, EXPONENT = 20, 0.5, 0.1
NET = FieldNetwork(size=1, halo=(3, 2), inner=(1, 0), scale=0.5, ridge=0.0, rows=400)


def model(width: int) -> FieldModel:
    return FieldModel(width=width, noise=0.0)


def travelling(first: Any, times: int) -> Any:
    """Move a field by one cell in each step, shape (..., cells) to (..., times, cells)."""
    return np.stack([np.roll(first, step, axis=-1) for step in range(times)], axis=-2)


def initial_states(number: int, seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal((number, CELLS))


def follow(starts: Any, steps: int, scale: float) -> Truth:
    path = travelling(starts, steps + 1)[:, 1:]
    return Truth(starts, path, np.full(len(starts), steps * DT))


FIELD = FieldSystem(
    title="a travelling field",
    description=("It travels.",),
    cells=CELLS,
    dt=DT,
    exponent=EXPONENT,
    pair_distance=2,
    training_series=lambda seed, times, progress: travelling(initial_states(1, seed)[0], times),
    initial_states=initial_states,
    follow=follow,
    long_runs=lambda number, seed, steps: travelling(initial_states(number, seed), steps + 1),
    published_method="somebody",
    published_time=1.0,
    bar=1.5,
    truth_note="It is exact.",
)
SETTINGS = FieldCaseSettings(
    network=NET,
    wide=model(5),
    small=model(2),
    linear=model(0),
    data={"times": 60, "starts": 4, "steps": 30, "threshold": 0.05},
    climate={"starts": 2, "steps": 40},
)
WIDE, SMALL = "sampled network, 5 features", "sampled network, 2 features"
STATES = FIELD.training_series(TRAIN_SEED, 60, no_progress)


@pytest.fixture(autouse=True)
def empty_caches():
    """Clear the caches of series and truths, so that each test starts without."""
    field_system.training_states.cache_clear()
    field_system.true_trajectories.cache_clear()


# Analytic answers


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("width", [0, 6])
def test_a_travelling_field_is_forecast_to_the_end(size, width):
    network = train(NET.model_copy(update={"size": size}), model(width), 0, STATES)
    found = forecast(FIELD, network, follow(initial_states(30, 1) / 2, 50, 1.0), 0.05)
    assert found.errors.max() < 1e-12
    np.testing.assert_allclose(found.valid_times, 50 * DT * EXPONENT)
    np.testing.assert_allclose(found.first[6], np.roll(initial_states(30, 1)[0] / 2, 7), atol=1e-6)


def test_a_halo_on_the_downstream_side_gives_no_skill():
    net = NET.model_copy(update={"halo": (0, 3), "inner": (0, 3)})
    found = forecast(
        FIELD, train(net, model(0), 0, STATES), follow(initial_states(5, 1) / 2, 20, 1.0), 0.05
    )
    assert found.valid_times.max() == 0


def test_valid_times_end_with_the_trusted_time():
    truth = follow(initial_states(30, 1) / 2, 50, 1.0)
    trusted = np.arange(30) * 0.4
    found = forecast(
        FIELD, train(NET, model(0), 0, STATES), replace(truth, trusted_time=trusted), 0.05
    )
    np.testing.assert_allclose(found.valid_times, trusted * EXPONENT)


def test_value_pairs_have_the_given_distance():
    path = np.arange(2 * 11 * 4).reshape(2, 11, 4)
    pairs = value_pairs(path, 1)
    # Times 0 and 10 of two runs, four places each; the last place meets the first.
    assert pairs.shape == (2 * 2 * 4, 2)
    assert pairs[:4].tolist() == [[0, 1], [1, 2], [2, 3], [3, 0]]
    assert pairs[4].tolist() == [40, 41]


# Windows


@given(
    size=st.sampled_from([1, 2, 4]),
    inner=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    more=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_hidden_features_see_the_inner_window_only(size, inner, more):
    halo = (inner[0] + more[0], inner[1] + more[1])
    net = NET.model_copy(update={"size": size, "halo": halo, "inner": inner, "ridge": 1e-15})
    network = train(net, model(3), 0, STATES)
    assert network.hidden is not None
    weights = network.hidden.weights
    inside = slice(more[0], more[0] + inner[0] + size + inner[1])
    assert len(weights) == sum(halo) + size
    assert (weights[inside] != 0).all()
    assert np.count_nonzero(weights) == 3 * (sum(inner) + size)


def test_the_number_of_training_rows_is_about_the_given_one():
    factor = train(NET, model(2), 0, STATES).factor
    assert factor is not None
    assert 330 < factor.rows < 470  # of 59 * 20
    factor = train(NET.model_copy(update={"rows": 10**6}), model(2), 0, STATES).factor
    assert factor is not None
    assert factor.rows == 59 * 20


def test_batches_change_nothing():
    network, truth = train(NET, model(4), 0, STATES[:30]), follow(initial_states(7, 1), 20, 1.0)
    steps: list[int] = []
    whole = forecast(FIELD, network, truth, 0.05, lambda: steps.append(1))
    parts = forecast(FIELD, network, truth, 0.05, lambda: steps.append(3), batch=3)
    assert steps == [1, 3, 3, 3]
    np.testing.assert_array_equal(parts.valid_times, whole.valid_times)
    np.testing.assert_allclose(parts.errors, whole.errors, rtol=1e-6, atol=1e-20)
    np.testing.assert_allclose(parts.first, whole.first, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("inner", [(4, 0), (0, 3)])
def test_hidden_features_that_see_more_than_the_linear_terms_are_refused(inner):
    with pytest.raises(ValidationError, match="not within halo"):
        FieldNetwork(**(NET.model_dump() | {"inner": inner}))


@pytest.mark.parametrize("name", ["lorenz96", "kuramoto-sivashinsky"])
def test_the_error_of_a_window_names_its_section(name):
    case = load_case(name)
    values = load_settings(case).values
    with pytest.raises(ConfigError, match="network"):
        with_values(case, values, {"network.inner": [99, 0]}, "here")


# A whole case


def test_every_method_is_in_the_table():
    progressed: list[ProgressUpdate] = []
    result = field_comparison.run(FIELD, SETTINGS, [0, 1], progressed.append)
    by_name = {entry.name: entry for entry in result.entries}
    assert list(by_name) == [WIDE, SMALL, LINEAR, TRUE_RUNS, "somebody"]
    lasting = pytest.approx(30 * DT * EXPONENT)
    assert list(by_name[WIDE].scores["valid"]) == [lasting, lasting]
    assert len(by_name[WIDE].training or ()) == 2
    assert list(by_name[LINEAR].scores["valid"]) == [lasting]
    assert by_name["somebody"].scores == {"valid": [1.0]}
    assert by_name["somebody"].training is None
    assert [verdict.reached for verdict in result.verdicts()] == [True, True]
    # All four forecasts are valid to the end, so that 1.5 is a lower bound, which a note states.
    assert "Of the 4 forecasts of the first seed 4 were still valid" in result.notes[0]
    networks = [advance for advance in progressed if advance.name == "networks"]
    assert networks == [ProgressUpdate("networks", done, 15) for done in range(16)]
    figure = Figure()
    result.draw(figure)
    assert len(figure.axes) == 5  # four panels and a colour bar


def test_free_runs_of_an_exact_model_have_the_divergence_of_true_runs():
    entries = field_comparison.run(FIELD, SETTINGS, [0], no_progress).entries
    distance = {entry.name: entry.scores.get("kl", [np.nan])[0] for entry in entries}
    assert distance[TRUE_RUNS] > 0
    assert distance[WIDE] == pytest.approx(distance[TRUE_RUNS], rel=0.2)


def test_validation_does_not_use_test_starts():
    asked = []

    def recording(number, seed):
        asked.append(seed)
        return initial_states(number, seed)

    field = replace(FIELD, initial_states=recording)
    case = field_comparison.field_case("name", "summary", field)
    score = case.validations["wide"].measure(SETTINGS, 0)
    assert score == pytest.approx(30 * DT * EXPONENT)
    assert asked == [VALIDATION_SEED]
    case.run(SETTINGS, [0], no_progress)
    assert asked == [VALIDATION_SEED, TEST_SEED]
    assert len({TRAIN_SEED, VALIDATION_SEED, TEST_SEED, *LONG_RUN_SEEDS}) == 5


# The two systems


@pytest.mark.parametrize("module", [lorenz96_case, kuramoto_sivashinsky_case])
def test_a_series_in_pieces_is_one_trajectory(module):
    done: list[tuple[int, int]] = []
    pieces = module.training_series(
        0, 17, lambda advance: done.append((advance.done, advance.total)), 7
    )
    whole = module.training_series(0, 17, no_progress, 100)
    assert pieces.shape == whole.shape == (17, module.CASE.run.args[0].cells)
    assert done == [(0, 17), (8, 17), (15, 17), (17, 17)]
    np.testing.assert_allclose(pieces, whole, rtol=0, atol=1e-9)
    steps = np.abs(np.diff(pieces, axis=0)).max(axis=1)
    assert (steps > 0).all()  # no state occurs twice


@pytest.mark.parametrize("module", [lorenz96_case, kuramoto_sivashinsky_case])
def test_seeds_give_different_states(module):
    first, same, other = (module.initial_states(2, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1
    assert np.abs(first[0] - first[1]).max() > 1


def test_small_long_waves_grow_as_the_linear_equation_says():
    system = KuramotoSivashinsky()
    wave = 2 * np.pi / system.length * 8
    starts = 1e-7 * np.cos(wave * system.x)[None]
    truth = kuramoto_sivashinsky_case.follow(starts, 40, 1e-7)
    expected = np.exp((wave**2 - wave**4) * system.dt * np.arange(1, 41))[:, None] * starts
    np.testing.assert_allclose(truth.states[0], expected, atol=1e-12)
    assert truth.trusted_time.tolist() == [10.0]


@pytest.mark.parametrize("module", [lorenz96_case, kuramoto_sivashinsky_case])
def test_the_truth_is_trusted_longer_than_the_bar(module):
    field = module.CASE.run.args[0]
    steps = round((field.bar + 2) / (field.dt * field.exponent))
    starts = module.initial_states(2, TEST_SEED)
    truth = module.follow(starts, steps, float(starts.std()))
    assert truth.states.shape == (2, steps, field.cells)
    assert (truth.trusted_time * field.exponent > field.bar + 1).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"), [("lorenz96", 2.0), ("kuramoto-sivashinsky", 1.0)], ids=["l96", "ks"]
)
def test_a_small_network_beats_the_linear_model_by_far(name, least):
    case = load_case(name)
    found = load_settings(case, quick=True)
    small = {
        "wide.width": 400, "small.width": 50, "network.rows": 10_000, "data.times": 500,
        "data.starts": 2, "data.steps": 150, "climate.starts": 1, "climate.steps": 30,
    }  # fmt: skip
    settings = with_values(case, found.values, small, "test")
    result = case.run(settings, [0], no_progress)
    valid = {entry.name: entry.scores["valid"][0] for entry in result.entries if entry.training}
    assert valid["sampled network, 400 features"] > max(least, 3 * valid[LINEAR])
    assert [entry.name for entry in result.entries if entry.training is None][1].endswith(
        "(quoted)"
    )
