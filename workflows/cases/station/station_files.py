"""Files with hourly weather of two stations: find, read and check them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gfrnn.pipeline.data.files.local_files import data_folders
from gfrnn.pipeline.errors import DataError

TEMPERATURE = "temperature"

HOUR = pd.Timedelta(hours=1)

_SENTINEL = -9999.0


@dataclass(frozen=True)
class StationArchive:
    """Contents and source of a station's file.

    Attributes
    ----------
    title : str
        Name of the station.
    unit : str
        Unit of the temperature.
    source : str
        Place where the file is published.
    time_format : str
        Format of the times, see :meth:`datetime.datetime.strptime`.
    columns : mapping of str to str
        Names of variables by columns of the file.
    member : str, optional
        Name of the file inside a zip archive.
    """

    title: str
    unit: str
    source: str
    time_format: str
    columns: dict[str, str]
    member: str | None = None


ARCHIVES = {
    "wth": StationArchive(
        title="WTH",
        unit="°F",
        source="data/WTH.csv of github.com/jesusgf96/NP_RNNs (producer: NOAA)",
        time_format="%m/%d/%Y %H:%M",
        columns={
            "DryBulbFarenheit": TEMPERATURE,
            "DewPointFarenheit": "dew_point",
            "StationPressure": "pressure",
            "RelativeHumidity": "humidity",
            "Visibility": "visibility",
            "WindSpeed": "wind_speed",
            "WindDirection": "wind_direction",
        },
    ),
    "jena": StationArchive(
        title="Jena",
        unit="°C",
        source=(
            "dataset/weather-20250125T094528Z-001.zip of github.com/Aojiang-code/ConvTimeNet "
            "(producer: Max Planck Institute for Biogeochemistry)"
        ),
        time_format="%Y-%m-%d %H:%M:%S",
        # Headings of other columns are damaged in the file (characters of their units).
        columns={
            "T (degC)": TEMPERATURE,
            "Tdew (degC)": "dew_point",
            "p (mbar)": "pressure",
            "rh (%)": "humidity",
            "VPdef (mbar)": "vapour_pressure_deficit",
            "wv (m/s)": "wind_speed",
            "wd (deg)": "wind_direction",
        },
        member="weather/weather.csv",
    ),
}
"""Files by name of the station."""


def read_station(name: str, path: str, key: str) -> pd.DataFrame:
    """Read hourly values of a station.

    Parameters
    ----------
    name : str
        Key of ``ARCHIVES``.
    path : str
        Relative paths are searched in the folders of
        :func:`gfrnn.pipeline.data.files.local_files.data_folders`.
    key : str
        Key of the settings that holds the path, for messages.

    Returns
    -------
    DataFrame
        One row for each full hour from the first to the last of the file, one column for each
        variable, with two components of the wind instead of its direction. Hours without a row and
        values of -9999 are NaN.

    Raises
    ------
    DataError
        If the file does not exist or cannot be read, a column is missing, a value or time cannot
        be parsed, or two rows of the same time differ.
    """
    archive = ARCHIVES[name]
    file = _find(path, key, archive)
    table = _read(file, archive)
    missing = [column for column in ("date", *archive.columns) if column not in table]
    if missing:
        raise DataError(
            f"{file}: column {missing[0]!r} is missing; found "
            f"{', '.join(map(str, table.columns))}; "
            f"use the file as published: {archive.source}"
        )
    try:
        time = pd.to_datetime(table["date"], format=archive.time_format)
        values = table[list(archive.columns)].astype(float)
    except ValueError as error:
        raise DataError(f"{file}: {error}; use the file as published: {archive.source}") from error
    values = values.rename(columns=archive.columns).set_index(pd.DatetimeIndex(time, name="time"))
    values = _unique(values.mask(values == _SENTINEL).sort_index(), file)
    hours = pd.date_range(values.index[0].ceil("h"), values.index[-1].floor("h"), freq=HOUR)
    return _with_components(values.reindex(hours))


def _find(path: str, key: str, archive: StationArchive) -> Path:
    wanted = Path(path).expanduser()
    folders = data_folders(wanted)
    for folder in folders:
        if (folder / wanted).is_file():
            return folder / wanted
    looked = ", ".join(str((folder / wanted).parent.resolve()) for folder in folders)
    raise DataError(
        f"{key}: {path} not found; looked in {looked}. Download {archive.source} to there, or "
        f"set the environment variable GFRNN_DATA to the folder that holds {path}"
    )


def _read(file: Path, archive: StationArchive) -> pd.DataFrame:
    try:
        if archive.member is None:
            return pd.read_csv(file, encoding_errors="replace")
        with zipfile.ZipFile(file) as bundle, bundle.open(archive.member) as stream:
            return pd.read_csv(stream, encoding_errors="replace")
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        what = str(error.args[0] if error.args else error)
        raise DataError(
            f"{file}: cannot be read ({what}); use the file as published: {archive.source}"
        ) from error


def _unique(values: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Remove repeated rows; refuse different rows of the same time."""
    twice = values.index.duplicated(keep=False)
    single = values[~values.reset_index().duplicated().to_numpy()]
    if single.index.has_duplicates:
        first = values.index[twice][0]
        raise DataError(f"{file}: rows of {first} differ; keep one of them")
    if single.empty:
        raise DataError(f"{file}: has no rows; download it again")
    return single


def _with_components(values: pd.DataFrame) -> pd.DataFrame:
    """Replace the direction, from which the wind blows, by components towards east and north."""
    angle = np.deg2rad(values["wind_direction"])
    parts: dict[str, Any] = {
        "wind_east": -values["wind_speed"] * np.sin(angle),
        "wind_north": -values["wind_speed"] * np.cos(angle),
    }
    return values.assign(**parts).drop(columns="wind_direction")
