"""Small archives for tests of reading, and the folder of real archives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.data.dataset import open_source
from gfrnn_testing.paths import ROOT

DATA = Path(os.environ.get("GFRNN_DATA") or ROOT / "../shared/data")
real = pytest.mark.skipif(
    not DATA.is_dir(), reason="no real data: set GFRNN_DATA, or put them into ../shared/data"
)


def make(times: Any = 12, freq: str = "6h", start: str = "2001-01-01") -> xr.Dataset:
    """Return geopotential on two levels and t2m, in canonical order, all values different."""
    time = pd.date_range(start, periods=times, freq=freq)
    lat, lon, lev = (
        np.arange(40.0, 46.0, 1.5),
        np.arange(0.0, 360.0, 45.0),
        np.array([500.0, 850.0]),
    )
    size = (time.size, lev.size, lat.size, lon.size)
    hours = ((time - pd.Timestamp("2001-01-01")) / pd.Timedelta("1h")).values
    z = 5e4 + hours[:, None, None, None] + np.arange(np.prod(size[1:])).reshape(size[1:]) * 10.0
    t = 280 + hours[:, None, None] / 100 + np.arange(lat.size * lon.size).reshape(4, 8) / 10
    return xr.Dataset(
        {
            "z": (("time", "level", "latitude", "longitude"), z.astype("f4"), {"units": "m2 s-2"}),
            "t2m": (("time", "latitude", "longitude"), t.astype("f4"), {"units": "K"}),
        },
        {
            "time": time,
            "level": ("level", lev, {"units": "hPa"}),
            "latitude": lat,
            "longitude": lon,
        },
    )


def opened(*sources: Any, **data: Any) -> xr.Dataset:
    return open_source(
        DataConfig(sources=[s if isinstance(s, dict) else str(s) for s in sources], **data)
    )


def same(a: xr.Dataset, b: xr.Dataset) -> None:
    """Assert equal coordinates and values; attributes of files may differ."""
    xr.testing.assert_equal(a.compute(), b.compute())
