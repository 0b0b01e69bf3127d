"""Rows of the training pass over fields do not depend on cuts or on shared reads."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.config.state_config import StateConfig
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.forcing import Forcing
from gfrnn.pipeline.states.patch_states import LocalLayout
from gfrnn.pipeline.states.sphere_patches import (
    cut_patches,
    owned_cells,
    patch_area_weights,
    weight_groups,
)
from gfrnn.pipeline.training import rows
from gfrnn.pipeline.training.rows import FieldStates, RowSummary, SharedRows
from gfrnn.pipeline.training.triangles import Factors, merge_factors
from gfrnn_core import SampledRNN
from gfrnn_testing.reduction_toys import cut, row_summary
from gfrnn_testing.spheres import (
    grid_of,
    latitudes,
    layout_of_anomalies,
    longitudes,
    memory_fields,
)

TIMES = 40
NAMES = ("2m_temperature", "mean_sea_level_pressure")
GRID = grid_of(latitudes(4, "between"), longitudes(6), NAMES)


def forcing_of(grid, patches) -> Forcing:
    sine = np.sin(np.deg2rad(grid.latitude))[:, None] * np.ones(len(grid.longitude))
    cells = owned_cells(grid, patches)
    return Forcing.from_grid(("day_of_year", "insolation"), ("latitude",), sine[None], grid, cells)


def summary(grid=GRID, *, state=None, **options) -> RowSummary:
    """Make rows from random fields on a small globe, with 2 x 3 patches and all kinds of inputs."""
    config = StateConfig(layout="local", **({"patch": (2, 3), "halo": (1, 1)} | (state or {})))
    patches = cut_patches(config, grid)
    forcing = forcing_of(grid, patches)
    layout = layout_of_anomalies(grid)
    plain = {"width": 5, "delays": 2, "leads": (1, 3), "target": "state", "sampling": "normal"}
    network = SampledRNN(
        **(plain | options),
        patches=patches,
        standardise=False,
        joint=True,
        inputs=forcing.count,
        groups=weight_groups(config, grid, patches),
        mask=layout.mask,
    )
    pool = (max(2, network.width), network.delays * patches.window + forcing.count)
    network = network.sample(np.random.default_rng(1).standard_normal(pool))
    values = np.random.default_rng(0).normal(size=(TIMES, *grid.shape))
    if grid.mask is not None:
        values.reshape(TIMES, -1)[:, grid.mask] = np.nan
    fields = memory_fields(values, grid, "6h")
    return RowSummary(
        network,
        FieldStates(fields, layout),
        forcing,
        fields.time,
        patch_area_weights(grid, patches),
    )


def squares(factors: Factors) -> np.ndarray:
    """Return A^T A of each group."""
    return np.stack([part.triangle.T @ part.triangle for part in factors.parts])


def peak_of(call: Callable[[], object]) -> int:
    """Return the bytes that arrays take at the peak of a call."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def whole(rows: RowSummary) -> tuple[int, int]:
    """Return the present times of all rows."""
    return rows.network.delays - 1, TIMES - max(rows.network.leads)


def by_hand(rows: RowSummary, group: int | None) -> np.ndarray:
    """Compute all rows of a group one by one from the fields."""
    network, (first, last) = rows.network, whole(rows)
    states, inputs = rows.states.read(0, TIMES), rows.forcing(rows.time)
    patches, hidden = network.patches, network.hidden
    seen = patches.windows(states)
    found = []
    for time in range(first, last):
        for place in range(patches.places):
            if rows.weights[place] == 0 or (group is not None and network.groups[place] != group):
                continue
            linear = [*seen[time, place], *seen[time - 1, place], *inputs[time + 1, place]]
            features = np.tanh(np.array(linear) @ hidden.weights + hidden.biases)
            targets = [states[time + lead, patches.own[place]] for lead in network.leads]
            row = np.concatenate([linear, [1.0], features, *targets])
            found.append(np.sqrt(rows.weights[place]) * row)
    return np.array(found)


SEA = np.random.default_rng(3).random(GRID.shape) < 0.3
SEA[:, :2, 3:] = True  # all of one patch
SETTINGS = {
    "shared": {},
    "bands": {"weights": "bands", "bands": 2},
    "own": {"weights": "own"},
}


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("state", SETTINGS.values(), ids=SETTINGS)
def test_triangles_are_those_of_rows_written_by_hand(state, masked):
    grid = replace(GRID, mask=SEA.reshape(-1)) if masked else GRID
    rows = summary(grid, state=state)
    factors = Factors.from_arrays(rows.leaf(Stretch("a", *whole(rows))))
    groups = [None] if rows.network.groups is None else range(len(factors.parts))
    assert len(factors.parts) == rows.groups == len(groups)
    for group, part in zip(groups, factors.parts, strict=True):
        expected = by_hand(rows, group)
        assert part.rows == len(expected)
        assert part.columns == rows.columns == expected.shape[1]
        np.testing.assert_allclose(
            part.triangle.T @ part.triangle, expected.T @ expected, rtol=1e-9, atol=1e-9
        )
    times = whole(rows)[1] - whole(rows)[0]
    assert factors.rows == times * (3 if masked else 4)


