"""Test the case of one station: reading, rows, outer weights, and the case as a whole."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.errors import ConfigError, DataError
from gfrnn.pipeline.reduction.tasks import Advance
from gfrnn.workflows.cases.station.station_files import ARCHIVES, read_station
from gfrnn.workflows.cases.station.station_fit import (
    changes,
    held_out,
    lead_error,
    read_hours,
    starting,
    train_linear,
    validation_error,
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
from gfrnn.workflows.cases.station_case import (
    CASE,
    CLIMATOLOGY,
    OURS,
    PERSISTENCE,
    RIDGE,
    SINGLE,
    StationCaseSettings,
    run,
)
from gfrnn.workflows.reproduce.settings_file import load_settings, with_values
from gfrnn_testing.archives import DATA, real


def table(hours: int = 400, seed: int = 0) -> pd.DataFrame:
    """Return a damped linear system of two variables without noise, and a third variable."""
    rng = np.random.default_rng(seed)
    state = np.empty((hours, 2))
    state[0] = 3.0, -1.0
    turn = np.array([[0.96, 0.2], [-0.2, 0.96]])
    for t in range(1, hours):
        state[t] = turn @ state[t - 1] + (0.2 * rng.normal(size=2) if seed else 0)
    values = {
        "temperature": state[:, 0] + 10,
        "pressure": state[:, 1],
        "other": rng.normal(size=hours),
    }
    return pd.DataFrame(values, pd.date_range("2001-03-01", periods=hours, freq="h"))


def wth_text(hours: int = 1500, begin: str = "2001-01-01") -> str:
    """Return a synthetic file with the layout of WTH.csv: a daily and a slow wave with noise."""
    time = pd.date_range(begin, periods=hours, freq="h")
    rng = np.random.default_rng(1)
    t = np.arange(hours)
    values = pd.DataFrame({"date": time.strftime("%m/%d/%Y %H:%M")})
    slow = np.cumsum(rng.normal(size=hours)) * 0.3
    for index, column in enumerate(ARCHIVES["wth"].columns):
        daily = (5 + index) * np.cos(2 * np.pi * (t - index) / 24)
        values[column] = daily + slow + rng.normal(size=hours)
    values["WindSpeed"] = values["WindSpeed"].abs()
    return values.to_csv(index=False)


@pytest.fixture
def tiny(tmp_path: Path) -> StationCaseSettings:
    """Return the case on a synthetic file of two months."""
    path = tmp_path / "made-up.csv"
    path.write_text(wth_text(), encoding="utf-8")
    loaded = load_settings(CASE)
    keys: dict[str, Any] = {
        "networks": 2,
        "jena": None,
        "wth.data.path": str(path),
        "wth.data.train": ["2001-01-01", "2001-02-15"],
        "wth.data.validation": [["2001-01-20", "2001-01-31"]],
        "wth.data.test": ["2001-02-16", "2001-03-04"],
        "wth.network.width": 20,
        "wth.network.means": [24],
    }
    return with_values(CASE, loaded.values, keys, "test")


# Analytic answers


def test_rows_hold_lags_means_and_changes() -> None:
    hours = table()
    predictors = StationPredictors((0, 2), (3,), decay=1.0, mean_weight=0.5, calendar_weight=2.0)
    train = np.arange(400) < 300
    rows = build_rows(hours, train, predictors, (1, 24))
    scaled = ((hours - hours[:300].mean()) / hours[:300].std(ddof=0)).to_numpy()
    np.testing.assert_allclose(rows.states[50, :3], scaled[50])
    np.testing.assert_allclose(rows.states[50, 3:6], scaled[48])
    np.testing.assert_allclose(rows.states[50, 6:9], scaled[48:51].mean(axis=0))
    np.testing.assert_allclose(rows.targets[50], scaled[[51, 74], 0] - scaled[50, 0])
    np.testing.assert_allclose(rows.attention, [1] * 3 + [1 / 3] * 3 + [0.5] * 3 + [2] * 4)
    assert np.isnan(rows.targets[399]).all()
    assert np.isnan(rows.targets[390]).tolist() == [False, True]
    assert predictors.history == 2
    assert not rows.usable[:2].any()
    assert rows.usable[2:].all()


def test_a_linear_system_without_noise_is_forecast_exactly() -> None:
    hours = table()
    train = np.arange(400) < 300
    rows = build_rows(hours, train, StationPredictors((0,), ()), (1, 24))
    hidden = hidden_layer(rows, 0, 1.0, 0)
    outer = solve(factorise(rows, hidden, starting(train, 24)), 0, [1e-12, 1e-12], [1.0, 1.0])
    found = changes(rows, hidden, outer, ~train)
    for column in (0, 1):
        assert lead_error(rows, ~train, found[:, column], column) < 1e-12


def test_error_of_no_change_is_that_of_persistence() -> None:
    hours = table(seed=3)
    train = np.arange(400) < 300
    rows = build_rows(hours, train, StationPredictors((0,), ()), (1, 24))
    x = hours["temperature"].to_numpy()
    reach = x[:300].max() - x[:300].min()
    error = lead_error(rows, ~train, np.zeros(400), 1)
    assert error == pytest.approx(np.mean(((x[324:] - x[300:-24]) / reach) ** 2))


def test_errors_count_only_where_start_and_target_are_inside() -> None:
    rows = build_rows(table(seed=3), np.ones(400, bool), StationPredictors((0,), ()), (24,))
    inside = (np.arange(400) >= 100) & (np.arange(400) < 130)
    changes = rows.targets[:, 0] + np.where(np.arange(400) < 106, 0.0, 1.0)
    assert lead_error(rows, inside, changes, 0) == 0
    assert lead_error(rows, inside, rows.targets[:, 0] + 1.0, 0) > 0


def test_wind_from_the_west_blows_towards_the_east(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = ["date," + ",".join(ARCHIVES["wth"].columns), "1/1/2010 0:00,1,1,1,1,1,3,270"]
    path.write_text("\n".join([*lines, "1/1/2010 1:00,1,1,1,1,1,2,180"]), encoding="utf-8")
    hours = read_station("wth", str(path), "data.path")
    np.testing.assert_allclose(hours[["wind_east", "wind_north"]], [[3, 0], [0, 2]], atol=1e-12)


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


def test_balance_is_a_ridge_of_its_own_for_hidden_features() -> None:
    hours = table(seed=2)
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


def test_leads_with_a_balance_of_their_own_are_solved_alone() -> None:
    rows = build_rows(table(seed=2), np.ones(400, bool), StationPredictors((0,), ()), (1, 5, 24))
    factor = factorise(rows, hidden_layer(rows, 9, 0.5, 0), np.ones(400, bool))
    ridges, balances = [1e-3, 1e-2, 1e-1], [1.0, 0.1, 1.0]
    together = solve(factor, 9, ridges, balances)
    for k in range(3):
        alone = solve(factor, 9, [ridges[k]] * 3, [balances[k]] * 3)
        np.testing.assert_allclose(together[:, k], alone[:, k])


# Properties


@settings(max_examples=30, deadline=None)
@given(
    begin=st.integers(60, 300),
    length=st.integers(5, 60),
    lag=st.integers(0, 30),
    lead=st.integers(1, 30),
)
def test_no_row_of_a_fit_touches_the_period_held_out(
    begin: int, length: int, lag: int, lead: int
) -> None:
    hours = table()
    period = Period(start=hours.index[begin], end=hours.index[begin + length])
    predictors = StationPredictors((0, lag), (7,))
    leads = (1, lead + 1)
    rows = build_rows(hours, np.ones(400, bool), predictors, leads)
    [(fit, inside)] = held_out(rows, np.ones(400, bool), [period], predictors.history)
    assert inside.sum() == length + 1
    # Indices of all hours that the fit reads, then of those that may stay in it.
    places, every = np.flatnonzero(fit), np.arange(predictors.history, 400 - max(leads))
    offsets = [*range(-predictors.history, 1), *leads]
    touched = {place + offset for place in places for offset in offsets}
    assert touched.isdisjoint(np.flatnonzero(inside))
    apart = every[(every < begin - max(leads)) | (every > begin + length + predictors.history)]
    assert set(apart) <= set(places)


def test_test_hours_do_not_change_what_is_trained() -> None:
    hours = table(seed=4)
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


def test_holes_are_left_out_and_not_forecast_from() -> None:
    hours = table()
    hours.iloc[100, 1] = np.nan
    train = np.arange(400) < 300
    rows = build_rows(hours, train, StationPredictors((0, 2), ()), (1, 24))
    assert np.flatnonzero(~rows.usable).tolist() == [0, 1, 100, 102]
    hidden = hidden_layer(rows, 0, 1.0, 0)
    assert factorise(rows, hidden, starting(train, 24)).rows == 300 - 24 - 4
    found = changes(rows, hidden, np.ones((3 * 2 + 4 + 1 + 4 + 0, 2)), np.ones(400, bool))
    assert np.isnan(found[100]).all()
    assert np.isfinite(found[101]).all()


# The case as a whole


def test_case_on_synthetic_weather(tiny: StationCaseSettings) -> None:
    calls: list[Advance] = []
    result = run(tiny, [0, 1], calls.append)
    assert calls[-1] == Advance("networks", 4, 4)
    scores = {entry.name: entry.scores["wth-hour"] for entry in result.entries}
    assert len(scores[OURS]) == 2
    assert scores[OURS][0] != scores[OURS][1]
    assert scores[RIDGE][0] < scores[PERSISTENCE][0]
    assert scores[OURS][0] < scores[PERSISTENCE][0]
    # The mean of several is not much worse than a member, by convexity on average better.
    assert np.mean(scores[OURS]) < 1.05 * np.mean(scores[SINGLE])
    assert np.isfinite(scores[CLIMATOLOGY][0])
    assert run(tiny, [0, 1], lambda advance: None).entries[0].scores == result.entries[0].scores
    figure = Figure(layout="constrained")
    result.draw(figure)
    figure.savefig(io.BytesIO())
    assert [bar.value for bar in result.bars] == [3.99e-4, 2.56e-3, 4.9e-3]


def test_validation_never_sees_the_test_hours(tiny: StationCaseSettings, tmp_path: Path) -> None:
    before = CASE.validations["wth-hour"].measure(tiny, 0)
    text = pd.read_csv(tiny.wth.data.path)
    inside = pd.to_datetime(text["date"]) >= tiny.wth.data.test.start
    text.loc[inside, "DryBulbFarenheit"] += 30
    other = tmp_path / "other.csv"
    text.to_csv(other, index=False)
    data = tiny.wth.data.model_copy(update={"path": str(other)})
    changed = tiny.model_copy(update={"wth": tiny.wth.model_copy(update={"data": data})})
    assert CASE.validations["wth-hour"].measure(changed, 0) == before
    assert np.isfinite(CASE.validations["wth-network"].measure(tiny, 0))
    assert np.isnan(CASE.validations["jena-day"].measure(tiny, 0))


def test_validation_is_that_of_a_network_fitted_without_the_period(
    tiny: StationCaseSettings,
) -> None:
    station = tiny.wth
    hours = read_hours("wth", station.data)
    network = station.network
    rows = build_rows(hours.table, hours.train, network.predictors, station.leads.hours)
    hidden = hidden_layer(rows, network.width, network.scale, 3)
    [(fit, inside)] = held_out(
        rows, hours.train, station.data.validation, network.predictors.history
    )
    outer = solve(
        factorise(rows, hidden, fit), network.width, station.leads.ridges, station.leads.balances
    )
    found = changes(rows, hidden, outer, inside)
    assert validation_error("wth", station, "two_days", 3) == pytest.approx(
        lead_error(rows, inside, found[:, 2], 2)
    )


# Real data


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
def test_linear_model_on_the_real_file_beats_the_present_alone() -> None:
    station = load_settings(CASE).settings.wth
    data = station.data.model_copy(update={"path": str(DATA / station.data.path)})
    hours = read_hours("wth", data)
    predictors = station.network.linear_predictors
    rows = build_rows(hours.table, hours.train, predictors, (1, 24))
    hidden, outer = train_linear(rows, hours.train, data.validation, predictors.history)
    found = changes(rows, hidden, outer, hours.test)
    assert lead_error(rows, hours.test, found[:, 0], 0) < 5.64e-4
    assert lead_error(rows, hours.test, found[:, 1], 1) < 4.14e-3


@real
def test_the_jena_file_is_read_with_missing_values_repeated_rows_and_a_gap() -> None:
    path = DATA / load_settings(CASE).settings.jena.data.path
    hours = read_station("jena", str(path), "data.path")
    assert hours.index[0] == pd.Timestamp("2020-01-01 01:00")
    assert hours.index[-1] == pd.Timestamp("2021-01-01 00:00")
    assert len(hours) == 8_784
    missing = hours.index[hours.isna().any(axis=1)]
    # The gap; the sentinel of the wind was not at a full hour.
    assert missing.tolist() == [pd.Timestamp("2020-05-29 10:00"), pd.Timestamp("2020-05-29 11:00")]
    assert hours["wind_speed"].min() >= 0


# Faults


def write_jena(path: Path, rows: list[tuple[str, float]]) -> str:
    columns = list(ARCHIVES["jena"].columns)
    lines = [",".join(["date", *columns])]
    lines += [",".join([stamp, *[f"{value}"] * len(columns)]) for stamp, value in rows]
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("weather/weather.csv", "\r\n".join(lines))
    return str(path)


def test_sentinels_and_missing_hours_become_nan_and_equal_rows_one(tmp_path: Path) -> None:
    stamps = ["00:00", "00:10", "01:00", "01:00", "03:00"]
    values = [1.0, 9.0, 2.0, 2.0, -9999.0]
    rows = [(f"2020-01-01 {a}:00", b) for a, b in zip(stamps, values, strict=True)]
    hours = read_station("jena", write_jena(tmp_path / "a.zip", rows), "data.path")
    np.testing.assert_array_equal(hours["temperature"], [1.0, 2.0, np.nan, np.nan])


def test_rows_of_one_time_that_differ_are_refused(tmp_path: Path) -> None:
    rows = [("2020-01-01 00:00:00", 1.0), ("2020-01-01 00:00:00", 2.0)]
    with pytest.raises(DataError, match="2020-01-01 00:00:00 differ"):
        read_station("jena", write_jena(tmp_path / "a.zip", rows), "data.path")


def test_a_missing_file_is_named_with_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GFRNN_DATA", str(tmp_path / "data"))
    with pytest.raises(DataError, match="jena.data.path: .*looked in .*ConvTimeNet.*GFRNN_DATA"):
        read_station("jena", "nowhere/weather.zip", "jena.data.path")
    folder = tmp_path / "data" / "nowhere"
    folder.mkdir(parents=True)
    write_jena(folder / "weather.zip", [("2020-01-01 00:00:00", 1.0)])
    assert len(read_station("jena", "nowhere/weather.zip", "jena.data.path")) == 1


def test_all_files_are_checked_before_work_starts(tiny: StationCaseSettings) -> None:
    jena = load_settings(CASE).settings.jena
    data = jena.data.model_copy(update={"path": "/nowhere/at.zip"})
    both = tiny.model_copy(update={"jena": jena.model_copy(update={"data": data})})
    calls: list[Any] = []
    with pytest.raises(DataError, match=r"jena\.data\.path: /nowhere/at.zip not found"):
        run(both, [0], calls.append)
    assert calls == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace("DewPointFarenheit", "Dew"), "column 'DewPointFarenheit'"),
        (lambda text: text.replace("01/02/2001", "02.01.2001"), "as published"),
        (lambda text: text[: text.index("\n") + 1], "no rows"),
        (lambda text: text.splitlines()[0] + "\n01/01/2001 00:00" + ",much" * 7, "much"),
        (lambda text: "", "cannot be read"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, spoil: Any, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(spoil(wth_text(100)), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_station("wth", str(path), "data.path")


def test_a_file_that_is_not_a_zip_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_text("no archive", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read .*zip"):
        read_station("jena", str(path), "data.path")


def test_constant_variables_and_short_training_are_refused(tiny: StationCaseSettings) -> None:
    hours = table()
    with pytest.raises(DataError, match="other is constant"):
        build_rows(hours.assign(other=1.0), np.ones(400, bool), StationPredictors((0,), ()), (1,))
    rows = build_rows(hours, np.ones(400, bool), StationPredictors((0,), ()), (1,))
    with pytest.raises(ConfigError, match="feature columns, but only 399 hours"):
        factorise(rows, hidden_layer(rows, 500, 0.1, 0), np.ones(400, bool))


def test_periods_outside_the_file_or_in_the_wrong_order_are_refused(
    tiny: StationCaseSettings,
) -> None:
    data = tiny.wth.data
    late = Period(start=pd.Timestamp("2030-01-01"), end=pd.Timestamp("2030-02-01"))
    with pytest.raises(ConfigError, match=r"wth.data.test: no hour from 2030-01-01.*file holds"):
        read_hours("wth", data.model_copy(update={"test": late}))
    with pytest.raises(ConfigError, match="must come after"):
        read_hours("wth", data.model_copy(update={"test": data.train}))
