"""Files of stations: reading, missing values, and files that are refused."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gfrnn.pipeline.errors import DataError
from gfrnn.workflows.cases.station.station_files import ARCHIVES, read_station
from gfrnn.workflows.cases.station_case import CASE
from gfrnn.workflows.reproduce.settings_file import load_settings
from gfrnn_testing.archives import DATA, real
from gfrnn_testing.station_toys import wth_text


def test_wind_from_the_west_blows_towards_the_east(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = ["date," + ",".join(ARCHIVES["wth"].columns), "1/1/2010 0:00,1,1,1,1,1,3,270"]
    path.write_text("\n".join([*lines, "1/1/2010 1:00,1,1,1,1,1,2,180"]), encoding="utf-8")
    hours = read_station("wth", str(path), "data.path")
    np.testing.assert_allclose(hours[["wind_east", "wind_north"]], [[3, 0], [0, 2]], atol=1e-12)


@real
def test_the_jena_file_with_sentinels_repeated_rows_and_a_gap() -> None:
    path = DATA / load_settings(CASE).settings.jena.data.path
    hours = read_station("jena", str(path), "data.path")
    assert hours.index[0] == pd.Timestamp("2020-01-01 01:00")
    assert hours.index[-1] == pd.Timestamp("2021-01-01 00:00")
    assert len(hours) == 8_784
    missing = hours.index[hours.isna().any(axis=1)]
    # The gap; the sentinel of the wind was not at a full hour.
    assert missing.tolist() == [pd.Timestamp("2020-05-29 10:00"), pd.Timestamp("2020-05-29 11:00")]
    assert hours["wind_speed"].min() >= 0


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


def test_a_file_that_is_no_zip_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_text("no archive", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read .*zip"):
        read_station("jena", str(path), "data.path")
