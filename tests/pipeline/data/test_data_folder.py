"""Test that each file of the folder of real data is described, or refused with the reason.

A file of the folder that is in no row fails a test: add a row with what is expected of it.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import pytest

from gfrnn.pipeline.data.grid import channels
from gfrnn.pipeline.data.inspection.audit import audit
from gfrnn.pipeline.data.variables.names import QUANTITIES
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import DATA, opened, real

pytestmark = real


@dataclass(frozen=True)
class Outcome:
    """Expected result of opening a data set.

    Attributes
    ----------
    sources : list
        Paths below the folder of data, or mappings of the keys of a source.
    refused : str
        Pattern of the message, if the data are refused.
    sizes : tuple of int
        Times, latitudes and longitudes.
    names : list of str
        Channels.
    found : mapping of str to str
        Patterns of the findings of an audit, each with its severity.
    """

    sources: list[Any]
    refused: str = ""
    sizes: tuple[int, ...] = ()
    names: list[str] = field(default_factory=list)
    found: Mapping[str, str] = field(default_factory=dict)


SHORT = {"short record": "warning"}
GRIB = "" if find_spec("eccodes") else "a GRIB file, for which the package eccodes is needed"
MEMBERS = ["small_global/era5-levels-members.grib", "small_global/ERA5_levels.grib"]
IBERIA = "ncep1_iberia_daily_1958_2001"
PLYMOUTH = "era5_plymouth_point_hourly_1994_2023/era5_*.nc"
BENELUX = "era5_benelux_hourly_140steps_packed/*.nc"
POINTS = "era5_point_hourly_2019/era5_feedinlib_54-{}_2019-01-01_2019-12-31.nc"
ONE_POINT = {"one grid point": "note"}
CLIMATE_NAMES = ["100m_u_component_of_wind", "100m_v_component_of_wind"]
LAST_DAYS = {r"missing \(NaN\) everywhere at 1 of 64 .* first from 2010-11-26T00:00": "warning"}

OUTCOMES = {
    "ERA-Interim, levels from the config": Outcome(
        [
            {"path": "erai_weur_daily_2000_2010/z500_ei.nc", "level": 500},
            {"path": "erai_weur_daily_2000_2010/t850_ei.nc", "level": 850},
            "erai_weur_daily_2000_2010/mslp_ei.nc",
        ],
        sizes=(4018, 21, 24),
        names=["geopotential_500", "temperature_850", "mean_sea_level_pressure"],
    ),
    "ERA-Interim without levels": Outcome(
        ["erai_weur_daily_2000_2010/*.nc"],
        r"t850_ei\.nc: t \(temperature\) is a variable of pressure levels, but the file states no",
    ),
    "fifty years of Iberia, whose end is missing": Outcome(
        ["derived_ncep1_iberia_daily_1961_2010/*.nc"],
        sizes=(18262, 6, 9),
        names=[
            *(f"geopotential_{level}" for level in (500, 850, 1000)),
            *(f"temperature_{level}" for level in (500, 850, 1000)),
            *(f"specific_humidity_{level}" for level in (500, 850, 1000)),
            "mean_sea_level_pressure",
            "2m_temperature",
            "total_precipitation",
        ],
        found=LAST_DAYS,
    ),
    "Iberia, a dimension of one level": Outcome(
        [f"{IBERIA}/NCEP_*.nc"],
        sizes=(16071, 6, 9),
        names=["specific_humidity_850", "mean_sea_level_pressure", "temperature_850"]
        + ["geopotential_500"],
    ),
    "rates under the name of sums": Outcome(
        [PLYMOUTH], r"tp \(total_precipitation\) has the unit 'm s-1', which cannot be converted"
    ),
    "a point, one file a year": Outcome(
        [{"path": PLYMOUTH, "rename": {"tp": "rain_rate", "ssr": "net_solar_flux"}}],
        sizes=(262_968, 1, 1),
        names=["2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind"]
        + ["2m_dewpoint_temperature", "surface_pressure", "total_cloud_cover"]
        + ["rain_rate", "net_solar_flux"],
        found=ONE_POINT,
    ),
    "GRIB": Outcome(
        ["era5_uk_t2m_hourly_201903/*.grib"],
        GRIB,
        sizes=(744, 33, 49),
        names=["2m_temperature"],
        found={"less than a year": "note"},
    ),
    "GRIB of members": Outcome(MEMBERS[:1], GRIB or r"number has 10 entries"),
    "GRIB of a member": Outcome(
        [{"path": MEMBERS[0], "select": {"number": 3}}],
        GRIB,
        sizes=(4, 61, 120),
        names=["geopotential_500", "geopotential_850", "temperature_500", "temperature_850"],
        found=SHORT,
    ),
    "GRIB of three levels": Outcome(
        [{"path": MEMBERS[1], "select": {"number": 1}}],
        GRIB,
        sizes=(4, 42, 73),
        found=SHORT | {"no three successive times": "error", "1 gaps in time": "warning"},
    ),
    "the Danube": Outcome(
        ["era5_danube_daily_2013/*.nc"],
        sizes=(365, 13, 41),
        names=["convective_precipitation", "large_scale_precipitation"]
        + ["volumetric_soil_water_layer_1", "total_column_water_vapour", "runoff"]
        + ["snow_depth", "rtp_500-850"],
        found={r"missing \(NaN\) at scattered places, 5 values": "error"},
    ),
    "Berlin": Outcome(
        ["era5_berlin_hourly_2017/*.nc"],
        sizes=(8760, 2, 3),
        names=[*CLIMATE_NAMES, "fsr", "surface_pressure", "fdir"]
        + ["surface_solar_radiation_downwards", "2m_temperature"]
        + ["10m_u_component_of_wind", "10m_v_component_of_wind"],
    ),
    "a point of the North Sea": Outcome(
        [POINTS.format("43_7-68")],
        sizes=(8760, 1, 1),
        names=[*CLIMATE_NAMES, "fsr", "surface_pressure", "fdir"]
        + ["surface_solar_radiation_downwards", "2m_temperature"]
        + ["10m_u_component_of_wind", "10m_v_component_of_wind"],
        found=ONE_POINT,
    ),
    "two points of the North Sea": Outcome(
        ["era5_point_hourly_2019/*.nc"], "have different latitudes: .*; use one grid for all"
    ),
    "stations": Outcome(
        ["era5_cancities_daily_1990_1993/*.nc"],
        r"latitude lat varies along \['location'\]: the grid is not regular",
    ),
    "fluxes under the name of sums": Outcome(
        [BENELUX], r"\(surface_solar_radiation_downwards\) has the unit 'W m\*\*-2'"
    ),
    "Benelux, a file a variable": Outcome(
        [{"path": BENELUX, "rename": {"ssrd": "solar_flux", "fdir": "direct_flux"}}],
        sizes=(140, 13, 11),
        names=["wd100", "100m_wind_speed", "wd10", "10m_wind_speed", "2m_dewpoint_temperature"]
        + ["2m_temperature", "boundary_layer_height", "fsr", "surface_pressure", "solar_flux"]
        + ["ssrd_t_adj", "direct_flux", "fdir_t_adj"],
        found={"less than a year": "note"},
    ),
    "MERRA-2, stamps at the half hour": Outcome(
        ["merra2_weur_hourly/merra-like_200501_u50m_v50m.nc4"],
        sizes=(744, 7, 5),
        names=["U50M", "V50M"],
        found={"less than a year": "note", "minute 30 of the hour": "note"},
    ),
    "MERRA-2, three days": Outcome(
        ["merra2_weur_hourly/merra-like_2015_8vars.nc4"],
        sizes=(71, 4, 3),
        names=["surface_pressure", "SWGDN", "2m_dewpoint_temperature", "2m_temperature"]
        + ["U2M", "U50M", "V2M", "V50M"],
        found=SHORT | {"minute 30 of the hour": "note"},
    ),
    "MERRA-2, two grids": Outcome(["merra2_weur_hourly/*.nc4"], "have different latitudes"),
    "a table of a station": Outcome(
        ["wth_hourly_2010_2013/WTH.csv"],
        "WTH.csv: a table of text; write it as netCDF, for example with pandas.read_csv",
    ),
    "a zip archive of a table": Outcome(
        ["jena_weather_2020/*.zip"], r"a zip archive of 1 file, 7\.24 MB \(weather/weather\.csv\)"
    ),
    "monthly temperature of the Pacific": Outcome(
        ["pacific_sst_slp_monthly_1856_2014/sst.nc"],
        sizes=(1906, 12, 22),
        names=["sea_surface_temperature"],
        found={"5% of the cells are always masked: 12 of 264": "note"},
    ),
    "monthly pressure of the Pacific": Outcome(
        ["pacific_sst_slp_monthly_1856_2014/slp.nc"],
        sizes=(1536, 11, 21),
        names=["mean_sea_level_pressure"],
    ),
    "the Pacific on two grids": Outcome(
        ["pacific_sst_slp_monthly_1856_2014/*.nc"], "have different latitudes"
    ),
    "height of 500 hPa, the level a scalar": Outcome(
        ["ncep1_hgt500_nh_monthly_1981_2010/*.nc"],
        sizes=(360, 29, 144),
        names=["geopotential_500"],
    ),
    "height of 500 hPa, said to be of 850 hPa": Outcome(
        [{"path": "ncep1_hgt500_nh_monthly_1981_2010/*.nc", "level": 850}],
        r"hgt: level 850 hPa is given, but the file has \[500\.0\]",
    ),
    "a store of zarr format 2": Outcome(
        [
            {
                "path": "ncep1_air_6hourly_namerica_2013_2014_zarr2/air_temperature.zarr",
                "rename": {"air": "2m_temperature"},
            }
        ],
        sizes=(2920, 25, 53),
        names=["2m_temperature"],
    ),
    "members of the twentieth century": Outcome(
        ["small_global/20crv2c_ensemble_z1000_1987.nc"], "dimension ensemble_member has 5 entries"
    ),
    "members of CERA-20C": Outcome(
        ["small_global/cera-20c_pressure_level_r.1987.nc"], "dimension number has 3 entries"
    ),
    "twentieth century": Outcome(
        ["small_global/20crv2c_hgt.1960.nc"],
        sizes=(5, 91, 180),
        names=["geopotential_950", "geopotential_1000"],
        found=SHORT,
    ),
    "ERA-20C": Outcome(
        ["small_global/era-20c_pressure_level_z.nc"],
        sizes=(8, 181, 360),
        names=["geopotential_500", "geopotential_1000"],
        found=SHORT,
    ),
    "ERA-Interim of the globe": Outcome(
        ["small_global/era-interim_pressure_level_z.nc"],
        sizes=(4, 241, 480),
        names=["geopotential_500", "geopotential_1000"],
        found=SHORT,
    ),
    "a climatology without times": Outcome(
        ["small_global/eraint_uvz.nc"], r"no time coordinate; its dimensions are month \(2\)"
    ),
    "JRA-55, longitudes not in order": Outcome(
        ["small_global/jra55_anl_p125_007_hgt.nc"],
        sizes=(8, 57, 81),
        names=["geopotential_500", "geopotential_1000"],
        found=SHORT,
    ),
    "MERRA-2 of the globe, a file a day": Outcome(
        ["small_global/merra2_inst6_3d_ana_Np.*.nc4"],
        sizes=(8, 121, 576),
        names=["geopotential_500", "geopotential_1000"],
        found=SHORT,
    ),
    "height of NCEP 1 and 2": Outcome(
        ["small_global/ncep-r{1,2}_hgt.*.nc"],
        sizes=(82, 73, 144),
        names=["geopotential_1000"],
        found=SHORT | {"1 gaps in time .*1960-01-11T00:00 to 1979-01-01T00:00": "warning"},
    ),
    "air at an unknown level": Outcome(
        ["small_global/ncep-r1_air.2m.gauss.1960.nc"],
        r"air \(temperature\) is a variable of pressure levels, but the file states none",
    ),
    "air at a height of 2 m": Outcome(
        ["small_global/ncep-r2_air.2m.gauss.1979.nc"],
        sizes=(21, 94, 192),
        names=["2m_temperature"],
        found=SHORT,
    ),
    "one time on a Gaussian grid": Outcome(
        [{"path": "small_global/era5_tl31_19590102T00_wb2names.nc"}],
        sizes=(1, 32, 64),
        found={"only 1 times": "error"},
    ),
    "the grid in the wrong order": Outcome(
        [{"path": "traps/scrambled_NCEP_Z500_2014export.nc", "level": 500}],
        sizes=(18262, 6, 9),
        names=["geopotential_500"],
        found=LAST_DAYS | {r"scrambled.* correlate 0\.\d+, points 3 apart 0\.9\d": "error"},
    ),
    "final and preliminary ERA5": Outcome(
        ["traps/expver_1978_2021.nc"],
        sizes=(514, 9, 21),
        names=CLIMATE_NAMES,
        found={"expver 1 and 5": "note"},
    ),
    "new layout of the Climate Data Store": Outcome(
        ["traps/newcds_valid_time_tcw_2012.nc"], sizes=(8784, 7, 5), names=["total_column_water"]
    ),
    "new layout with levels": Outcome(
        ["traps/newcds_pl_12steps_era5_data.nc"], sizes=(12, 21, 31), found=SHORT
    ),
    "hours of some days": Outcome(
        ["traps/gappy_levels_data_for_weather_reanalysis.nc"],
        sizes=(270, 9, 9),
        found={r"29 gaps in time \(step 1h\).* 30 segments of 9 times": "warning"},
    ),
    "Septembers only": Outcome(
        ["traps/septembers_only_t2m_1979_2020.nc"],
        sizes=(30240, 5, 5),
        names=["2m_temperature"],
        found={r"41 gaps in time \(step 1h\).* 42 segments of 720 times": "warning"},
    ),
    "an area mean without a place": Outcome(
        ["traps/era5_2022_2mtemp_spres_xyav_month_missing.nc"], "no latitude; a regular grid or"
    ),
    "times without a date": Outcome(
        ["traps/storm_6h_partial_nan/*.cdf"], r"no time coordinate; its dimensions are timestep"
    ),
    "monthly temperature of the globe": Outcome(
        ["traps/ersst_monthly_2010_2020_sst.mnmean.nc"],
        sizes=(128, 89, 180),
        names=["sea_surface_temperature"],
        found={"31% of the cells are always masked": "note"},
    ),
}
# Findings about which the rows say nothing: other tests are about the values.
SUFFIXES = {".nc", ".nc4", ".cdf", ".grib", ".csv", ".zip"}
NOT_COMPARED = "smallest or largest packed integer"


def absolute(source: Any) -> dict[str, Any]:
    keys = source if isinstance(source, dict) else {"path": source}
    return {**keys, "path": str(DATA / keys["path"])}


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
def test_each_data_set_has_its_outcome(outcome: Outcome) -> None:
    sources = [absolute(source) for source in outcome.sources]
    if outcome.refused:
        with pytest.raises(DataError, match=outcome.refused) as caught:
            opened(*sources)
        assert str(DATA.resolve()) in str(caught.value), "the message names no file"
        return
    ds = opened(*sources)
    assert (ds.sizes["time"], ds.sizes["latitude"], ds.sizes["longitude"]) == outcome.sizes
    if outcome.names:
        assert sorted(channel.name for channel in channels(ds)) == sorted(outcome.names)
        known = [name for name in QUANTITIES if name in ds.data_vars]
        assert list(ds.data_vars) == known + sorted(set(ds.data_vars) - set(known))
    found = [f for f in audit(ds) if NOT_COMPARED not in f.message]
    for pattern, severity in outcome.found.items():
        assert {f.severity for f in found if re.search(pattern, f.message)} == {severity}, pattern
    others = [str(f) for f in found if not any(re.search(p, f.message) for p in outcome.found)]
    assert others == []


def test_each_file_has_a_row() -> None:
    rows = {absolute(source)["path"] for each in OUTCOMES.values() for source in each.sources}
    covered = {path for row in rows for path in glob.glob(row.replace("{1,2}", "*"))}
    stores = {str(path) for path in DATA.glob("*/*.zarr")}
    files = {str(path) for path in DATA.glob("*/**/*") if path.suffix in SUFFIXES}
    files = {path for path in files if not any(path.startswith(store) for store in stores)}
    assert (stores | files) - covered == set()
