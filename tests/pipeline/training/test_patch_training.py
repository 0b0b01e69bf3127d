"""Local fits learn known laws exactly; numbers that follow from their triangles."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gfrnn.pipeline.config.state_config import StateConfig
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.states.sphere_patches import cut_patches, patch_area_weights, weight_groups
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.training.patch_training import (
    LocalTraining,
    autocorrelation,
    decaying_autocorrelation,
    mean_squares,
)
from gfrnn.pipeline.training.rows import FieldStates, RowSummary
from gfrnn.pipeline.training.selection.ridge import select_ridge_and_width
from gfrnn.pipeline.training.triangles import Factors
from gfrnn_core import RFactor, SampledRNN
from gfrnn_testing.spheres import (
    VARIABLES,
    advected,
    grid_of,
    latitudes,
    layout_of_anomalies,
    longitudes,
    memory_fields,
    waves,
)

WIND = "10m_u_component_of_wind"


def rows_of(fields: Fields, state: dict, **options) -> RowSummary:
    """Return the summary of a training pass over fields that are their own anomalies."""
    config = StateConfig(layout="local", **({"patch": (2, 3), "halo": (1, 1)} | state))
    patches = cut_patches(config, fields.grid)
    layout = layout_of_anomalies(fields.grid)
    plain = {"width": 0, "target": "state", "sampling": "normal"}
    network = SampledRNN(
        **(plain | options),
        patches=patches,
        standardise=False,
        groups=weight_groups(config, fields.grid, patches),
        mask=layout.mask,
    )
    network = network.sample(np.zeros((1, network.delays * patches.window)))
    weights = patch_area_weights(fields.grid, patches)
    forcing = Forcing.calendar(())
    return RowSummary(network, FieldStates(fields, layout), forcing, fields.time, weights)


def triangles(rows: RowSummary, first: int, last: int) -> Factors:
    first += rows.network.delays - 1
    return Factors.from_arrays(rows.leaf(Stretch("a", first, last - max(rows.network.leads))))


def learnt(rows: RowSummary, times: int) -> ForecastModel:
    """Return a network solved on all but the last quarter of the times."""
    cut = 3 * times // 4
    leads, owned = rows.network.leads, rows.network.patches.owned
    choice = select_ridge_and_width(
        rows.network, [triangles(rows, 0, cut)], triangles(rows, cut, times), size=owned,
        widths=[rows.network.width], ridges=[1e-13, 1e-10, 1e-6, 1e-3], balances=[1.0],
        variance=np.ones(len(leads)), truncated_variance=np.zeros(len(leads)),
    )  # fmt: skip
    best, linear = choice.best.network, choice.linear.network
    states: FieldStates = rows.states
    step = rows.time[1] - rows.time[0]
    return ForecastModel(states.layout, (best,), np.ones((1, len(leads))), linear,
                         np.empty(0), step, rows.forcing, {}, {})  # fmt: skip


def error(rows: RowSummary, times: int, steps: int) -> float:
    """Return the largest error of forecasts of the last times, relative to the largest value."""
    model, delays = learnt(rows, times), rows.network.delays
    states = rows.states.read(0, times)
    starts = np.arange(times - steps - 10, times - steps)
    history = np.stack([states[start - delays + 1 : start + 1] for start in starts])
    found = model.rollout(history, rows.time[starts], steps)
    truth = np.stack([states[start + 1 : start + 1 + steps] for start in starts])
    return float(np.abs(found - truth).max() / np.abs(states).max())


# Laws that are linear and local are learnt exactly


@pytest.mark.parametrize("weights", ["shared", "bands", "own"])
@pytest.mark.parametrize("target", ["state", "increment"])
def test_a_field_that_moves_by_a_cell_a_step_is_forecast_to_rounding(weights, target):
    values = advected(6, 12, 1, 60)[:, None]
    fields = memory_fields(values, grid_of(latitudes(6, "between"), longitudes(12)))
    # A patch sees one cell to the west, and moves round the globe.
    rows = rows_of(fields, {"weights": weights, "bands": 3, "halo": (0, 1)}, target=target)
    assert error(rows, 60, 15) < 1e-9


def test_a_field_that_moves_beyond_the_halo_in_a_step_is_not_forecast():
    fields = memory_fields(
        advected(6, 12, 2, 60)[:, None], grid_of(latitudes(6, "between"), longitudes(12))
    )
    assert error(rows_of(fields, {"halo": (0, 1)}), 60, 3) > 0.1
    assert error(rows_of(fields, {"halo": (0, 2)}), 60, 3) < 1e-9


@pytest.mark.parametrize("kind", ["row", "between"])
@pytest.mark.parametrize("weights", ["shared", "own"])
@pytest.mark.parametrize("patch", [(2, 3), (3, 4), (4, 5)])
def test_waves_go_across_poles(kind, weights, patch):
    """One of the two channels is a component of a vector, which changes sign at the pole."""
    shape, names = (7, 12), ("2m_temperature", WIND)
    times = 600 if weights == "own" else 150
    values = np.stack([waves(times, shape, kind), waves(times, shape, kind, -1, seed=1)], axis=1)
    fields = memory_fields(values, grid_of(latitudes(7, kind), longitudes(12), names))
    rows = rows_of(fields, {"patch": patch, "weights": weights}, delays=2)
    assert error(rows, times, 10) < 1e-7


@pytest.mark.parametrize("sign", [1, -1])
def test_a_wave_across_poles_needs_the_sign_of_its_kind(sign):
    values = waves(150, (6, 12), "between", sign)[:, None]
    grid = grid_of(
        latitudes(6, "between"), longitudes(12), [WIND if sign > 0 else "2m_temperature"]
    )
    assert error(rows_of(memory_fields(values, grid), {}, delays=2), 150, 1) > 1e-3


def test_waves_in_a_box_across_greenwich_are_those_of_a_box_in_one_piece():
    """Cells are repeated beyond a border, in the patches and in this law."""
    east = (np.arange(8) * 5.0 - 15) % 360
    rng = np.random.default_rng(0)
    path = [rng.normal(size=(6, 8)), rng.normal(size=(6, 8))]
    for _ in range(148):
        now = np.pad(path[-1], 1, mode="edge")
        across = now[2:, 1:-1] + now[:-2, 1:-1] + now[1:-1, 2:] + now[1:-1, :-2]
        path.append(2 * path[-1] - path[-2] + 0.2 * (across - 4 * path[-1]))
    values = np.stack(path)[:, None][..., np.argsort(east)]
    grid = grid_of(np.arange(6) * 5.0, np.sort(east))
    assert error(rows_of(memory_fields(values, grid), {}, delays=2), 150, 10) < 1e-7


SPEEDS = [1, 1, 1, -1, -1, -1]  # by row, from south to north


@pytest.mark.parametrize(
    ("state", "exact"),
    [
        ({"weights": "shared"}, False),
        ({"weights": "bands", "bands": 2}, True),
        ({"weights": "own"}, True),
        ({"weights": "shared", "patch": (2, 3)}, False),
        # Each cell of a patch has its own weights.
        ({"weights": "shared", "patch": (6, 3)}, True),
    ],
)
def test_a_law_that_differs_with_latitude_needs_weights_that_do(state, exact):
    fields = memory_fields(
        advected(6, 12, SPEEDS, 60)[:, None], grid_of(latitudes(6, "between"), longitudes(12))
    )
    rows = rows_of(fields, {"patch": (1, 3), "halo": (0, 1)} | state)
    found = error(rows, 60, 6)
    assert found < 1e-9 if exact else found > 0.1


def test_masked_patches_are_left_out_and_the_law_of_the_others_is_learnt():
    mask = np.zeros((6, 12), dtype=bool)
    mask[2:4, 3:9] = True  # two of the twelve patches
    values = advected(6, 12, 1, 60)[:, None]
    # Nothing flows into or out of the masked rows from outside of them: the law is that of rows.
    values[:, :, 2:4] = 0.0
    values[:, :, mask] = np.nan
    fields = memory_fields(values, grid_of(latitudes(6, "between"), longitudes(12),
                                           mask=mask.reshape(-1)))  # fmt: skip
    rows = rows_of(fields, {"halo": (0, 1)})
    assert triangles(rows, 0, 60).rows == 10 * 59
    assert error(rows, 60, 15) < 1e-9


# Numbers from triangles


def some_rows(target: str, noise: float, leads=(1, 3)) -> tuple[RowSummary, np.ndarray]:
    """Make rows of two channels: autocorrelations 0.9 and 0.5, standard deviations 1 and 3."""
    rng, times = np.random.default_rng(0), 2000
    memory = np.array([0.9, 0.5])[:, None, None]
    field = rng.normal(size=(2, 4, 6))
    path = []
    for _ in range(times):
        field = memory * field + np.sqrt(1 - memory**2) * rng.normal(size=field.shape)
        path.append(field * np.array([1.0, 3.0])[:, None, None])
    grid = grid_of(latitudes(4, "between"), longitudes(6), list(VARIABLES)[:2])
    fields = memory_fields(np.stack(path), grid)
    return rows_of(fields, {}, target=target, noise=noise, leads=leads), np.stack(path)


@pytest.mark.parametrize("target", ["state", "increment"])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_autocorrelations_are_those_of_the_states_without_their_noise(target, noise):
    rows, values = some_rows(target, noise)
    found = autocorrelation(rows.network, [triangles(rows, 0, 1000), triangles(rows, 1000, 2000)])
    np.testing.assert_allclose(found, [[0.9, 0.5], [0.9**3, 0.5**3]], atol=0.03)
    rows, values = some_rows(target, 0.0)
    found = autocorrelation(rows.network, [triangles(rows, 0, 2000)])
    area = rows.weights.reshape(2, 2).repeat(2, axis=0).repeat(3, axis=1)
    for index, lead in enumerate((1, 3)):
        now, later = values[: 2000 - 3], values[lead : 2000 - 3 + lead]
        expected = (now * later * area).sum(axis=(0, 2, 3)) / (later**2 * area).sum(axis=(0, 2, 3))
        np.testing.assert_allclose(found[index], expected, rtol=1e-9)


@pytest.mark.parametrize("target", ["state", "increment"])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_mean_squares_are_those_of_the_targets(target, noise):
    rows, values = some_rows(target, noise)
    found = mean_squares(rows.network, [triangles(rows, 0, 1000), triangles(rows, 1000, 2000)])
    area = rows.weights.reshape(2, 2).repeat(2, axis=0).repeat(3, axis=1)
    kept = [range(1000 - 3), range(1000, 2000 - 3)]
    for index, lead in enumerate((1, 3)):
        later = np.concatenate([values[run.start + lead : run.stop + lead] for run in kept])
        expected = (later**2 * area).sum() / len(later) / 4
        np.testing.assert_allclose(found[index], expected, rtol=1e-9)


def test_a_candidate_is_described_with_one_triangle_in_memory():
    """The packed triangles of all years, which the driver holds, are not unpacked together."""
    columns, folds, owned = 200, 20, 4
    rng = np.random.default_rng(0)
    factors = {
        f"{'train' if year < 18 else 'validation'}/{2000 + year}": Factors(
            (RFactor(np.triu(rng.normal(size=(columns, columns))), 3 * columns),)
        )
        for year in range(folds)
    }
    scored = [each for fold, each in factors.items() if fold.startswith("validation/")]
    found = {fold: each.arrays("0_") for fold, each in factors.items()}
    del factors
    training: Any = SimpleNamespace(
        experiment=SimpleNamespace(fit=SimpleNamespace(choice="validation")),
        patches=SimpleNamespace(owned=owned),
    )
    network: Any = SimpleNamespace(leads=(1,), target="state", patches=training.patches)
    keys = {fold: fold for fold in found}
    rows: Any = SimpleNamespace(name="rows")
    tracemalloc.start()
    try:
        candidate = LocalTraining._candidate(training, {}, network, rows, "0_", keys, found)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * 8 * columns**2
    np.testing.assert_array_equal(candidate.variance, mean_squares(network, scored))
    assert {each.rows for each in candidate.folds.values()} == {3 * columns}


def test_damping_decays_exponentially_between_leads_and_beyond_the_last():
    found = decaying_autocorrelation(np.array([[0.8, 0.5], [0.2, 0.4]]), (1, 3), 6)
    assert found.shape == (7, 2)
    np.testing.assert_allclose(found[[0, 1, 3]], [[1, 1], [0.8, 0.5], [0.2, 0.4]])
    np.testing.assert_allclose(found[2], np.sqrt([0.8 * 0.2, 0.5 * 0.4]))
    np.testing.assert_allclose(found[6], [0.2**2, 0.4**2])
    assert (np.diff(found, axis=0) <= 0).all()


def test_damping_of_what_is_unrelated_or_against_itself_is_none():
    found = decaying_autocorrelation(np.array([[0.0, -0.5, 1.0]]), (1,), 3)
    np.testing.assert_allclose(found[1:, :2], 0, atol=1e-5)
    np.testing.assert_array_equal(found[:, 2], 1)


# Rollouts


def test_a_network_that_leaves_counts_only_where_it_has_a_share():
    """One of two networks diverges at once; its shares of the leads are none and a half."""
    grid = grid_of(latitudes(4, "between"), longitudes(6))
    fields = memory_fields(np.random.default_rng(0).normal(size=(20, 1, 4, 6)), grid)
    model = learnt(rows_of(fields, {}, leads=(1, 2)), 20)
    (calm,) = model.networks
    wild = replace(calm, outer=1e9 * calm.outer, low=np.array(-20.0), high=np.array(20.0))
    pair = replace(model, networks=(calm, wild), mixture=np.array([[1.0, 0.5], [0.0, 0.5]]))
    history, when = np.ones((1, 1, 24)), fields.time[:1]
    found = pair.rollout(history, when, 2)
    np.testing.assert_array_equal(found[:, 0], model.rollout(history, when, 1)[:, 0])
    assert np.isnan(found[:, 1]).all()
