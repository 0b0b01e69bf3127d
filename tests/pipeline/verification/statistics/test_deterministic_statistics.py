"""Compare statistics of single forecasts with the library scores and with plain formulas."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.verification.statistics import area_means
from gfrnn.pipeline.verification.statistics import (
    deterministic_statistics as deterministic_module,
)
from gfrnn.pipeline.verification.statistics.deterministic_statistics import (
    DETERMINISTIC_STATISTICS,
    anomaly_correlation,
    deterministic_statistics,
)
from gfrnn_testing.ensembles import CELLS, make_case


def test_errors_are_those_of_the_library():
    case = make_case(mean=4.0)
    forecast = case.members[:, 0]
    found = deterministic_statistics(forecast, case.truth, case.weights)
    assert tuple(found) == DETERMINISTIC_STATISTICS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scores.continuous import additive_bias, mae, mse
    dims = ("time", "channel", "cell")
    pair = [xr.DataArray(each, dims=dims) for each in (forecast, case.truth)]
    for name, metric in {
        "error": additive_bias,
        "absolute_error": mae,
        "squared_error": mse,
    }.items():
        for region, weights in enumerate(case.weights):
            # Some versions of the library divide by the number of cells, others by the weights.
            even = xr.DataArray(weights * weights.shape[-1], dims=dims[1:])
            expected = metric(*pair, preserve_dims=("time", "channel"), weights=even)
            np.testing.assert_allclose(found[name][:, region], expected, rtol=1e-12, atol=1e-13)


def test_products_and_correlation_are_exact_sums():
    case = make_case()
    forecast = case.truth + 0.5 * case.members[:, 0]
    found = deterministic_statistics(forecast, case.truth, case.weights)
    for place in np.ndindex(3, 2, 2):
        start, region, channel = place
        w, f, t = (
            case.weights[region, channel],
            forecast[start, channel],
            case.truth[start, channel],
        )
        ff, tt, ft = (math.fsum(w * each) for each in (f * f, t * t, f * t))
        assert found["squared_forecast"][place] == pytest.approx(ff, rel=1e-13)
        assert found["squared_truth"][place] == pytest.approx(tt, rel=1e-13)
        assert found["product"][place] == pytest.approx(ft, rel=1e-12)
        expected = ft / math.sqrt(ff * tt)
        assert found["anomaly_correlation"][place] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("slope", "expected"), [(3.0, 1.0), (-0.1, -1.0), (0.0, 0.0)])
def test_correlation_of_multiples_of_the_truth(slope, expected):
    case = make_case()
    found = deterministic_statistics(slope * case.truth, case.truth, case.weights)
    np.testing.assert_allclose(found["anomaly_correlation"], expected, rtol=1e-14)
    assert (np.abs(found["anomaly_correlation"]) <= 1).all()


def test_correlation_of_means_ranges_over_all_maps():
    case = make_case()
    forecast = case.truth + case.members[:, 0]
    found = deterministic_statistics(forecast, case.truth, case.weights)
    means = [found[name].mean(axis=0) for name in ("product", "squared_forecast", "squared_truth")]
    own = np.sqrt(case.weights[0, 0])
    x, y = (forecast[:, 0] * own).ravel(), (case.truth[:, 0] * own).ravel()
    expected = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
    assert anomaly_correlation(*means)[0, 0] == pytest.approx(expected, rel=1e-13)


def test_correlation_neither_overflows_nor_vanishes():
    for size in (1e-200, 1e200):
        assert anomaly_correlation(*np.array([size, size, size])) == pytest.approx(1.0, rel=1e-14)


def test_blocks_do_not_change_results(monkeypatch):
    case = make_case()
    whole = deterministic_statistics(case.members[:, 0], case.truth, case.weights)
    monkeypatch.setattr(deterministic_module, "_BLOCK_BYTES", 2 * 16 * 2 * CELLS)
    starts = deterministic_statistics(case.members[:, 0], case.truth, case.weights)
    monkeypatch.setattr(area_means, "_LEAST_CELLS", 5)
    monkeypatch.setattr(area_means, "_BLOCK_BYTES", 1)
    parts = deterministic_statistics(case.members[:, 0], case.truth, case.weights)
    for name in DETERMINISTIC_STATISTICS:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(starts[name], whole[name], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("side", ["forecast", "truth"])
def test_a_value_that_is_not_finite_spoils_its_own_pair_only(side, value):
    case = make_case()
    pair = {"forecast": case.members[:, 0].copy(), "truth": case.truth.copy()}
    clean = deterministic_statistics(**pair, weights=case.weights)
    pair[side][1, 0, 40] = value
    found = deterministic_statistics(**pair, weights=case.weights)
    spoilt = np.zeros((3, 2, 2), dtype=bool)
    spoilt[1, :, 0] = True
    other = "squared_truth" if side == "forecast" else "squared_forecast"
    for name in DETERMINISTIC_STATISTICS:
        np.testing.assert_array_equal(found[name][~spoilt], clean[name][~spoilt])
        if name != other:
            assert not np.isfinite(found[name][spoilt]).any()


def test_inputs_are_not_changed():
    case = make_case()
    forecast, truth = case.members[:, 0].copy(), case.truth.copy()
    deterministic_statistics(forecast, truth, case.weights)
    np.testing.assert_array_equal(forecast, case.members[:, 0])
    np.testing.assert_array_equal(truth, case.truth)
