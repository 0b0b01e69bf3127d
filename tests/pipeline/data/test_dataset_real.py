"""Test that real archives are read correctly, or rejected with the reason."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.data.grid import channels
from gfrnn.pipeline.data.variables.names import QUANTITIES
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import DATA, opened, real

ERAI = [
    {"path": str(DATA / "erai_weur_daily_2000_2010/z500_ei.nc"), "level": 500},
    {"path": str(DATA / "erai_weur_daily_2000_2010/t850_ei.nc"), "level": 850},
    {"path": str(DATA / "erai_weur_daily_2000_2010/mslp_ei.nc")},
]


@real
def test_era_interim() -> None:
    ds = opened(*ERAI)
    assert [c.name for c in channels(ds)] == [
        "geopotential_500",
        "temperature_850",
        "mean_sea_level_pressure",
    ]
    assert dict(ds.sizes) == {"time": 4018, "level": 2, "latitude": 21, "longitude": 24}
    with xr.open_dataset(ERAI[2]["path"]) as raw:
        raw = raw.assign_coords(longitude=raw.longitude.astype(float) % 360)
        raw = raw.sortby(["latitude", "longitude"])
        np.testing.assert_array_equal(
            ds.mean_sea_level_pressure.values, raw.msl.values.astype("f4")
        )
    assert len(pickle.dumps(ds)) < 100_000


@real
@pytest.mark.parametrize(
    ("path", "names", "sizes"),
    [
        ("small_global/merra2*.nc4", ["geopotential_500", "geopotential_1000"], (8, 121, 576)),
        ("small_global/jra55*.nc", ["geopotential_500", "geopotential_1000"], (8, 57, 81)),
        ("small_global/20crv2c_hgt*", ["geopotential_950", "geopotential_1000"], (5, 91, 180)),
        ("small_global/era-interim*", ["geopotential_500", "geopotential_1000"], (4, 241, 480)),
        ("small_global/ncep-r2_air*", ["2m_temperature"], (21, 94, 192)),
        ("small_global/ncep-r2_hgt*", ["geopotential_1000"], (41, 73, 144)),
        ("merra2_weur_hourly/*2005*", ["U50M", "V50M"], (744, 7, 5)),
        ("traps/expver*", ["100m_u_component_of_wind", "100m_v_component_of_wind"], (514, 9, 21)),
        ("traps/newcds_valid*", ["total_column_water"], (8784, 7, 5)),
        (
            "ncep1_iberia_daily_1958_2001/*.nc",
            [
                "specific_humidity_850",
                "mean_sea_level_pressure",
                "temperature_850",
                "geopotential_500",
            ],
            (16071, 6, 9),
        ),
    ],
)
def test_real_files(path: str, names: list[str], sizes: tuple[int, ...]) -> None:
    ds = opened(DATA / path)
    assert sorted(c.name for c in channels(ds)) == sorted(names)
    known = [name for name in QUANTITIES if name in ds.data_vars]
    assert list(ds.data_vars) == known + sorted(set(ds.data_vars) - set(known))
    assert tuple(ds.sizes[d] for d in ("time", "latitude", "longitude")) == sizes
    assert (np.diff(ds.latitude) > 0).all()
    assert (np.diff(ds.longitude) > 0).all()
    assert ds.longitude[0] >= 0
    first = ds[channels(ds)[0].variable].isel(time=[0, -1])
    assert np.isfinite(
        first.sel(level=channels(ds)[0].level) if channels(ds)[0].level else first
    ).all()


@real
def test_weatherbench_names_with_longitude_first() -> None:
    path = DATA / "small_global/era5_tl31_19590102T00_wb2names.nc"
    ds = opened(path, variables={"temperature": [500, 850], "sea_surface_temperature": None})
    with xr.open_dataset(path) as raw:
        np.testing.assert_array_equal(
            ds.temperature.values[0],
            raw.temperature.sel(level=[500, 850]).transpose("level", "latitude", "longitude"),
        )
    assert ds.time.values[0] == np.datetime64("1959-01-02")


@real
def test_plymouth_yearly_files() -> None:
    path = str(DATA / "era5_plymouth_point_hourly_1994_2023/era5_199*.nc")
    with pytest.raises(
        DataError, match=r"tp \(total_precipitation\) has the unit 'm s-1'"
    ) as caught:
        opened(path)
    assert len(str(caught.value).splitlines()) == 2
    rename = {
        "tp": "mean_total_precipitation_rate",
        "ssr": "mean_surface_net_short_wave_radiation_flux",
    }
    ds = opened({"path": path, "rename": rename})
    assert dict(ds.sizes) == {"time": 52584, "latitude": 1, "longitude": 1}
    assert 250 < float(ds["2m_temperature"].isel(time=slice(0, 48)).mean()) < 300
    assert len(pickle.dumps(ds.drop_vars("time"))) < 30_000
    daily = opened({"path": path, "rename": rename}, step="1d")
    assert daily.sizes["time"] == 52584 // 24


@real
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("era5_cancities_daily_1990_1993/*.nc", "the grid is not regular"),
        ("era5_point_hourly_2019/*.nc", "have different latitudes: 54.25"),
        ("merra2_weur_hourly/*", "have different latitudes"),
        ("small_global/eraint_uvz.nc", "no time coordinate"),
        ("small_global/cera-20c*", "dimension number has 3 entries"),
        ("small_global/20crv2c_ensemble*", "dimension ensemble_member has 5 entries"),
        ("small_global/ncep-r1_air*", r"air \(temperature\) is a variable of pressure levels"),
        ("traps/era5_2022*", "no latitude"),
        ("traps/scrambled*", r"Z \(geopotential\) is a variable of pressure levels"),
        ("traps/storm_6h_partial_nan/Tstorm.cdf", r"its dimensions are timestep \(64\)"),
    ],
)
def test_real_files_that_are_refused(path: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(DATA / path)
