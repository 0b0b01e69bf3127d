"""Test that sums over time are not thinned, and that states at a time are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import make, opened


def hourly(path: Path, name: str, units: str, **attrs: Any) -> Path:
    ds = make(48, "1h")[["t2m"]]
    ds[name] = (ds["t2m"].dims, np.full(ds["t2m"].shape, 1e-3, "f4"), {"units": units, **attrs})
    ds.to_netcdf(path)
    return path


@pytest.mark.parametrize(
    ("name", "units", "attrs"),
    [
        ("tp", "m", {}),
        ("ssrd", "J m**-2", {}),
        ("new", "kg m-2", {"cell_methods": "time: sum"}),
        ("mtpr", "kg m-2 s-1", {"GRIB_stepType": "accum"}),
    ],
)
def test_sums_are_not_thinned(tmp_path: Path, name: str, units: str, attrs: dict[str, str]) -> None:
    path = hourly(tmp_path / "a.nc", name, units, **attrs)
    assert opened(path).sizes["time"] == 48
    assert opened(path, step="1h").sizes["time"] == 48
    with pytest.raises(DataError, match=r"data\.step: 6h keeps 8 of 48 times, but .* is a sum"):
        opened(path, step="6h")
    assert opened(path, step="6h", allow=["thinned"]).sizes["time"] == 8
    assert opened(path, step="6h", variables={"2m_temperature": None}).sizes["time"] == 8


@pytest.mark.parametrize(
    ("name", "units", "attrs"),
    [
        ("u10", "m s-1", {}),
        ("tp", "m", {"GRIB_stepType": "instant"}),
        ("new", "kg m-2", {"cell_methods": "time: mean"}),
    ],
)
def test_other_values_may_be_thinned(
    tmp_path: Path, name: str, units: str, attrs: dict[str, str]
) -> None:
    path = hourly(tmp_path / "a.nc", name, units, **attrs)
    assert opened(path, step="6h").sizes["time"] == 8