@given(
    length=st.integers(1, TIMES),
    state=st.sampled_from(list(SETTINGS)),
    noise=st.sampled_from([0.0, 0.3]),
    share=st.sampled_from([1.0, 0.6]),
    delays=st.integers(1, 3),
    target=st.sampled_from(["state", "increment"]),
)
@settings(max_examples=25)
def test_any_cut_of_time_gives_the_same_triangles(length, state, noise, share, delays, target):
    rows = summary(state=SETTINGS[state], noise=noise, share=share, delays=delays, target=target)
    first, last = whole(rows)
    expected = Factors.from_arrays(rows.leaf(Stretch("a", first, last)))
    merged = rows.leaf(Stretch("a", first, min(first + length, last)))
    for part in cut(last, length):
        start = max(part.start, first + length)
        if part.stop > start:
            merged = rows.merge(merged, rows.leaf(Stretch("a", start, part.stop)))
    found = Factors.from_arrays(merged)
    assert [part.rows for part in found.parts] == [part.rows for part in expected.parts]
    np.testing.assert_allclose(squares(found), squares(expected), rtol=1e-8, atol=1e-8)


@given(candidates=st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(list(SETTINGS)), st.sampled_from([0.0, 0.2]),
              st.sampled_from([(0, 0), (1, 1)])), min_size=1, max_size=3))  # fmt: skip
@settings(max_examples=15)
def test_rows_that_share_a_read_are_those_of_each_alone(candidates):
    parts = tuple(
        summary(state={**SETTINGS[state], "halo": halo}, delays=delays, noise=noise)
        for delays, state, noise, halo in candidates
    )
    shared = SharedRows(parts)
    stretches = [Stretch("a", 2, 17), Stretch("a", 17, 30)]
    together = shared.merge(*map(shared.leaf, stretches))
    for index, alone in enumerate(parts):
        expected = alone.merge(*map(alone.leaf, stretches))
        found = Factors.from_arrays(together, shared.prefix(index)).arrays()
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)


def test_states_are_read_once_for_all_candidates(monkeypatch):
    reads = []
    read = FieldStates.read

    def counted(self, start, stop):
        reads.append((start, stop))
        return read(self, start, stop)

    monkeypatch.setattr(FieldStates, "read", counted)
    shared = SharedRows((summary(delays=1), summary(delays=3, leads=(1, 2))))
    shared.leaf(Stretch("a", 5, 12))
    # Two earlier states for the one, three later ones for the other.
    assert reads == [(3, 15)]


def test_states_of_fields_are_what_the_layout_makes_of_them():
    climatology = Climatology(0, 0, np.full((1, GRID.size), 2.0), np.array([4.0, 0.5]))
    layout = LocalLayout(Scaling(GRID, climatology, area_weighted=False))
    values = np.random.default_rng(0).normal(size=(6, *GRID.shape))
    states = FieldStates(memory_fields(values, GRID), layout)
    assert states.size == GRID.size
    found = states.read(2, 5).reshape(3, 4, 6, 2)
    scaled = (values[2:5] - 2) / np.array([4.0, 0.5])[:, None, None]
    np.testing.assert_allclose(found, scaled.transpose(0, 2, 3, 1), rtol=1e-12)


OPTIONS = [{}, {"modulators": (0, 1)}, {"sampling": "centres", "noise": 0.1}]


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "seasonal", "centres"])
@pytest.mark.parametrize("state", ["shared", "own"])
def test_projected_memory_is_not_less_than_what_a_leaf_takes(state, options):
    grid = grid_of(latitudes(24, "between"), longitudes(48), NAMES)
    rows = summary(grid, state={**SETTINGS[state], "patch": (6, 12)}, width=40, **options)
    stretch = Stretch("a", *whole(rows))
    assert peak_of(lambda: rows.leaf(stretch)) <= rows.leaf_bytes(stretch)
    shared = SharedRows((rows, rows))
    assert peak_of(lambda: shared.leaf(stretch)) <= shared.leaf_bytes(stretch)
    leaf = rows.leaf(stretch)
    assert peak_of(lambda: rows.merge(leaf, leaf)) <= rows.merge_bytes()


def test_folds_merge_at_once_or_one_by_one():
    rows = summary()
    parts = [Factors.from_arrays(rows.leaf(Stretch("a", start, start + 8))) for start in (1, 9, 17)]
    found, expected = merge_factors(parts), parts[0].merge(parts[1]).merge(parts[2])
    for part, other in zip(found.parts, expected.parts, strict=True):
        assert part.rows == other.rows
    np.testing.assert_allclose(squares(found), squares(expected), rtol=1e-9, atol=1e-9)


def test_stored_states_are_those_of_the_array_however_large_and_are_not_sent(tmp_path, monkeypatch):
    summary = row_summary(tmp_path, 400)
    expected = zarr.open_array(summary.states.path, mode="r")[10:40, :2]
    for limit in (2**22, 0):
        monkeypatch.setattr(rows, "_SMALL_BYTES", limit)
        states = replace(summary.states, size=2)
        found = states.read(10, 40)
        np.testing.assert_array_equal(found, expected)
        found[:] = 0.0  # the caller may change what it has read
        np.testing.assert_array_equal(states.read(10, 40), expected)
        sent = pickle.dumps(states)
        assert len(sent) < 500
        np.testing.assert_array_equal(pickle.loads(sent).read(10, 40), expected)
