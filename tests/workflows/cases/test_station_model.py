"""Rows, outer weights and errors of networks for a station."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.errors import ConfigError, DataError
from gfrnn.workflows.cases.station.station_fit import (
    forecast_changes,
    held_out,
    lead_error,
    read_hours,
    starting,
    train_linear,
)
from gfrnn.workflows.cases.station.station_model import (
    StationPredictors,
    balanced_path,
    build_rows,
    climatology,
    factorise,
    hidden_layer,
    solve,
)
from gfrnn.workflows.cases.station_case import CASE
from gfrnn.workflows.reproduce.settings_file import load_settings
from gfrnn_testing.archives import DATA, real
from gfrnn_testing.station_toys import linear_table


def test_rows_hold_lags_means_and_changes() -> None:
    hours = linear_table()
    predictors = StationPredictors((0, 2), (3,), decay=1.0, mean_weight=0.5, calendar_weight=2.0)
    train = np.arange(400) < 300
    rows = build_rows(hours, train, predictors, (1, 24))
    scaled = ((hours - hours[:300].mean()) / hours[:300].std(ddof=0)).to_numpy()
    np.testing.assert_allclose(rows.states[50, :3], scaled[50])
    np.testing.assert_allclose(rows.states[50, 3:6], scaled[48])
    np.testing.assert_allclose(rows.states[50, 6:9], scaled[48:51].mean(axis=0))
    np.testing.assert_allclose(rows.targets[50], scaled[[51, 74], 0] - scaled[50, 0])
    np.testing.assert_allclose(rows.weight_factors, [1] * 3 + [1 / 3] * 3 + [0.5] * 3 + [2] * 4)
    assert np.isnan(rows.targets[399]).all()
    assert np.isnan(rows.targets[390]).tolist() == [False, True]
    assert predictors.history == 2
    assert not rows.usable[:2].any()
    assert rows.usable[2:].all()


def test_a_linear_system_without_noise_is_forecast_exactly() -> None:
    hours = linear_table()
    train = np.arange(400) < 300
    rows = build_rows(hours, train, StationPredictors((0,), ()), (1, 24))
    hidden = hidden_layer(rows, 0, 1.0, 0)
    outer = solve(factorise(rows, hidden, starting(train, 24)), 0, [1e-12, 1e-12], [1.0, 1.0])
    found = forecast_changes(rows, hidden, outer, ~train)
    for column in (0, 1):
        assert lead_error(rows, ~train, found[:, column], column) < 1e-12


def test_error_of_no_change_is_that_of_persistence() -> None:
    hours = linear_table(seed=3)
    train = np.arange(400) < 300
    rows = build_rows(hours, train, StationPredictors((0,), ()), (1, 24))
    x = hours["temperature"].to_numpy()
    reach = x[:300].max() - x[:300].min()
    error = lead_error(rows, ~train, np.zeros(400), 1)
    assert error == pytest.approx(np.mean(((x[324:] - x[300:-24]) / reach) ** 2))


def test_errors_count_only_where_start_and_target_are_inside() -> None:
    rows = build_rows(linear_table(seed=3), np.ones(400, bool), StationPredictors((0,), ()), (24,))
    inside = (np.arange(400) >= 100) & (np.arange(400) < 130)
    changes = rows.targets[:, 0] + np.where(np.arange(400) < 106, 0.0, 1.0)
    assert lead_error(rows, inside, changes, 0) == 0
    assert lead_error(rows, inside, rows.targets[:, 0] + 1.0, 0) > 0


def test_climatology_finds_a_daily_wave_that_changes_over_the_year() -> None:
    time = pd.date_range("2001-01-01", "2002-12-31 23:00", freq="h")
    year = 2 * np.pi * (time.day_of_year - 1 + time.hour / 24) / 365
    day = 2 * np.pi * time.hour / 24
    wave = np.asarray(10 + 5 * np.cos(year) + (2 + np.sin(year)) * np.cos(day))
    noise = np.random.default_rng(0).normal(size=len(time))
    rows = build_rows(
        pd.DataFrame({"temperature": wave + noise}, time),
        np.ones(len(time), bool),
        StationPredictors((0,), ()),
        (1,),
    )
    train = np.arange(len(time)) < 365 * 24
    np.testing.assert_allclose(climatology(rows, wave, train, 1, 1), wave, atol=1e-9)


def test_balance_scales_the_ridge_of_hidden_features() -> None:
    hours = linear_table(seed=2)
    train = np.ones(400, bool)
    rows = build_rows(hours, train, StationPredictors((0, 1), ()), (1,))
    hidden = hidden_layer(rows, 15, 0.5, 0)
    factor = factorise(rows, hidden, train)
    balance, ridge = 0.1, 1e-2
    found = solve(factor, 15, [ridge], [balance])
    largest = balanced_path(factor, 15, 1, balance).singular_values[0]
    penalty = np.full(factor.columns - 1, (ridge * largest) ** 2)
    penalty[-15:] /= balance**2
    R = factor.triangle
    gram = R[:, :-1].T @ R[:, :-1] + np.diag(penalty)
    np.testing.assert_allclose(
        found[:, 0], np.linalg.solve(gram, R[:, :-1].T @ R[:, -1]), rtol=1e-6
    )


def test_leads_with_different_balances_are_solved_separately() -> None:
    rows = build_rows(
        linear_table(seed=2), np.ones(400, bool), StationPredictors((0,), ()), (1, 5, 24)
    )
    factor = factorise(rows, hidden_layer(rows, 9, 0.5, 0), np.ones(400, bool))
    ridges, balances = [1e-3, 1e-2, 1e-1], [1.0, 0.1, 1.0]
    together = solve(factor, 9, ridges, balances)
    for k in range(3):
        alone = solve(factor, 9, [ridges[k]] * 3, [balances[k]] * 3)
        np.testing.assert_allclose(together[:, k], alone[:, k])


@settings(max_examples=30)
@given(
    begin=st.integers(60, 300),
    length=st.integers(5, 60),
    lag=st.integers(0, 30),
    lead=st.integers(1, 30),
)
def test_no_row_of_a_fit_touches_the_period_held_out(
    begin: int, length: int, lag: int, lead: int
) -> None:
    hours = linear_table()
    period = Period(start=hours.index[begin], end=hours.index[begin + length])
    predictors = StationPredictors((0, lag), (7,))
    leads = (1, lead + 1)
    rows = build_rows(hours, np.ones(400, bool), predictors, leads)
    [(fit, inside)] = held_out(rows, np.ones(400, bool), [period], predictors.history)
    assert inside.sum() == length + 1
    # Rows that the fit uses, and all rows that have predictors and targets.
    places, every = np.flatnonzero(fit), np.arange(predictors.history, 400 - max(leads))
    offsets = [*range(-predictors.history, 1), *leads]
    touched = {place + offset for place in places for offset in offsets}
    assert touched.isdisjoint(np.flatnonzero(inside))
    apart = every[(every < begin - max(leads)) | (every > begin + length + predictors.history)]
    assert set(apart) <= set(places)


def test_test_hours_do_not_change_what_is_trained() -> None:
    hours = linear_table(seed=4)
    train = np.arange(400) < 300
    other = hours.copy()
    other.iloc[300:] += 50.0
    predictors = StationPredictors((0, 3), (24,))
    weights = []
    for each in (hours, other):
        rows = build_rows(each, train, predictors, (1, 24))
        hidden = hidden_layer(rows, 10, 0.3, 0)
        weights.append(
            solve(factorise(rows, hidden, starting(train, 24)), 10, [1e-2] * 2, [1.0] * 2)
        )
    np.testing.assert_array_equal(weights[0], weights[1])


def test_rows_with_missing_values_are_neither_fitted_nor_forecast_from() -> None:
    hours = linear_table()
    hours.iloc[100, 1] = np.nan
    train = np.arange(400) < 300
    rows = build_rows(hours, train, StationPredictors((0, 2), ()), (1, 24))
    assert np.flatnonzero(~rows.usable).tolist() == [0, 1, 100, 102]
    hidden = hidden_layer(rows, 0, 1.0, 0)
    assert factorise(rows, hidden, starting(train, 24)).rows == 300 - 24 - 4
    found = forecast_changes(rows, hidden, np.ones((3 * 2 + 4 + 1 + 4 + 0, 2)), np.ones(400, bool))
    assert np.isnan(found[100]).all()
    assert np.isfinite(found[101]).all()


@real
def test_persistence_on_the_real_file() -> None:
    station = load_settings(CASE).settings.wth
    data = station.data.model_copy(update={"path": str(DATA / station.data.path)})
    hours = read_hours("wth", data)
    assert len(hours.table) == 35_064
    assert (hours.train.sum(), hours.test.sum()) == (33_600, 1_464)
    assert not hours.table.isna().to_numpy().any()
    rows = build_rows(hours.table, hours.train, StationPredictors((0,), ()), (1, 24, 48))
    errors = [lead_error(rows, hours.test, np.zeros(35_064), k) for k in range(3)]
    np.testing.assert_allclose(errors, [5.97e-4, 5.82e-3, 1.08e-2], rtol=5e-3)


@pytest.mark.slow
@real
def test_the_linear_model_on_the_real_file_beats_least_squares_on_the_present() -> None:
    station = load_settings(CASE).settings.wth
    data = station.data.model_copy(update={"path": str(DATA / station.data.path)})
    hours = read_hours("wth", data)
    predictors = station.network.linear_predictors
    rows = build_rows(hours.table, hours.train, predictors, (1, 24))
    hidden, outer = train_linear(rows, hours.train, data.validation, predictors.history)
    found = forecast_changes(rows, hidden, outer, hours.test)
    assert lead_error(rows, hours.test, found[:, 0], 0) < 5.64e-4
    assert lead_error(rows, hours.test, found[:, 1], 1) < 4.14e-3


def test_hours_that_do_not_reach_back_to_a_lag_are_not_usable() -> None:
    hours = linear_table()[:40]
    for lag in (39, 40, 50, 100):
        rows = build_rows(hours, np.ones(40, bool), StationPredictors((0, lag), ()), (1,))
        assert np.isnan(rows.states[:lag, 3:6]).all()
        assert rows.usable.sum() == max(40 - lag, 0)


def test_constant_variables_and_short_training_are_refused() -> None:
    hours = linear_table()
    with pytest.raises(DataError, match="other is constant"):
        build_rows(hours.assign(other=1.0), np.ones(400, bool), StationPredictors((0,), ()), (1,))
    rows = build_rows(hours, np.ones(400, bool), StationPredictors((0,), ()), (1,))
    with pytest.raises(ConfigError, match="feature columns, but only 399 hours"):
        factorise(rows, hidden_layer(rows, 500, 0.1, 0), np.ones(400, bool))
