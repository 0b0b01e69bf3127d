"""Test names and units in the spellings of files."""

from __future__ import annotations

import pytest

from gfrnn.pipeline.data.variables.names import (
    ALIASES,
    QUANTITIES,
    dimension_kind,
    split_name,
)
from gfrnn.pipeline.data.variables.units import conversion, parse_unit


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("z", ("geopotential", None)),
        ("HGT_GDS0_ISBL", ("geopotential", None)),
        ("z500", ("geopotential", 500.0)),
        ("T850", ("temperature", 850.0)),
        ("ua_250hPa", ("u_component_of_wind", 250.0)),
        ("T2M", ("2m_temperature", None)),
        ("2T_GDS0_SFC", ("2m_temperature", None)),
        ("u10", ("10m_u_component_of_wind", None)),
        ("u100", ("100m_u_component_of_wind", None)),
        ("U50M", (None, None)),
        ("swvl1", ("volumetric_soil_water_layer_1", None)),
        ("mean_sea_level_pressure", ("mean_sea_level_pressure", None)),
        ("SLPd", ("mean_sea_level_pressure", None)),
        ("orog", ("geopotential_at_surface", None)),
        ("PHIS", ("geopotential_at_surface", None)),
        ("LSM_GDS0_SFC", ("land_sea_mask", None)),
        ("sftlf", ("land_sea_mask", None)),
        ("rtp_500-850", (None, None)),
        ("z5000", (None, None)),
    ],
)
def test_names_in_use_are_known(name: str, expected: tuple[str | None, float | None]) -> None:
    assert split_name(name) == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("g0_lat_1", "latitude"),
        ("LAT", "latitude"),
        ("lng", "longitude"),
        ("isobaricInhPa", "level"),
        ("lv_ISBL1", "level"),
        ("valid_time", "time"),
        ("initial_time0_hours", "time"),
        ("timestep", None),
        ("number", None),
    ],
)
def test_dimensions_are_known_by_name(name: str, kind: str | None) -> None:
    assert dimension_kind(name) == kind


@pytest.mark.parametrize(
    ("variable", "unit", "value", "expected"),
    [
        ("mean_sea_level_pressure", "hPa", 1000, 1e5),
        ("mean_sea_level_pressure", "millibars", 1000, 1e5),
        ("2m_temperature", "degC", 0, 273.15),
        ("2m_temperature", "degrees_Celsius", 10, 283.15),
        ("2m_temperature", "degF", 32, 273.15),
        ("geopotential", "m**2 s**-2", 7, 7),
        ("geopotential", "m2/s2", 7, 7),
        ("geopotential", "gpm", 100, 980.665),
        ("geopotential", "dam", 550, 53936.575),
        ("total_precipitation", "mm", 5, 0.005),
        ("total_precipitation", "kg m-2", 5, 0.005),
        ("total_cloud_cover", "%", 50, 0.5),
        ("total_cloud_cover", "(0 - 1)", 0.5, 0.5),
        ("specific_humidity", "g/kg", 5, 0.005),
        ("specific_humidity", "kg kg**-1", 0.005, 0.005),
        ("10m_u_component_of_wind", "km/h", 36, 10),
        ("10m_u_component_of_wind", "m s**-1", 3, 3),
        ("total_column_water_vapour", "mm", 20, 20000 / 1000),
    ],
)
def test_units_become_si(variable: str, unit: str, value: float, expected: float) -> None:
    found = conversion(variable, unit)
    assert found is not None
    assert value * found[0] + found[1] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("variable", "unit"),
    [
        ("total_precipitation", "m s-1"),
        ("surface_net_solar_radiation", "W m-2"),
        ("2m_temperature", "Pa"),
        ("2m_temperature", ""),
        ("2m_temperature", "furlongs"),
        ("mean_sea_level_pressure", "m"),
    ],
)
def test_what_measures_something_else_is_refused(variable: str, unit: str) -> None:
    assert conversion(variable, unit) is None


def test_the_tables_agree() -> None:
    for alias, name in ALIASES.items():
        assert name in QUANTITIES, alias
    for name, quantity in QUANTITIES.items():
        assert parse_unit(quantity.units) is not None, name
        assert conversion(name, quantity.units) == (1.0, 0.0)
        assert quantity.low < quantity.high
        assert split_name(name) == (name, None)
