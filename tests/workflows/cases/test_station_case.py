"""The station case on a synthetic file: scores, validation, and periods that are refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from gfrnn.pipeline.config.section import Period
from gfrnn.pipeline.errors import ConfigError, DataError
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.workflows.cases.station.station_fit import (
    forecast_changes,
    held_out,
    lead_error,
    read_hours,
    validation_error,
)
from gfrnn.workflows.cases.station.station_methods import (
    CLIMATOLOGY,
    NETWORK_MEAN,
    ONE_NETWORK,
    PERSISTENCE,
    RIDGE_CALENDAR,
)
from gfrnn.workflows.cases.station.station_model import (
    build_rows,
    factorise,
    hidden_layer,
    solve,
)
from gfrnn.workflows.cases.station_case import CASE, StationCaseSettings, run
from gfrnn.workflows.reproduce.settings_file import load_settings, with_values
from gfrnn_testing.station_toys import wth_text


@pytest.fixture
def tiny(tmp_path: Path) -> StationCaseSettings:
    """Settings of the case on a synthetic file of two months."""
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


def test_scores_on_synthetic_weather(tiny: StationCaseSettings) -> None:
    calls: list[ProgressUpdate] = []
    result = run(tiny, [0, 1], calls.append)
    assert calls[-1] == ProgressUpdate("networks", 4, 4)
    scores = {entry.name: entry.scores["wth-hour"] for entry in result.entries}
    assert len(scores[NETWORK_MEAN]) == 2
    assert scores[NETWORK_MEAN][0] != scores[NETWORK_MEAN][1]
    assert scores[RIDGE_CALENDAR][0] < scores[PERSISTENCE][0]
    assert scores[NETWORK_MEAN][0] < scores[PERSISTENCE][0]
    # By convexity, the error of the mean is on average at most that of a member.
    assert np.mean(scores[NETWORK_MEAN]) < 1.05 * np.mean(scores[ONE_NETWORK])
    assert np.isfinite(scores[CLIMATOLOGY][0])
    assert run(tiny, [0, 1], lambda advance: None).entries[0].scores == result.entries[0].scores
    figure = Figure(layout="constrained")
    result.draw(figure)
    figure.savefig(io.BytesIO())
    assert [bar.value for bar in result.bars] == [3.99e-4, 2.56e-3, 4.9e-3]


def test_validation_does_not_use_test_hours(tiny: StationCaseSettings, tmp_path: Path) -> None:
    before = CASE.validations["wth-hour"].measure(tiny, 0)
    # Text of other hours stays as it is: numbers may change in their last digit when written again.
    text = pd.read_csv(tiny.wth.data.path, dtype=str)
    inside = pd.to_datetime(text["date"]) >= tiny.wth.data.test.start
    warmer = text.loc[inside, "DryBulbFarenheit"].astype(float) + 30
    text.loc[inside, "DryBulbFarenheit"] = warmer.astype(str)
    other = tmp_path / "other.csv"
    text.to_csv(other, index=False)
    data = tiny.wth.data.model_copy(update={"path": str(other)})
    changed = tiny.model_copy(update={"wth": tiny.wth.model_copy(update={"data": data})})
    assert CASE.validations["wth-hour"].measure(changed, 0) == before
    assert np.isfinite(CASE.validations["wth-network"].measure(tiny, 0))
    assert np.isnan(CASE.validations["jena-day"].measure(tiny, 0))


def test_the_validation_network_is_fitted_without_the_period(
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
    found = forecast_changes(rows, hidden, outer, inside)
    assert validation_error("wth", station, "two_days", 3) == pytest.approx(
        lead_error(rows, inside, found[:, 2], 2)
    )


def test_missing_files_are_found_before_work_starts(tiny: StationCaseSettings) -> None:
    jena = load_settings(CASE).settings.jena
    data = jena.data.model_copy(update={"path": "/nowhere/at.zip"})
    both = tiny.model_copy(update={"jena": jena.model_copy(update={"data": data})})
    calls: list[Any] = []
    with pytest.raises(DataError, match=r"jena\.data\.path: /nowhere/at.zip not found"):
        run(both, [0], calls.append)
    assert calls == []


def test_periods_outside_the_file_or_in_the_wrong_order_are_refused(
    tiny: StationCaseSettings,
) -> None:
    data = tiny.wth.data
    late = Period(start=pd.Timestamp("2030-01-01"), end=pd.Timestamp("2030-02-01"))
    with pytest.raises(ConfigError, match=r"wth.data.test: no hour from 2030-01-01.*file holds"):
        read_hours("wth", data.model_copy(update={"test": late}))
    with pytest.raises(ConfigError, match="must come after"):
        read_hours("wth", data.model_copy(update={"test": data.train}))
