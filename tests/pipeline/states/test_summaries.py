"""Compare merged climatology, EOFs, states and rows with numpy on all data at once."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.errors import DataError
from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn.pipeline.reduction.tree import Stretch, Summary
from gfrnn.pipeline.states import eof_states
from gfrnn.pipeline.states.climatology import Climatology, ClimatologySummary, Scaling
from gfrnn.pipeline.states.eof_states import EofSummary
from gfrnn.pipeline.states.harmonics import harmonics
from gfrnn.pipeline.states.state_summary import StateSummary
from gfrnn.pipeline.training.triangles import Factors
from gfrnn_core import RFactor
from gfrnn_core.regression_rows import delayed
from gfrnn_testing.reduction_toys import (
    cut,
    fields_of,
    random_fields,
    row_pieces,
    row_summary,
)

cases = settings(max_examples=15)


def reduced(summary: Summary, length: int, times: int, start: int = 0) -> Arrays:
    pieces = [
        Stretch("a", max(p.start, start), p.stop) for p in cut(times, length) if p.stop > start
    ]
    return reduce_stretches(summary, pieces, key="k")["a"]


# --- climatology --------------------------------------------------------------------------------


def wave_fields(
    noise: float, orthogonal: bool = False
) -> tuple[ClimatologySummary, np.ndarray, np.ndarray]:
    """Return 2.5 years of exact harmonics in every cell, with noise."""
    rng = np.random.default_rng(0)
    time = pd.date_range("2003-02-01", periods=3700, freq="6h").to_numpy()
    coefficients = rng.standard_normal((1 + 4 + 2, 3 * 4 * 5))
    coefficients[0] += 280
    design = harmonics(time, 2, 1)
    deviations = noise * rng.standard_normal((3700, 60))
    if orthogonal:
        deviations -= design @ np.linalg.lstsq(design, deviations, rcond=None)[0]
    values = design @ coefficients + deviations
    fields = fields_of(values.reshape(3700, 3, 4, 5), time)
    return ClimatologySummary(fields, 2, 1), coefficients, deviations


@pytest.mark.parametrize("length", [3700, 400, 30])
def test_exact_harmonics_are_recovered_exactly(length):
    summary, coefficients, deviations = wave_fields(0.5, orthogonal=True)
    climatology = summary.finish(reduced(summary, length, 3700))
    np.testing.assert_allclose(climatology.coefficients, coefficients, atol=1e-9)
    time = summary.fields.time[100:105]
    np.testing.assert_allclose(
        climatology(time), summary.fields.read(100, 105) - deviations[100:105], rtol=1e-11
    )


def test_a_channel_that_is_all_climatology_is_refused():
    summary, _, _ = wave_fields(0.0)
    root = reduced(summary, 400, 3700)
    with pytest.raises(DataError, match="mean_sea_level_pressure: does not vary"):
        summary.finish(root)


@pytest.mark.parametrize("length", [3700, 611, 12])
def test_climatology_is_least_squares_on_all_times(length):
    summary, _, _ = wave_fields(1.0)
    root = reduced(summary, length, 3700)
    climatology = summary.finish(root)
    values = summary.fields.read(0, 3700)
    design = harmonics(summary.fields.time, 2, 1)
    expected = np.linalg.lstsq(design, values, rcond=None)[0]
    np.testing.assert_allclose(climatology.coefficients, expected, rtol=1e-9, atol=1e-10)
    left = np.square(values - design @ expected).reshape(3700, 3, 4, 5).mean(axis=0)
    area = summary.fields.grid.area[:, None]
    weighted = (left * area).sum(axis=(1, 2)) / (area.sum() * 5)
    np.testing.assert_allclose(climatology.std, np.sqrt(weighted), rtol=1e-9)
    assert int(root["rows"]) == 3700


def test_less_than_a_year_has_a_climatology_too():
    """Harmonics that the data do not distinguish get the coefficients of least norm."""
    summary, _, _ = wave_fields(0.1)
    climatology = summary.finish(reduced(summary, 3, 40))  # leaves shorter than the terms
    found = climatology(summary.fields.time[:40]) - summary.fields.read(0, 40)
    assert np.sqrt(np.square(found).mean()) < 0.1


# --- EOFs ---------------------------------------------------------------------------------------


def scaled_anomalies(summary: EofSummary, times: int) -> np.ndarray:
    return summary.scaling.scaled_anomalies(
        summary.fields.read(0, times), summary.fields.time[:times]
    )


def summary_of(times: int, rank: int, patterns: int | None) -> EofSummary:
    fields = random_fields(times, rank=patterns)
    mean = fields.read(0, times).mean(axis=0, keepdims=True)
    climatology = Climatology(0, 0, mean, np.array([300.0, 4.0, 6.0]))
    return EofSummary(fields, Scaling(fields.grid, climatology), rank)


@pytest.mark.parametrize("length", [150, 40, 3])
def test_eofs_are_the_svd_of_the_whole(length):
    """Eight patterns and their mean have rank 9, so that a rank of ten truncates nothing."""
    summary = summary_of(150, rank=10, patterns=8)
    layout, states = summary.finish(reduced(summary, length, 150), 5)
    matrix = scaled_anomalies(summary, 150)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    np.testing.assert_allclose(layout.singular_values, values[:5], rtol=1e-9)
    signs = np.sign(np.sum(layout.vectors * right[:5], axis=1))
    np.testing.assert_allclose(layout.vectors, signs[:, None] * right[:5], atol=1e-8)
    np.testing.assert_allclose(
        states * layout.state_scale, signs * left[:, :5] * values[:5], atol=1e-7
    )
    assert layout.times == 150
    np.testing.assert_allclose(layout.total, np.square(matrix).sum())
    np.testing.assert_allclose(
        layout.variance_kept, np.square(values[:5]).sum() / np.square(values).sum()
    )


@pytest.mark.parametrize("length", [150, 40, 3])
def test_states_from_left_factors_are_the_projection(length):
    summary = summary_of(150, rank=10, patterns=8)
    layout, states = summary.finish(reduced(summary, length, 150), 6)
    projected = layout.encode(summary.fields.read(0, 150), summary.fields.time)
    np.testing.assert_allclose(states, projected, atol=1e-8)
    # The unit is the standard deviation of the first component.
    np.testing.assert_allclose(np.square(states[:, 0]).mean(), 1.0)
    np.testing.assert_allclose(states.T @ states, np.diag(np.diag(states.T @ states)), atol=1e-8)


def test_a_rank_too_small_for_the_data_keeps_most_of_it():
    """White noise is the worst case: 24 of 90 dimensions remain in leaves and merges."""
    summary = summary_of(400, rank=24, patterns=None)
    root = reduced(summary, 50, 400)
    assert root["left"].shape == (400, 24)
    assert root["right"].shape == (24, 90)
    layout, _ = summary.finish(root, 12)
    best = np.linalg.svd(scaled_anomalies(summary, 400), compute_uv=False)[:12]
    assert (layout.singular_values <= best * (1 + 1e-12)).all()
    assert np.square(layout.singular_values).sum() > 0.8 * np.square(best).sum()
    np.testing.assert_allclose(layout.vectors @ layout.vectors.T, np.eye(12), atol=1e-12)


@pytest.mark.parametrize("patterns", [None, 8])
def test_eofs_from_products_of_rows_are_those_of_the_svd(monkeypatch, patterns):
    """Patterns that are fewer than the rank leave values of zero, for which products do not do."""
    summary, found = summary_of(150, rank=20, patterns=patterns), []
    products = eof_states._SQUARED
    for share in (products, np.inf):
        monkeypatch.setattr(eof_states, "_SQUARED", share)
        found.append(summary.finish(reduced(summary, 50, 150), 6)[0])
    for layout in found:
        np.testing.assert_allclose(layout.vectors @ layout.vectors.T, np.eye(6), atol=1e-12)
    ours, theirs = found
    np.testing.assert_allclose(ours.singular_values, theirs.singular_values, rtol=1e-11)
    np.testing.assert_allclose(abs((ours.vectors * theirs.vectors).sum(1)), 1, rtol=1e-11)


@pytest.mark.parametrize("patterns", [None, 8])
def test_a_leaf_of_more_times_than_values_takes_no_square_of_its_times(patterns):
    """A few cells of an hourly series have years of times in a leaf."""
    summary, stretch = summary_of(3000, rank=20, patterns=patterns), Stretch("a", 0, 3000)
    summary.leaf(stretch)
    fields = 8 * 3000 * summary.fields.grid.size
    assert summary.leaf_bytes(stretch) < 4 * fields
    tracemalloc.start()
    summary.leaf(stretch)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert fields < peak <= 1.05 * summary.leaf_bytes(stretch)


def test_truncated_parts_are_not_kept_in_memory():
    """Factors are copies: a view would keep the truncated part in memory until the merge."""
    summary = summary_of(60, rank=4, patterns=None)
    for part in (summary.leaf(Stretch("a", 0, 60)), reduced(summary, 20, 60)):
        for name in ("left", "values", "right"):
            array = part[name]
            assert array.base is None or array.base.nbytes == array.nbytes, name


# --- states -------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [60, 13, 1])
def test_states_come_in_the_order_of_their_times(length):
    svd = summary_of(60, rank=10, patterns=8)
    layout, states = svd.finish(reduced(svd, 20, 60), 6)
    root = reduced(StateSummary(svd.fields, layout), length, 60, start=9)
    np.testing.assert_allclose(root["states"], states[9:], atol=1e-8)


def factor_of(arrays):
    (factor,) = Factors.from_arrays(arrays).parts
    return factor


# --- rows ---------------------------------------------------------------------------------------


@cases
@given(st.integers(1, 3), st.integers(1, 3), st.integers(7, 100), st.booleans())
def test_rows_are_those_of_the_full_matrix(tmp_path_factory, delays, lead, length, increment):
    """The merged triangle equals that of the full matrix ``[h | 1 | psi | phi | y]``."""
    folder = tmp_path_factory.mktemp("rows")
    summary = row_summary(folder, 160, width=9, delays=delays)
    leads = tuple(sorted({1, lead}))
    network = replace(summary.network, leads=leads, target="increment" if increment else "state")
    summary = replace(summary, network=network)
    factor = factor_of(reduce_stretches(summary, row_pieces(summary, length), key="k")["a"])
    states = zarr.open_array(summary.states.path, mode="r")[...]
    present = np.arange(delays - 1, 160 - lead)
    linear = delayed(states, delays, present[0], present[-1] + 1)
    hidden = network.hidden
    assert hidden is not None
    rows = [
        linear,
        np.ones((len(present), 1)),
        summary.forcing(summary.time[present + 1]),
        np.tanh(linear @ hidden.weights + hidden.biases),
        *(states[present + n] - increment * states[present] for n in leads),
    ]
    matrix = np.hstack(rows)
    expected = RFactor.from_rows(matrix)
    assert factor.rows == len(present)
    assert factor.columns == matrix.shape[1] == summary.columns
    np.testing.assert_allclose(
        factor.triangle.T @ factor.triangle, expected.triangle.T @ expected.triangle, atol=1e-9
    )


def test_only_the_leading_modes_are_used(tmp_path):
    wide = row_summary(tmp_path, 100, modes=5, width=4)
    narrow = replace(
        wide,
        states=replace(wide.states, size=2),
        network=wide.network.sample(np.zeros((1, 2 * 2))),
    )
    factor = factor_of(narrow.leaf(Stretch("a", 1, 99)))
    states = zarr.open_array(wide.states.path, mode="r")[:, :2]
    targets = factor.triangle[:, -2:]
    np.testing.assert_allclose(targets.T @ targets, states[2:].T @ states[2:])
    assert factor.columns == 2 * 2 + 1 + 2 + 4 + 2


def test_a_missing_state_never_reaches_a_factor(tmp_path):
    summary = row_summary(tmp_path, 100)
    zarr.open_array(summary.states.path, mode="r+")[50] = np.nan
    summary.leaf(Stretch("a", 1, 49))
    summary.leaf(Stretch("a", 52, 99))
    for start, stop in ((1, 50), (51, 99), (40, 60)):
        with pytest.raises(ValueError, match="is not finite"):
            summary.leaf(Stretch("a", start, stop))
