"""Test that the experiment which ``gfrnn inspect --save`` writes can be planned and fitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml

from gfrnn.pipeline.config.data_config import DataConfig
from gfrnn.pipeline.config.experiment import parse_experiment
from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.data.inspection.audit import audit, check_sample
from gfrnn.pipeline.data.inspection.starting_experiment import (
    proposed_periods,
    starting_experiment,
)
from gfrnn.pipeline.errors import DataError
from gfrnn.pipeline.training.checks import check_fit, training_fields
from gfrnn.pipeline.training.stretches import climatology_cycles, known_times
from gfrnn_testing.archives import DATA, real
from gfrnn_testing.weather import make_weather


def saved(source: dict[str, Any]) -> str:
    """Return what ``gfrnn inspect --save`` writes."""
    ds = open_source(DataConfig(sources=[source]))
    return starting_experiment(ds, [source], "start", audit(ds))


def check(text: str) -> xr.Dataset:
    """Check all that a fit checks before it computes; return the data that are used."""
    experiment = parse_experiment(text)
    ds = open_source(experiment.data)
    check_fit(experiment, ds)
    training_fields(experiment, ds)
    time = ds["time"].values
    check_sample(ds, known_times(time, *(period for _, period in experiment.periods)))
    return ds


def test_what_cannot_be_forecast_is_left_out_and_named(tmp_path: Path) -> None:
    weather = make_weather(tmp_path / "weather.zarr", times=1200)
    ds = weather.ds.copy(deep=True)
    ds["land_sea_mask"] = xr.zeros_like(ds["mean_sea_level_pressure"])
    ds["land_sea_mask"][:, :2] = 1.0
    ds["land_sea_mask"].attrs["units"] = "1"
    ds["temperature"].loc[{"level": 850}] = 290.0
    ds["2m_temperature"] = ds["mean_sea_level_pressure"] * 1.0
    ds["2m_temperature"].attrs["units"] = "K"
    ds.to_netcdf(tmp_path / "a.nc")
    text = saved({"path": str(tmp_path / "a.nc")})
    assert "# land_sea_mask is left out: does not change in time" in text
    assert "# temperature_850 is left out: does not change in time" in text
    assert "# 2m_temperature is left out: " in text
    used = check(text)
    assert list(used.data_vars) == ["geopotential", "temperature", "mean_sea_level_pressure"]
    assert used["temperature"].attrs["levels"] == [500]
    ds[["land_sea_mask"]].to_netcdf(tmp_path / "b.nc")
    with pytest.raises(DataError, match="no variable can be trained on: land_sea_mask: does not"):
        saved({"path": str(tmp_path / "b.nc")})


@pytest.mark.parametrize("times", [60, 200, 550, 5000])
def test_widths_and_harmonics_follow_the_length_of_the_record(tmp_path: Path, times: int) -> None:
    path = make_weather(tmp_path / "weather.zarr", times=times, freq="6h").path
    text = saved({"path": str(path)})
    time = check(text)["time"].values
    experiment = parse_experiment(text)
    rows = int(experiment.periods.train.mask(time).sum())
    columns = experiment.model.width + experiment.state.delays * experiment.state.modes + 1
    assert columns < rows
    annual, _ = climatology_cycles(experiment, time)
    assert annual == (2 if times == 5000 else 0)


_SOURCES: list[dict[str, Any]] = [
    {"path": "derived_ncep1_iberia_daily_1961_2010/*.nc"},
    {"path": "era5_berlin_hourly_2017/*.nc"},
    {"path": "era5_danube_daily_2013/*.nc"},
    {"path": "era5_point_hourly_2019/*54-16*"},
    {"path": "erai_weur_daily_2000_2010/mslp_ei.nc"},
    {"path": "erai_weur_daily_2000_2010/t850_ei.nc", "level": 850},
    {"path": "erai_weur_daily_2000_2010/z500_ei.nc", "level": 500},
    {"path": "merra2_weur_hourly/*2005*"},
    {"path": "merra2_weur_hourly/*2015*"},
    {"path": "ncep1_air_6hourly_namerica_2013_2014_zarr2/air_temperature.zarr", "level": 995},
    {"path": "ncep1_hgt500_nh_monthly_1981_2010/*.nc"},
    {"path": "ncep1_iberia_daily_1958_2001/*.nc"},
    {"path": "pacific_sst_slp_monthly_1856_2014/slp.nc"},
    {"path": "pacific_sst_slp_monthly_1856_2014/sst.nc"},
    {"path": "traps/ersst*"},
    {"path": "traps/expver*"},
    {"path": "traps/gappy*"},
    {"path": "traps/newcds_valid*"},
    {"path": "traps/septembers*"},
]


@real
@pytest.mark.parametrize("source", _SOURCES, ids=lambda source: source["path"])
def test_what_is_saved_for_real_data_can_be_fitted(source: dict[str, Any]) -> None:
    text = saved({**source, "path": str(DATA / source["path"])})
    check(text)
    assert yaml.safe_load(text)["name"] == "start"


@real
@pytest.mark.parametrize(
    "path",
    [
        "small_global/ncep-r1_hgt.1960.nc",
        "small_global/ncep-r2_air.2m.gauss.1979.nc",
        "traps/newcds_pl*",
    ],
)
def test_real_data_of_few_times_have_no_experiment(path: str) -> None:
    with pytest.raises(DataError, match="times are too few: at least 60 are needed"):
        saved({"path": str(DATA / path)})


@real
def test_a_scrambled_grid_has_no_experiment() -> None:
    with pytest.raises(DataError, match="no variable can be trained on: geopotential_500: the gri"):
        saved({"path": str(DATA / "traps/scrambled_NCEP_Z500_2014export.nc"), "level": 500})


def days(first: str, last: str) -> np.ndarray:
    return np.arange(np.datetime64(first), np.datetime64(last) + 1).astype("datetime64[ns]")


@pytest.mark.parametrize(
    ("first", "last", "validation", "test"),
    [
        # Whole years from four on, an eighth of them each.
        ("2000-01-01", "2003-12-31", "2002-01-01 2002-12-31", "2003-01-01 2003-12-31"),
        ("1979-01-01", "2018-12-31", "2009-01-01 2013-12-31", "2014-01-01 2018-12-31"),
        # Years that are not complete are at the ends of training and test.
        ("1999-07-01", "2006-03-31", "2004-01-01 2004-12-31", "2005-01-01 2006-03-31"),
        # Shorter records: months, an eighth of the times each.
        ("2000-01-01", "2001-12-31", "2001-07-01 2001-09-30", "2001-10-01 2001-12-31"),
    ],
)
def test_periods_are_of_whole_years_where_there_are_some(first, last, validation, test):
    found = proposed_periods(days(first, last))
    assert found["train"][0] == first
    assert [" ".join(found[name]) for name in ("validation", "test")] == [validation, test]
    following = np.datetime64(found["train"][1]) + 1
    assert str(following) == found["validation"][0]
