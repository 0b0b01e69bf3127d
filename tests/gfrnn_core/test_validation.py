"""Compare errors on folds left out with refits on all rows but those of the fold."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn_core import RFactor, merge_all
from gfrnn_core.validation import (
    FoldErrors,
    complements,
    contiguous_folds,
    fold_errors,
    left_out_weights,
)

cases = settings(max_examples=30)
RIDGES = [1e-6, 1e-3, 0.1, 3.0]


def problem(rows=90, features=6, targets=2, seed=0):
    """Return rows [features | targets]; the last feature matters least, as for nested widths."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, features))
    law = rng.standard_normal((features, targets)) * 0.3 ** np.arange(features)[:, None]
    return np.hstack([x, x @ law + 0.5 * rng.standard_normal((rows, targets))])


def factors(rows, cuts):
    return [RFactor.from_rows(part) for part in np.split(rows, cuts)]


def refit(x, y, ridge):
    """Solve the explicit normal equations, for features that are well conditioned."""
    strength = (ridge * np.linalg.norm(x, 2)) ** 2
    return np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ y)


def brute_force(rows, cuts, targets, widths, ridges):
    edges = [0, *cuts, len(rows)]
    x, y = rows[:, :-targets], rows[:, -targets:]
    squares = np.empty((len(edges) - 1, len(widths), len(ridges), targets))
    for fold, (start, stop) in enumerate(pairwise(edges)):
        kept = np.r_[0:start, stop : len(rows)]
        for i, width in enumerate(widths):
            for j, ridge in enumerate(ridges):
                outer = refit(x[kept, :width], y[kept], ridge)
                residual = x[start:stop, :width] @ outer - y[start:stop]
                squares[fold, i, j] = np.square(residual).sum(axis=0)
    return squares


def table(squares, rows, features=(1,), ridges=(0.1,)):
    """Return FoldErrors with values by hand."""
    return FoldErrors(
        np.array(squares, dtype=float), np.array(rows), np.array(features), np.array(ridges)
    )


# --- known answers ------------------------------------------------------------------------------


def test_leaving_out_one_row_each_of_a_mean():
    """With one constant feature, the fit is the mean of the other rows."""
    y = np.array([0.0, 3.0, 6.0])
    folds = factors(np.column_stack([np.ones(3), y]), [1, 2])
    errors = fold_errors(folds, 1)
    np.testing.assert_allclose(errors.squares[:, 0, 0, 0], [4.5**2, 0.0, 4.5**2], atol=1e-14)
    np.testing.assert_array_equal(errors.rows, [1, 1, 1])
    np.testing.assert_array_equal(errors.features, [1])
    np.testing.assert_array_equal(errors.ridges, [0.0])
    np.testing.assert_allclose(errors.mean(), [[13.5]])


def test_single_rows_left_out_are_the_press_residuals():
    """Allen's PRESS is the residual of the fit to all rows over one less the leverage."""
    rows = problem(rows=20, features=4, targets=2)
    x, y = rows[:, :4], rows[:, 4:]
    hat = x @ np.linalg.pinv(x)
    expected = np.square((y - hat @ y) / (1 - np.diag(hat))[:, None])
    errors = fold_errors(factors(rows, range(1, 20)), 2)
    np.testing.assert_allclose(errors.squares[:, 0, 0], expected, rtol=1e-9)


def test_a_law_without_noise_has_no_error():
    x = np.random.default_rng(1).standard_normal((40, 3))
    rows = np.hstack([x, x @ [[1.0], [-2.0], [0.5]]])
    errors = fold_errors(factors(rows, [10, 25]), 1, [3])
    assert errors.squares.max() < 1e-26
    for outer in left_out_weights(factors(rows, [10, 25]), 3, 1, 0.0):
        np.testing.assert_allclose(outer, [[1.0], [-2.0], [0.5]], rtol=1e-12)


def test_the_standard_error_of_equal_folds_is_that_of_their_means():
    means = np.array([1.0, 2.0, 4.0, 9.0])
    errors = table(5 * means.reshape(4, 1, 1, 1), [5] * 4)
    np.testing.assert_allclose(errors.mean(), [[4.0]])
    np.testing.assert_allclose(errors.standard_error(), [[means.std(ddof=1) / 2]])


