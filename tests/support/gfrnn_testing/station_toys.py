"""Synthetic hourly weather of stations."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gfrnn.workflows.cases.station.station_files import ARCHIVES


def linear_table(hours: int = 400, seed: int = 0) -> pd.DataFrame:
    """Return a damped linear system of two variables, and a third variable of noise."""
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
    """Return a synthetic file in the layout of WTH.csv: a daily and a slow wave with noise."""
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


def periodic_wth_table(hours: int = 900, seed: int = 0) -> pd.DataFrame:
    """Return the columns of WTH.csv with a daily wave.

    Two columns at the present determine the temperature an hour later exactly.
    """
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * np.arange(hours) / 24)
    return pd.DataFrame(
        {
            "date": pd.date_range("2010-01-01", periods=hours, freq="h").strftime("%m/%d/%Y %H:%M"),
            "DryBulbFarenheit": 50 + 20 * wave,
            "DewPointFarenheit": 40 + 20 * np.cos(2 * np.pi * np.arange(hours) / 24),
            "StationPressure": 29 + rng.normal(size=hours),
            "RelativeHumidity": 50 + rng.normal(size=hours),
            "Visibility": 10 + rng.normal(size=hours),
            "WindSpeed": rng.uniform(0, 10, hours),
            "WindDirection": rng.uniform(0, 360, hours),
        }
    )
