"""Compare the measured error of float32 rows with the rows themselves."""

from dataclasses import replace

import numpy as np
import pytest

from gfrnn.pipeline.config.fit_config import FitConfig
from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.tree import Stretch
from gfrnn.pipeline.training.pass_costs import NO_READS, precision_cost
from gfrnn.pipeline.training.rows import RowSummary
from gfrnn.pipeline.training.selection.candidates import Candidate, FoldTriangle
from gfrnn.pipeline.training.selection.precision import PrecisionSample, mean_squared_errors
from gfrnn.pipeline.training.selection.ridge import FitRows, solve
from gfrnn.pipeline.training.triangles import Factors
from gfrnn_testing.reduction_toys import row_summary

TRAIN, VALIDATION = Stretch("train/2001", 1, 250), Stretch("validation/2002", 260, 399)
RIDGE, BALANCE, WIDTH = np.array([1e-3]), np.array([0.5]), 8


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> RowSummary:
    return row_summary(tmp_path_factory.mktemp("rows"), 400, width=12)


def squares(rows: RowSummary, solved, stretch: Stretch) -> float:
    """Return the mean squared error of one step over all rows, from the states themselves."""
    first, last = rows.reach(stretch)
    states = rows.states.read(first, last)
    predicted = solved.predict(states, rows.forcing(rows.time[first:last]))
    return float(np.square(predicted - states[solved.delays :]).sum(axis=1).mean())


def solved_with(rows: RowSummary, precision: str):
    network = replace(rows.network, precision=precision)
    factors = Factors.from_arrays(replace(rows, network=network).leaf(TRAIN))
    return solve(network, FitRows([factors]), size=3, width=WIDTH, ridge=RIDGE, balance=BALANCE)


def candidate(rows: RowSummary, checkpoints: Checkpoints) -> Candidate:
    arrays = rows.leaf(VALIDATION)
    checkpoints.save(rows.name, "key", arrays)
    count = int(arrays["rows"].sum())
    folds = {VALIDATION.fold: FoldTriangle("key", count)}
    return Candidate(
        values={},
        network=rows.network,
        size=3,
        summary=rows.name,
        folds=folds,
        variance=np.array([2.0]),
        truncated_variance=np.array([0.25]),
    )


def test_errors_from_a_triangle_are_those_of_its_rows(rows):
    solved = solved_with(rows, "float64")
    found = mean_squared_errors(solved, Factors.from_arrays(rows.leaf(VALIDATION)), 3)
    np.testing.assert_allclose(found, [squares(rows, solved, VALIDATION)], rtol=1e-10)


def test_both_precisions_are_measured_on_the_same_rows(tmp_path, rows):
    checkpoints = Checkpoints(tmp_path / "s")
    sample = PrecisionSample(rows, TRAIN, candidate(rows, checkpoints), WIDTH, RIDGE, BALANCE)
    found = sample.measure(checkpoints)
    assert found["rows"] == TRAIN.stop - TRAIN.start
    for precision in ("float32", "float64"):
        solved = replace(solved_with(rows, precision), precision="float64")
        expected = (squares(rows, solved, VALIDATION) + 0.25) / 2.0
        assert found[precision]["error"] == pytest.approx(expected, rel=1e-9)
        assert found[precision]["seconds"] > 0
    assert found["float32"]["error"] != found["float64"]["error"]


def test_a_leaf_of_fewer_rows_than_features_measures_nothing(tmp_path, rows):
    checkpoints = Checkpoints(tmp_path / "s")
    few = Stretch("train/2001", 1, candidate(rows, checkpoints).linear_features + WIDTH)
    sample = PrecisionSample(rows, few, candidate(rows, checkpoints), WIDTH, RIDGE, BALANCE)
    assert sample.measure(checkpoints) == {}
    enough = replace(sample, stretch=replace(few, stop=few.stop + 1))
    assert enough.measure(checkpoints)["rows"] == few.stop + 1 - few.start


def test_no_solving_is_planned_for_a_leaf_of_fewer_rows_than_features(rows):
    few, enough = (
        precision_cost([rows], [3], FitConfig(), Stretch("a", 0, count), NO_READS).subject
        for count in (rows.features - 1, rows.features)
    )
    assert (few.often, few.solves) == (1.0, 0.0)
    assert (enough.often, enough.solves) == (1.5, 2 * rows.features**3)
