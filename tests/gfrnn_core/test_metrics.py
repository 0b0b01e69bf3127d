"""Compare scores with values for trajectories of known error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfrnn_core.metrics import (
    forecast_error,
    kl_divergence,
    normalised_mse,
    power_spectrum,
    spectral_distance,
    valid_prediction_time,
)

LEADS = 6


def truth_and_forecast(errors):
    """Return a variable alternating +-1 (mean 0, standard deviation 1), and its sum with errors."""
    truth = np.resize([1.0, -1.0], len(errors))[:, None]
    return truth, truth + np.asarray(errors)[:, None]


def test_time_counts_leads_before_the_first_failure():
    truth, forecast = truth_and_forecast([0.1, 0.2, 0.39, 0.41, 0.1, 0.1])
    time = valid_prediction_time(forecast, truth, dt=0.5, lyapunov_exponent=2.0, threshold=0.4)
    assert time.shape == ()
    assert time == pytest.approx(3 * 0.5 * 2.0)


def test_failure_at_once_scores_zero_and_a_good_end_the_whole_length():
    truth, good = truth_and_forecast([0.1] * LEADS)
    _, bad = truth_and_forecast([9.0] + [0.0] * (LEADS - 1))
    times = valid_prediction_time([good, bad], [truth, truth], 0.1, 1.0, 0.3)
    np.testing.assert_allclose(times, [0.6, 0.0])


def test_starts_are_scored_alone_with_any_leading_axes():
    cases = [truth_and_forecast([0.0] * k + [1.0] * (LEADS - k)) for k in range(6)]
    truth = np.array([case[0] for case in cases]).reshape(2, 3, LEADS, 1)
    forecast = np.array([case[1] for case in cases]).reshape(2, 3, LEADS, 1)
    times = valid_prediction_time(forecast, truth, 1.0, 1.0, 0.5)
    np.testing.assert_allclose(times, [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_forecast_that_is_not_finite_has_failed_for_good(poison):
    truth, forecast = truth_and_forecast([0.0] * LEADS)
    forecast[2] = poison
    assert valid_prediction_time(forecast, truth, 1.0, 1.0, 0.3) == 2.0
    error = forecast_error(forecast, truth)
    assert np.isinf(error[2:]).all()
    assert (error[:2] == 0).all()


def test_one_bad_variable_of_many_is_a_failure():
    truth = np.random.default_rng(0).standard_normal((5, 40))
    forecast = truth.copy()
    forecast[3, 7] = np.nan
    assert valid_prediction_time(forecast, truth, 1.0, 1.0, 0.3) == 3.0
    assert np.isinf(forecast_error(forecast, truth)[3:]).all()


@pytest.mark.filterwarnings("error")
def test_overflow_is_an_infinite_error_without_a_warning():
    truth, forecast = truth_and_forecast([0.0, 0.0, 1e200, 1e300])
    for norm in ("nrmse", "nmse", "squared_relative"):
        assert valid_prediction_time(forecast, truth, 1.0, 1.0, 0.3, norm) == 2.0


def test_the_conventions_on_one_pair():
    truth = np.array([[3.0, 4.0]])
    forecast = np.array([[3.0, 5.0]])
    assert forecast_error(forecast, truth, "squared_relative") == pytest.approx(1 / 25)
    scale = [1.0, 2.0]
    assert forecast_error(forecast, truth, "nmse", scale) == pytest.approx((0 + 0.25) / 2)
    assert forecast_error(forecast, truth, "nrmse", scale) == pytest.approx(np.sqrt(0.125))


def test_only_the_squared_relative_error_depends_on_where_zero_lies():
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((3, 20, 4))
    forecast = truth + 0.1 * rng.standard_normal(truth.shape)
    for norm, same in (("nrmse", True), ("nmse", True), ("squared_relative", False)):
        a = forecast_error(forecast, truth, norm)
        b = forecast_error(forecast + 100, truth + 100, norm)
        assert np.allclose(a, b, rtol=1e-6) is same


def test_default_scale_is_the_truths_own_deviation_a_variable_at_a_time():
    rng = np.random.default_rng(2)
    truth = rng.standard_normal((4, 30, 3)) * [1.0, 1e3, 1e-3]
    forecast = truth + [1.0, 1e3, 1e-3]
    deviation = truth.reshape(-1, 3).std(axis=0)
    expected = np.sqrt(np.mean((np.array([1.0, 1e3, 1e-3]) / deviation) ** 2))
    np.testing.assert_allclose(forecast_error(forecast, truth), expected)


@given(
    st.lists(st.floats(0, 3), min_size=2, max_size=12),
    st.floats(0.05, 2),
    st.floats(0.05, 2),
)
def test_a_looser_threshold_never_shortens_the_time(errors, first, second):
    truth, forecast = truth_and_forecast(errors)
    low, high = sorted((first, second))
    times = [
        valid_prediction_time(forecast, truth, 0.1, 0.9, limit, scale=1.0) for limit in (low, high)
    ]
    assert times[0] <= times[1] <= 0.1 * 0.9 * len(errors) + 1e-12


@given(st.lists(st.floats(0, 3), min_size=2, max_size=12), st.floats(0.1, 2))
def test_nrmse_with_t_is_nmse_with_t_squared(errors, threshold):
    if any(abs(error - threshold) < 1e-9 for error in errors):
        return
    truth, forecast = truth_and_forecast(errors)
    a = valid_prediction_time(forecast, truth, 1.0, 1.0, threshold, "nrmse", 1.0)
    b = valid_prediction_time(forecast, truth, 1.0, 1.0, threshold**2, "nmse", 1.0)
    assert a == b


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"dt": 0.0}, "dt"),
        ({"dt": np.nan}, "dt"),
        ({"lyapunov_exponent": -1.0}, "lyapunov_exponent"),
        ({"threshold": 0.0}, "threshold"),
        ({"norm": "l1"}, "norm"),
        ({"scale": [1.0, 0.0]}, "scale"),
        ({"scale": [1.0, 1.0, 1.0]}, "scale"),
        ({"norm": "squared_relative", "scale": 1.0}, "scale"),
        ({"forecast": np.zeros((3, 2))}, "forecast"),
        ({"truth": np.full((4, 2), np.nan)}, "truth"),
        ({"forecast": np.zeros(4), "truth": np.zeros(4)}, "truth"),
        ({"truth": np.zeros((4, 2))}, "scale"),
    ],
)
def test_bad_arguments_are_named(change, name):
    truth = np.arange(8.0).reshape(4, 2)
    good = {
        "forecast": truth,
        "truth": truth,
        "dt": 1.0,
        "lyapunov_exponent": 1.0,
        "threshold": 0.3,
    }
    with pytest.raises(ValueError, match=f"^{name}: "):
        valid_prediction_time(**(good | change))


def test_forecasting_the_mean_has_a_normalised_error_of_one():
    truth = np.random.default_rng(3).standard_normal((50, 3)) * [1.0, 10.0, 0.1] + 5
    mean = np.broadcast_to(truth.mean(axis=0), truth.shape)
    assert normalised_mse(mean, truth) == pytest.approx(1.0)
    assert normalised_mse(truth, truth) == 0.0


def test_range_is_what_min_max_scaled_data_would_give():
    truth = np.array([[0.0, 10.0], [4.0, 30.0], [2.0, 20.0]])
    forecast = truth + [1.0, 5.0]
    expected = ((1 / 4) ** 2 + (5 / 20) ** 2) / 2
    assert normalised_mse(forecast, truth, "range") == pytest.approx(expected)
    assert normalised_mse(forecast, truth, scale=[2.0, 10.0]) == pytest.approx(0.25)
    assert normalised_mse(forecast, truth, scale=1.0) == pytest.approx((1 + 25) / 2)


def test_normalised_error_of_a_broken_forecast_is_infinite():
    assert normalised_mse([[1.0], [np.nan]], [[1.0], [2.0]]) == np.inf


def test_normalised_error_refuses_what_it_cannot_normalise():
    with pytest.raises(ValueError, match=r"^scale: .*variable 1"):
        normalised_mse(np.ones((3, 2)), [[1.0, 7.0], [2.0, 7.0], [3.0, 7.0]])
    with pytest.raises(ValueError, match="^normaliser: 'max'"):
        normalised_mse([[1.0]], [[1.0]], "max")


# --- the measures of long runs ----------------------------------------------------------------


@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_divergence_of_equal_samples_is_zero_and_of_others_not(size, seed):
    reference = np.random.default_rng(seed).standard_normal((60, size))
    assert kl_divergence(reference[::-1], reference, bins=4) == 0
    assert kl_divergence(reference + 1, reference, bins=4) > 0.01


def test_divergence_of_two_histograms_by_hand():
    # Counts 3 and 1 against 1 and 3; the top value is in the last bin, not outside.
    reference, samples = [[0.0], [0.1], [0.2], [1.0]], [[0.3], [0.9], [0.6], [0.51]]
    assert kl_divergence(samples, reference, 2, 1e-12) == pytest.approx(0.5 * np.log(3))
    p, q = np.array([4, 2]) / 6, np.array([2, 4]) / 6
    assert kl_divergence(samples, reference, 2, 1.0) == pytest.approx((p * np.log(p / q)).sum())


def test_divergence_counts_what_is_outside_and_what_is_empty():
    reference = [[0.0], [0.1], [0.9], [1.0]]
    samples = [[0.2], [-7.0], [-8.0], [5.0]]
    # Below, two bins, above: 0 2 2 0 against 2 1 0 1, and a half on each.
    p, q = np.array([0.5, 2.5, 2.5, 0.5]) / 6, np.array([2.5, 1.5, 0.5, 1.5]) / 6
    assert kl_divergence(samples, reference, 2) == pytest.approx((p * np.log(p / q)).sum())


def test_divergence_is_of_the_joint_measure_and_does_not_count_empty_cells_of_both():
    # The same margins, on the two diagonals of a square.
    reference, samples = [[0.0, 0.0], [1.0, 1.0]] * 3, [[0.0, 1.0], [1.0, 0.0]] * 3
    p, q = np.array([3.5, 3.5, 0.5, 0.5]) / 8, np.array([0.5, 0.5, 3.5, 3.5]) / 8
    expected = (p * np.log(p / q)).sum()
    assert kl_divergence(samples, reference, 2) == pytest.approx(expected)
    assert kl_divergence(samples, reference, 50) == pytest.approx(expected)
    many = np.tile(reference, (1, 40)), np.tile(samples, (1, 40))
    assert kl_divergence(many[1], many[0], 50) == pytest.approx(expected)


def test_divergence_of_normal_samples_is_that_of_their_densities():
    rng = np.random.default_rng(0)
    narrow, shifted, wide = rng.standard_normal((3, 1000, 100, 1))
    shifted, wide = shifted + 1, 1.3 * wide
    assert kl_divergence(shifted, narrow, 60) == pytest.approx(0.5, abs=0.03)
    forward = np.log(1.3) + 0.5 / 1.3**2 - 0.5
    assert kl_divergence(wide, narrow, 60) == pytest.approx(forward, abs=0.004)
    # The other way round, and with another number of samples.
    backward = 0.5 * 1.3**2 - 0.5 - np.log(1.3)
    assert kl_divergence(narrow[:500], wide, 60) == pytest.approx(backward, abs=0.008)


def test_divergence_of_a_broken_run_is_infinite():
    assert kl_divergence([[np.nan], [1.0]], [[0.0], [1.0]]) == np.inf


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"samples": np.zeros((3, 1))}, "samples"),
        ({"samples": np.zeros((0, 2))}, "samples"),
        ({"reference": np.zeros(3)}, "reference"),
        ({"reference": [[0.0, 1.0], [2.0, 1.0]]}, "reference: variable 1"),
        ({"reference": [[0.0, np.inf], [2.0, 1.0]]}, "reference"),
        ({"bins": 0}, "bins"),
        ({"pseudocount": 0.0}, "pseudocount"),
    ],
)
def test_bad_histograms_are_named(change, name):
    good = {"samples": np.eye(2), "reference": np.eye(2)}
    with pytest.raises(ValueError, match=f"^{name}"):
        kl_divergence(**(good | change))


def waves(*frequencies, dt=0.5, times=1024):
    """Return a sine for each variable, of amplitude sqrt(2) and so of variance 1."""
    return 2**0.5 * np.sin(2 * np.pi * np.outer(np.arange(times) * dt, frequencies))


def test_spectrum_of_a_sine_is_a_line_of_its_variance():
    path = np.stack([waves(0.125, 0.5), waves(0.125, 0.5) + 100])
    frequency, density = power_spectrum(path, dt=0.5, segment=128)
    assert frequency.shape == (65,)
    assert density.shape == (65, 2)
    assert frequency[-1] == pytest.approx(1.0)
    np.testing.assert_allclose(frequency[density.argmax(axis=0)], [0.125, 0.5])
    np.testing.assert_allclose(density.sum(axis=0) * frequency[1], 1.0, rtol=1e-2)
    # A window of Hann spreads a line over three frequencies and no more.
    assert np.sort(density[:, 0])[-4] < 1e-6 * density[:, 0].max()


def test_distance_of_spectra_sees_shapes_only():
    truth = waves(0.125, 0.5)
    assert spectral_distance(7 * truth[::-1] + 3, truth, 128) == pytest.approx(0, abs=1e-6)
    assert spectral_distance(waves(0.25, 0.75), truth, 128) == pytest.approx(1, abs=1e-3)
    # One of two variables right; half of the variance right: sqrt(1 - sqrt(1/2)).
    assert spectral_distance(waves(0.125, 0.75), truth, 128) == pytest.approx(0.5, abs=1e-3)
    half = waves(0.125) + waves(0.5)
    expected = np.sqrt(1 - np.sqrt(0.5))
    assert spectral_distance(half, waves(0.125), 128) == pytest.approx(expected, abs=1e-3)


def test_a_run_at_rest_or_broken_has_the_largest_distance():
    truth = waves(0.125)
    assert spectral_distance(np.full((300, 1), 0.1), truth, 128) == 1
    assert spectral_distance(np.full((300, 1), np.nan), truth, 128) == 1


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"truth": np.zeros((300, 1))}, "truth: variable 0"),
        ({"truth": np.full((300, 1), np.nan)}, "path"),
        ({"forecast": waves(0.1, 0.2)}, "forecast"),
        ({"forecast": waves(0.1, times=100)}, "segment"),
        ({"segment": 1}, "segment"),
    ],
)
def test_bad_spectra_are_named(change, name):
    good = {"forecast": waves(0.1), "truth": waves(0.1)}
    with pytest.raises(ValueError, match=f"^{name}"):
        spectral_distance(**(good | change))
    with pytest.raises(ValueError, match="^dt: "):
        power_spectrum(waves(0.1), 0.0)


@pytest.mark.parametrize("score", [forecast_error, normalised_mse, spectral_distance])
def test_a_variable_that_never_varies_is_refused_though_its_deviation_is_rounded(score):
    truth = np.stack([np.sin(np.arange(1000.0)), np.full(1000, 0.1)], axis=1)
    assert truth[:, 1].std() > 0  # by rounding
    with pytest.raises(ValueError, match=r"variable 1.*never varies|truth never varies"):
        score(truth + 0.01, truth)


def test_a_variable_that_varies_in_no_segment_is_refused():
    truth = np.zeros((600, 1))
    truth[-1] = 1.0  # beyond the last whole segment
    with pytest.raises(ValueError, match="variable 0 never varies"):
        spectral_distance(truth, truth)
