"""Test the programs of the comparison on stations, on a synthetic file of two months."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gfrnn.workflows.benchmarks.peers.results import PeerResult
from gfrnn.workflows.benchmarks.peers.stations import station_programs
from gfrnn.workflows.benchmarks.peers.stations.comparisons import (
    FIVE,
    ONE,
    RIDGE,
    station_bars,
)
from gfrnn.workflows.benchmarks.peers.stations.station_programs import (
    CalendarRidge,
    GatedStation,
    NarrowStation,
    OwnStation,
)
from gfrnn.workflows.cases.station import station_fit
from gfrnn.workflows.cases.station.station_methods import RIDGE_CALENDAR, forecast_station
from gfrnn.workflows.cases.station.station_settings import StationSettings
from gfrnn.workflows.cases.station_case import CASE
from gfrnn.workflows.reproduce.settings_file import load_settings, with_values
from gfrnn_testing.station_toys import wth_text


@dataclass(frozen=True)
class Loaded:
    settings: Any


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Let the programs read a synthetic file; return the settings of the station."""
    path = tmp_path / "made-up.csv"
    path.write_text(wth_text(), encoding="utf-8")
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
    settings = with_values(CASE, load_settings(CASE).values, keys, "test")
    monkeypatch.setattr(station_programs, "load_settings", lambda *_, **__: Loaded(settings))
    return settings


def loaded(program, folder, **options):
    one = program(folder, False, station="wth", **options)
    one.load()
    return one


def test_errors_are_those_of_the_case(tiny, tmp_path):
    one = loaded(CalendarRidge, tmp_path)
    case = forecast_station("wth", one.station, one.hours, 1, [0], lambda: None)
    (expected,) = case.errors(RIDGE_CALENDAR)["wth-day"]
    found = one.score(one.forecast(one.fit({}, 0)))
    # The case also scores hours at which the network lacks a predictor; here there are none. Both
    # solve the same problem by other calls, so that the last digits may differ.
    assert found["nmse"] == pytest.approx(1e3 * expected, rel=1e-5)
    assert found["rmse"] == pytest.approx(np.sqrt(expected) * one.rows.extent, rel=1e-5)


def test_the_forecast_is_the_mean_of_networks(tiny, tmp_path):
    one = loaded(OwnStation, tmp_path)
    both = one.forecast(one.fit({"networks": 2}, 0))
    singles = [one.forecast(one.fit({"networks": 1}, seed)) for seed in (0, 1)]
    np.testing.assert_allclose(both, np.mean(singles, axis=0), rtol=1e-9)
    assert np.isfinite(one.score(both)["rmse"])


def test_the_narrow_network_is_the_narrowest_of_about_the_same_validation_error(
    tiny, tmp_path, monkeypatch
):
    one = loaded(NarrowStation, tmp_path)
    one.station = one._of_width(case := 1000)
    errors = {100: 1.2, 150: 1.02, 200: 1.009, 300: 0.9, case: 1.0}

    def error(_name: str, station: StationSettings, _lead: str, _seed: int) -> float:
        return errors[station.network.width]

    monkeypatch.setattr(station_programs, "validation_error", error)
    assert one.search() == {"width": 200}
    errors |= dict.fromkeys((100, 150, 200, 300), 1.1)
    assert one.search() == {"width": case}
    ((hidden, _),) = one.fit({"width": 7}, 0)
    assert hidden.width == 7


def test_the_search_of_the_narrow_network_uses_validation_periods(tiny, tmp_path):
    one = NarrowStation(tmp_path, True, station="wth")
    one.load()
    errors = []
    for _ in range(2):
        station_fit._folds.cache_clear()
        station_fit._paths.cache_clear()
        errors.append(station_programs.validation_error("wth", one.station, "day", 0))
        later = one.hours.table.loc[one.hours.test]
        one.hours.table.loc[one.hours.test] = later + np.arange(len(later))[:, None]
    assert errors[0] == errors[1]
    assert np.isfinite(one.score(one.forecast(one.fit(one.search(), 0)))["rmse"])


def test_missing_forecasts_are_refused(tiny, tmp_path):
    one = loaded(OwnStation, tmp_path)
    forecast = one.forecast(one.fit({"networks": 1}, 0))
    forecast[np.flatnonzero(np.isfinite(forecast))[5]] = np.nan
    with pytest.raises(ArithmeticError, match="a forecast of the test hours is missing"):
        one.score(forecast)


@pytest.mark.slow
def test_gated_networks_see_no_missing_value_and_no_test_hour(tiny, tmp_path):
    pytest.importorskip("torch")
    one = loaded(GatedStation, tmp_path, cell="GRU", window=24)
    one.hours.table.iloc[100, 1] = np.nan
    places = one._places(one.hours.train)
    assert not set(places) & set(range(100, 124))
    assert {99, 124} <= set(places)
    assert places.max() + one.lead <= np.flatnonzero(one.hours.train).max()
    windows = one._windows(places)
    assert np.isfinite(windows.inputs).all()
    assert np.isfinite(windows.targets).all()
    setting = one.search()
    assert setting["hidden"] in (32, 64, 96)
    assert np.isfinite(one.score(one.forecast(one.fit(setting, 0)))["rmse"])


def row(name: str, standing: str, rmse: float, seconds: float) -> PeerResult:
    return PeerResult(name, standing, errors={"rmse": rmse}, fit_seconds=seconds)


def test_bars_compare_with_the_best_of_the_others():
    rows = {
        FIVE: row(FIVE, "ours", 0.9, 5.0),
        ONE: row(ONE, "ours", 0.95, 1.0),
        "GRU": row("GRU", "peer", 1.2, 50.0),
        RIDGE: row(RIDGE, "reference", 1.0, 0.5),
    }
    found = {check.quantity: check.measured for check in station_bars(rows)}
    assert list(found.values()) == pytest.approx([0.9, 10, 0.95, 50])
    assert not list(station_bars({FIVE: rows[FIVE]}))