def test_the_standard_error_of_unequal_folds():
    """Two folds of 2 and 6 rows have the sums 4 and 4: mean 1, departures +2 and -2."""
    errors = table(np.full((2, 1, 1, 1), 4.0), [2, 6])
    np.testing.assert_allclose(errors.mean(), [[1.0]])
    np.testing.assert_allclose(errors.standard_error(), [[np.sqrt(2 * 8) / 8]])
    alike = table(np.array([2.0, 6.0]).reshape(2, 1, 1, 1), [2, 6])
    np.testing.assert_allclose(alike.standard_error(), [[0.0]])


def test_the_one_standard_error_rule_by_hand():
    """Widths are 8, 2, 4 with three ridges; the least mean is 10 with a standard error of 1."""
    means = np.array([[10.0, 10.5, 14.0], [13.0, 12.0, 11.5], [10.9, 11.5, 10.95]])
    spread = np.array([-1.0, 1.0])[:, None, None, None]  # departures of two folds: error 1
    errors = table(means[None, ..., None] + spread, [1, 1], (8, 2, 4), (0.1, 1.0, 0.01))
    np.testing.assert_allclose(errors.standard_error(), np.ones((3, 3)))
    assert errors.best() == (8, 0.1)
    assert errors.best(one_standard_error=True) == (4, 0.1)  # and not (8, 1.0)
    steady = table(means[None, ..., None] + 0.3 * spread, [1, 1], (8, 2, 4), (0.1, 1.0, 0.01))
    assert steady.best(one_standard_error=True) == (8, 0.1)


def test_weights_say_which_targets_count():
    """Target 0 is fitted best with the first ridge, target 1 with the second."""
    squares = np.array([[[[1.0, 9.0], [2.0, 4.0]]]] * 2)
    errors = table(squares, [1, 1], (3,), (0.1, 0.2))
    np.testing.assert_allclose(errors.mean(), [[5.0, 3.0]])
    np.testing.assert_allclose(errors.mean(np.eye(2)), squares[0])
    np.testing.assert_allclose(errors.mean([1.0, 0.5]), [[5.5, 4.0]])
    assert errors.standard_error(np.eye(2)).shape == (1, 2, 2)
    assert errors.best([1, 0]) == (3, 0.1)
    assert errors.best([0, 1]) == (3, 0.2)


# --- all folds, widths, ridges and targets ------------------------------------------------------


@pytest.mark.parametrize("cuts", [[45], [10, 35, 60], [1, 2, 80], list(range(10, 90, 10))])
def test_errors_are_those_of_refits_without_each_fold(cuts):
    rows = problem(targets=3)
    errors = fold_errors(factors(rows, cuts), 3, [6, 2, 4], RIDGES)
    expected = brute_force(rows, cuts, 3, [6, 2, 4], RIDGES)
    assert errors.squares.shape == (len(cuts) + 1, 3, 4, 3)
    np.testing.assert_allclose(errors.squares, expected, rtol=1e-8)
    mean = expected.sum(axis=0) / 90
    np.testing.assert_allclose(errors.mean(), mean.mean(axis=-1), rtol=1e-8)
    width, ridge = np.unravel_index(mean.mean(axis=-1).argmin(), (3, 4))
    assert errors.best() == ([6, 2, 4][width], RIDGES[ridge])


@given(
    st.lists(st.integers(1, 59), min_size=1, max_size=8, unique=True),
    st.integers(1, 5),
    st.integers(1, 3),
    st.floats(1e-4, 10.0),
    st.integers(0, 2**32),
)
@cases
def test_any_cuts_shape_and_ridge(cuts, features, targets, ridge, seed):
    cuts = sorted(cuts)
    rows = problem(60, features, targets, seed)
    longest = np.diff([0, *cuts, 60]).max()
    if 60 - longest < features + 3:
        return
    errors = fold_errors(factors(rows, cuts), targets, [features], [ridge])
    expected = brute_force(rows, cuts, targets, [features], [ridge])
    np.testing.assert_allclose(errors.squares, expected, rtol=1e-5, atol=1e-9)


@given(st.permutations(range(5)), st.integers(0, 2**32))
@cases
def test_the_order_of_merging_does_not_matter(order, seed):
    folds = factors(problem(seed=seed), [20, 30, 55, 70])
    straight = fold_errors(folds, 2, [3, 6], RIDGES)
    turned = fold_errors([folds[k] for k in order], 2, [3, 6], RIDGES)
    np.testing.assert_allclose(turned.squares, straight.squares[list(order)], rtol=1e-9)
    np.testing.assert_array_equal(turned.rows, straight.rows[list(order)])
    np.testing.assert_allclose(turned.standard_error(), straight.standard_error(), rtol=1e-7)


