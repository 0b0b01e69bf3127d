"""Test area means, sums of weights in bins, and the messages about shapes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from gfrnn.pipeline.verification.statistics.area_means import (
    area_means,
    cell_blocks,
    check_fields,
    sums_in_bins,
)
from gfrnn_testing.ensembles import CELLS, make_case


def test_blocks_cover_all_cells_once():
    for cells, width in ((1, 1), (5000, 8), (2**20, 8 * 150), (300, 2**30)):
        edges = [(block.start, block.stop) for block in cell_blocks(cells, width)]
        assert (edges[0][0], edges[-1][1]) == (0, cells)
        assert all(before[1] == after[0] for before, after in pairwise(edges))
    assert list(cell_blocks(0, 8)) == []


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_area_means_are_plain_sums(kind):
    case = make_case()
    values = case.truth.astype(kind)
    found = area_means(values, case.weights)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, case.area_mean(values), rtol=1e-12, atol=1e-15)
    constant = area_means(np.full_like(case.truth, 7.0), case.weights)
    np.testing.assert_allclose(constant, 7.0, rtol=1e-14)


def test_sums_in_bins_are_those_of_a_loop():
    case = make_case()
    bins = np.random.default_rng(1).integers(4, size=case.truth.shape)
    expected = np.zeros((3, 2, 2, 4))
    for start, channel, cell in np.ndindex(bins.shape):
        place = bins[start, channel, cell]
        expected[start, :, channel, place] += case.weights[:, channel, cell]
    np.testing.assert_allclose(sums_in_bins(bins, 4, case.weights), expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("members", "truth", "weights", "message"),
    [
        ((3, 5, 2, 9), (3, 2, 9), (1, 2, 8), r"weights: found shape .*8.*regions, 2, 9"),
        ((3, 5, 2, 8), (3, 2, 9), (1, 2, 9), r"forecast: found shape .*8.*members.*9"),
        ((3, 0, 2, 9), (3, 2, 9), (1, 2, 9), "one member or more"),
        ((3, 2, 9), (3, 2, 9), (1, 2, 9), "forecast: found shape"),
        ((3, 5, 2, 9), (3, 9), (1, 2, 9), r"truth: found shape .*starts, channels, cells"),
    ],
)
def test_shapes_that_do_not_fit_are_named(members, truth, weights, message):
    with pytest.raises(ValueError, match=message):
        check_fields(np.ones(members), np.ones(truth), np.ones(weights), members=True)


def test_the_case_has_regions_that_sum_to_one():
    case = make_case()
    np.testing.assert_allclose(case.weights.sum(axis=-1), 1.0)
    assert case.members.shape == (3, 5, 2, CELLS)
