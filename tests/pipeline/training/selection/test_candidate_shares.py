"""Test the shares of candidates in an average on errors that are given."""

import numpy as np

from gfrnn.pipeline.training.selection.ridge import candidate_shares


def test_the_best_at_each_lead_have_equal_shares():
    errors = np.array([[3.0, 1.0], [1.0, 2.0], [2.0, 3.0]])
    np.testing.assert_array_equal(candidate_shares(errors, 1), [[0, 1], [1, 0], [0, 0]])
    np.testing.assert_array_equal(candidate_shares(errors, 2), [[0, 0.5], [0.5, 0.5], [0.5, 0]])


def test_the_first_of_equal_models_stands_for_them():
    errors = np.array([[2.0, 4.0], [1.0, 3.0], [1.0, 3.0], [1.0, 5.0]])
    np.testing.assert_array_equal(
        candidate_shares(errors, 2), [[0, 0.5], [0.5, 0.5], [0, 0], [0.5, 0]]
    )
    third = 1 / 3  # there are three models only
    np.testing.assert_allclose(
        candidate_shares(errors, 4), [[third] * 2, [third] * 2, [0, 0], [third] * 2]
    )