@given(
    st.lists(st.integers(1, 89), max_size=12),
    st.integers(0, 2**32),
)
@cases
def test_how_a_fold_is_made_of_finer_blocks_does_not_matter(finer, seed):
    rows, cuts = problem(seed=seed), [30, 60]
    edges = sorted({*finer, *cuts})
    blocks = factors(rows, edges)
    grouped = [
        merge_all(blocks[k] for k in range(len(blocks)) if start <= [0, *edges][k] < stop)
        for start, stop in [(0, 30), (30, 60), (60, 90)]
    ]
    errors = fold_errors(grouped, 2, [6], RIDGES)
    expected = fold_errors(factors(rows, cuts), 2, [6], RIDGES)
    np.testing.assert_allclose(errors.squares, expected.squares, rtol=1e-9)
    np.testing.assert_array_equal(errors.rows, [30, 30, 30])


def test_complements_are_the_factors_of_all_other_rows():
    rows, cuts = problem(), [5, 40, 41, 70]
    parts = np.split(np.arange(90), cuts)
    others = list(complements(factors(rows, cuts)))
    for part, other in zip(parts, others, strict=True):
        expected = RFactor.from_rows(np.delete(rows, part, axis=0))
        assert other.rows == expected.rows
        np.testing.assert_allclose(other.triangle, expected.triangle, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("count", [2, 10, 40])
def test_merges_grow_with_the_number_of_folds_not_its_square(monkeypatch, count):
    folds = factors(problem(rows=80), range(80 // count, 80, 80 // count))
    merge, merges = RFactor.merge, []
    monkeypatch.setattr(RFactor, "merge", lambda a, b: merges.append(1) or merge(a, b))
    assert len(list(complements(folds))) == count
    assert len(merges) <= 3 * count


def test_weights_without_each_fold():
    rows, cuts = problem(), [30, 50]
    ridges = np.array([0.0, 0.2])
    found = list(left_out_weights(factors(rows, cuts), 4, 2, ridges))
    for part, outer in zip(np.split(np.arange(90), cuts), found, strict=True):
        kept = np.delete(rows, part, axis=0)
        for target, ridge in enumerate(ridges):
            expected = refit(kept[:, :4], kept[:, 6 + target], ridge)
            np.testing.assert_allclose(outer[:, target], expected, rtol=1e-9)


def test_validation_rejects_noise_features_that_the_fit_uses():
    """Features beyond the first two are pure noise, which the fit to all rows cannot detect."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((60, 30))
    rows = np.hstack([x, x[:, :2] @ [[1.0], [1.0]] + rng.standard_normal((60, 1))])
    errors = fold_errors(factors(rows, [12, 24, 36, 48]), 1, [2, 10, 30], [1e-6])
    mean = errors.mean()[:, 0]
    assert mean[0] < mean[1] < mean[2]
    assert errors.best() == (2, 1e-6)


# --- folds of blocks ----------------------------------------------------------------------------


def blocks_of(lengths):
    rows = problem(rows=sum(lengths))
    return factors(rows, np.cumsum(lengths)[:-1]), rows


@pytest.mark.parametrize(
    ("lengths", "count", "expected"),
    [
        ([5, 5, 5, 5], 2, [10, 10]),
        ([5, 5, 5, 5], 4, [5, 5, 5, 5]),
        ([1, 1, 1, 1, 8], 2, [4, 8]),
        ([30, 1, 1, 1], 3, [30, 1, 2]),
        ([1, 1, 1, 30], 3, [2, 1, 30]),
        ([1, 1, 30, 1, 1], 4, [2, 30, 1, 1]),
        ([3, 0, 3, 0], 2, [3, 3]),
        ([10, 10, 10, 10, 10], 2, [20, 30]),
    ],
)
def test_rows_of_contiguous_folds(lengths, count, expected):
    folds = contiguous_folds(blocks_of(lengths)[0], count)
    assert [fold.rows for fold in folds] == expected


@given(st.lists(st.integers(0, 40), min_size=2, max_size=25), st.data())
@cases
def test_contiguous_folds_hold_all_rows_in_order(lengths, data):
    filled = sum(length > 0 for length in lengths)
    if filled < 2:
        return
    count = data.draw(st.integers(2, filled))
    blocks, rows = blocks_of(lengths)
    folds = contiguous_folds(blocks, count)
    assert len(folds) == count
    stops = np.cumsum([fold.rows for fold in folds])
    assert set(stops) <= set(np.cumsum(lengths))
    for fold, part in zip(folds, np.split(rows, stops[:-1]), strict=True):
        assert fold.rows == len(part) > 0
        np.testing.assert_allclose(
            fold.triangle.T @ fold.triangle, part.T @ part, rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("count", [2, 3, 7])
def test_folds_of_many_equal_blocks_differ_by_one_block_at_most(count):
    folds = contiguous_folds(blocks_of([2] * 30)[0], count)
    rows = [fold.rows for fold in folds]
    assert max(rows) - min(rows) <= 2


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [-1, 0, 1, 4])
def test_numbers_of_folds_that_blocks_do_not_give(count):
    with pytest.raises(ValueError, match=f"count: {count} folds of 3 blocks"):
        contiguous_folds(blocks_of([4, 4, 0, 4])[0], count)


def test_a_width_beyond_the_rows_left():
    folds = factors(problem(rows=12), [4])
    with pytest.raises(
        ValueError, match="6 feature columns, but only 4 rows are left without fold 1"
    ):
        fold_errors(folds, 2, [3, 6])
    with pytest.raises(ValueError, match="5 feature columns, but only 4 rows"):
        next(left_out_weights(folds, 5, 2, 0.1))
    assert fold_errors(folds, 2, [4]).squares.shape == (2, 1, 1, 2)


@pytest.mark.parametrize("folds", [[], factors(problem(), [])])
def test_fewer_than_two_folds_are_refused(folds):
    with pytest.raises(ValueError, match=f"folds: {len(folds)} given"):
        fold_errors(folds, 2)
    with pytest.raises(ValueError, match=f"folds: {len(folds)} given"):
        next(complements(folds))


def test_folds_of_other_columns_or_without_rows_are_refused():
    folds = factors(problem(), [40])
    with pytest.raises(ValueError, match="number 2 has 7 columns, the first has 8"):
        fold_errors([*folds, RFactor.from_rows(np.ones((3, 7)))], 2)
    with pytest.raises(ValueError, match="number 1 has no rows"):
        fold_errors([folds[0], RFactor.empty(8), folds[1]], 2)


@pytest.mark.parametrize("targets", [0, -1, 8, 9])
def test_targets_that_are_not_among_the_columns(targets):
    with pytest.raises(ValueError, match=f"targets: {targets} of 8 columns; give 1 to 7"):
        fold_errors(factors(problem(), [40]), targets)


@pytest.mark.parametrize("width", [0, -1, 7])
def test_widths_that_are_not_among_the_columns(width):
    with pytest.raises(ValueError, match=f"features: {width} of 8 columns.*give 1 to 6"):
        fold_errors(factors(problem(), [40]), 2, [3, width])


@pytest.mark.parametrize("widths", [[], [2.5], [[1, 2]]])
def test_widths_that_are_not_integers_are_refused(widths):
    with pytest.raises(ValueError, match="features: .*; give one or more integers"):
        fold_errors(factors(problem(), [40]), 2, widths)


@pytest.mark.parametrize("ridges", [[-0.1], [0.1, np.nan], np.inf])
def test_invalid_ridges_are_refused(ridges):
    with pytest.raises(ValueError, match="ridge: .* is not a finite number of zero or more"):
        fold_errors(factors(problem(), [40]), 2, [6], ridges)


@pytest.mark.parametrize("ridges", [[], [[0.1]]])
def test_ridges_of_another_shape_are_refused(ridges):
    with pytest.raises(ValueError, match="ridge: shape .*; give one or more numbers"):
        fold_errors(factors(problem(), [40]), 2, [6], ridges)


@pytest.mark.parametrize("weights", [[1.0], 1.0, np.ones((3, 2)), np.ones((2, 1, 1))])
def test_weights_that_are_not_one_a_target(weights):
    errors = fold_errors(factors(problem(), [40]), 2)
    with pytest.raises(ValueError, match="weights: shape .* for 2 targets"):
        errors.mean(weights)


@pytest.mark.parametrize("weights", [[-1.0, 1.0], [np.nan, 1.0]])
def test_weights_that_are_negative_or_not_finite_are_refused(weights):
    with pytest.raises(ValueError, match="must be finite and not negative"):
        fold_errors(factors(problem(), [40]), 2).best(weights)


def test_a_choice_for_several_groups_at_once():
    with pytest.raises(ValueError, match="weights: 2 dimensions; .* call once for each group"):
        fold_errors(factors(problem(), [40]), 2).best(np.eye(2))
