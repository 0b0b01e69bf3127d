"""Test that statistics of large ensembles take little memory beside their input."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from gfrnn.pipeline.verification.statistics.energy_score import energy_scores
from gfrnn.pipeline.verification.statistics.ensemble_statistics import ensemble_statistics
from gfrnn.pipeline.verification.statistics.event_table import event_table
from gfrnn.pipeline.verification.statistics.rank_histogram import rank_histogram


def peak(function: Callable[..., object], *arrays: np.ndarray) -> int:
    """Return the peak of the bytes that a call allocates."""
    tracemalloc.start()
    try:
        function(*arrays)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def events(members: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> object:
    return event_table(members, truth, np.zeros((2, members.shape[2], 1)), weights)


@pytest.mark.parametrize("function", [ensemble_statistics, energy_scores, rank_histogram, events])
def test_memory_does_not_grow_with_cells(function):
    rng = np.random.default_rng(0)
    found = []
    for cells in (60_000, 120_000):
        members = rng.standard_normal((1, 20, 1, cells), dtype=np.float32)
        weights = np.full((1, 1, cells), 1 / cells)
        found.append(peak(function, members, rng.standard_normal((1, 1, cells)), weights))
    # The input has 4.8 and 9.6 MB; the energy score keeps the places and weights of the cells.
    allowed = 2e6 if function is energy_scores else 4e5
    assert found[1] - found[0] < allowed
    assert found[0] < 8e6
