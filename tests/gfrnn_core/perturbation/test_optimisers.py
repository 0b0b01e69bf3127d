"""Compare steps of the optimisers with steps by hand."""

import numpy as np
import pytest

from gfrnn_core.perturbation.low_rank_products import LowRankProduct
from gfrnn_core.perturbation.optimisers import Adam, optimiser


def test_descent_by_hand():
    matrix = np.array([[1.0, 2.0]])
    optimiser("sgd", 0.1).step((matrix,), (np.array([[3.0, -1.0]]),))
    np.testing.assert_allclose(matrix, [[0.7, 2.1]])


def test_first_steps_of_adam_by_hand():
    # The first step is the rate times g / (|g| + 1e-8). After g = 1 and g = -2:
    # m = (0.9 * 0.1 - 0.2) / 0.19, v = (0.999 * 0.001 + 0.004) / 0.001999.
    matrix = np.array([[1.0, 1.0]])
    adam = optimiser("adam", 0.1)
    adam.step((matrix,), (np.array([[1.0, 3e-8]]),))
    np.testing.assert_allclose(matrix, [[0.9, 1 - 0.1 * 3 / 4]], rtol=1e-7)
    adam.step((matrix,), (np.array([[-2.0, 0.0]]),))
    mean, square = (0.09 - 0.2) / 0.19, (0.000999 + 0.004) / 0.001999
    assert matrix[0, 0] == pytest.approx(0.9 - 0.1 * mean / np.sqrt(square), rel=1e-7)


def test_adam_keeps_moments_of_each_matrix_and_forms_products():
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, 3)), rng.standard_normal((2, 4))
    together, alone = [np.zeros((3, 4)), np.zeros((2, 2))], np.zeros((3, 4))
    both, one = Adam(0.1), Adam(0.1)
    for number in range(4):
        product = LowRankProduct(left + number, right)
        both.step(tuple(together), (product, rng.standard_normal((2, 2))))
        one.step((alone,), (product.dense(),))
    np.testing.assert_array_equal(together[0], alone)
    assert together[1].any()


def test_precision_is_kept():
    for name in ("sgd", "adam"):
        matrix = np.ones((2, 2), np.float32)
        optimiser(name, 0.1).step((matrix,), (np.ones((2, 2), np.float32),))
        assert matrix.dtype == np.float32
        np.testing.assert_allclose(matrix, 0.9, rtol=1e-5)


def test_names_and_rates_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="optimiser: 'lbfgs' is not one of sgd, adam"):
        optimiser("lbfgs", 0.1)
    for rate in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"rate: {rate} is not a positive learning rate"):
            optimiser("sgd", rate)
