"""Tables of names of variables and dimensions: names in files and canonical names.

The canonical names are those of ERA5 in zarr archives (``geopotential``, ``2m_temperature``), the
canonical units are SI.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """A meteorological quantity: its unit, CF standard name and physically possible range.

    ``low`` and ``high`` are in ``units``. ``on_levels`` is True for variables of pressure levels,
    which must have a level.
    """

    units: str
    standard_name: str | None
    low: float
    high: float
    on_levels: bool = False


QUANTITIES: dict[str, Quantity] = {
    "geopotential": Quantity("m2 s-2", "geopotential", -1.5e4, 8e5, True),
    "temperature": Quantity("K", "air_temperature", 130, 360, True),
    "u_component_of_wind": Quantity("m s-1", "eastward_wind", -200, 200, True),
    "v_component_of_wind": Quantity("m s-1", "northward_wind", -200, 200, True),
    "vertical_velocity": Quantity("Pa s-1", "lagrangian_tendency_of_air_pressure", -60, 60, True),
    "specific_humidity": Quantity("kg kg-1", "specific_humidity", -0.005, 0.06, True),
    "relative_humidity": Quantity("1", "relative_humidity", -0.2, 2.0, True),
    "vorticity": Quantity("s-1", "atmosphere_relative_vorticity", -0.05, 0.05, True),
    "divergence": Quantity("s-1", "divergence_of_wind", -0.05, 0.05, True),
    "potential_vorticity": Quantity("K m2 kg-1 s-1", "ertel_potential_vorticity", -0.1, 0.1, True),
    "mean_sea_level_pressure": Quantity("Pa", "air_pressure_at_mean_sea_level", 8.5e4, 1.1e5),
    "surface_pressure": Quantity("Pa", "surface_air_pressure", 4.0e4, 1.12e5),
    "2m_temperature": Quantity("K", "air_temperature", 170, 345),
    "2m_dewpoint_temperature": Quantity("K", "dew_point_temperature", 150, 320),
    "skin_temperature": Quantity("K", "surface_temperature", 160, 370),
    "sea_surface_temperature": Quantity("K", "sea_surface_temperature", 268, 315),
    "10m_u_component_of_wind": Quantity("m s-1", "eastward_wind", -100, 100),
    "10m_v_component_of_wind": Quantity("m s-1", "northward_wind", -100, 100),
    "100m_u_component_of_wind": Quantity("m s-1", "eastward_wind", -120, 120),
    "100m_v_component_of_wind": Quantity("m s-1", "northward_wind", -120, 120),
    "10m_wind_speed": Quantity("m s-1", "wind_speed", 0, 120),
    "100m_wind_speed": Quantity("m s-1", "wind_speed", 0, 150),
    "total_precipitation": Quantity("m", "lwe_thickness_of_precipitation_amount", -1e-3, 3),
    "convective_precipitation": Quantity(
        "m", "lwe_thickness_of_convective_precipitation_amount", -1e-3, 3
    ),
    "large_scale_precipitation": Quantity(
        "m", "lwe_thickness_of_stratiform_precipitation_amount", -1e-3, 3
    ),
    "mean_total_precipitation_rate": Quantity("kg m-2 s-1", "precipitation_flux", -1e-5, 0.5),
    "total_cloud_cover": Quantity("1", "cloud_area_fraction", -0.01, 1.01),
    "total_column_water": Quantity("kg m-2", "atmosphere_mass_content_of_water", -1, 150),
    "total_column_water_vapour": Quantity(
        "kg m-2", "atmosphere_mass_content_of_water_vapor", -1, 120
    ),
    "sea_ice_cover": Quantity("1", "sea_ice_area_fraction", -0.01, 1.01),
    "boundary_layer_height": Quantity("m", "atmosphere_boundary_layer_thickness", 0, 1.2e4),
    "snow_depth": Quantity("m", "lwe_thickness_of_surface_snow_amount", -1e-3, 20),
    "runoff": Quantity("m", None, -1e-3, 3),
    "volumetric_soil_water_layer_1": Quantity("m3 m-3", None, -0.01, 1.0),
    "soil_temperature_level_1": Quantity("K", "soil_temperature", 170, 360),
    "surface_solar_radiation_downwards": Quantity(
        "J m-2", "integral_wrt_time_of_surface_downwelling_shortwave_flux_in_air", -1e3, 1e9
    ),
    "surface_net_solar_radiation": Quantity(
        "J m-2", "integral_wrt_time_of_surface_net_downward_shortwave_flux", -1e3, 1e9
    ),
    "surface_thermal_radiation_downwards": Quantity(
        "J m-2", "integral_wrt_time_of_surface_downwelling_longwave_flux_in_air", -1e3, 1e9
    ),
    "toa_incident_solar_radiation": Quantity(
        "J m-2", "integral_wrt_time_of_toa_incoming_shortwave_flux", -1e3, 1e9
    ),
    "geopotential_at_surface": Quantity("m2 s-2", "surface_geopotential", -1.5e4, 9e4),
    "land_sea_mask": Quantity("1", "land_area_fraction", -0.01, 1.01),
    "standard_deviation_of_orography": Quantity("m", None, -1, 2e3),
    "high_vegetation_cover": Quantity("1", None, -0.01, 1.01),
    "low_vegetation_cover": Quantity("1", None, -0.01, 1.01),
}

_NOT_NEGATIVE = (
    "specific_humidity",
    "relative_humidity",
    "10m_wind_speed",
    "100m_wind_speed",
    "total_precipitation",
    "convective_precipitation",
    "large_scale_precipitation",
    "mean_total_precipitation_rate",
    "total_column_water",
    "total_column_water_vapour",
    "boundary_layer_height",
    "snow_depth",
    "runoff",
    "volumetric_soil_water_layer_1",
    "surface_solar_radiation_downwards",
    "surface_net_solar_radiation",
    "surface_thermal_radiation_downwards",
    "toa_incident_solar_radiation",
)

# ``low`` and ``high`` above leave room for packing and for the humidity of spectral models.
BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_NOT_NEGATIVE, (0.0, math.inf)),
    **dict.fromkeys(("total_cloud_cover", "sea_ice_cover"), (0.0, 1.0)),
}
"""Least and largest value of quantities that have one, which forecasts keep to."""

# Other names in use, in lower case: GRIB short names, names of netCDF conversions, CMIP, MERRA-2,
# NCEP, NCL. The case of a name does not matter.
_OTHER_NAMES: dict[str, str] = {
    "geopotential": "z phi hgt h zg gh geopotential_height height_of_geopotential",
    "temperature": "t ta air air_temperature",
    "u_component_of_wind": "u ua uwnd ugrd eastward_wind",
    "v_component_of_wind": "v va vwnd vgrd northward_wind",
    "vertical_velocity": "w wap omega",
    "specific_humidity": "q hus shum qv spfh",
    "relative_humidity": "r hur rh rhum",
    "vorticity": "vo vort",
    "divergence": "d div",
    "potential_vorticity": "pv",
    "mean_sea_level_pressure": "msl mslp slp psl prmsl pmsl slpd mean_sea_level",
    "surface_pressure": "sp ps pres_sfc",
    "2m_temperature": "t2m 2t t2 tas temp2 t_2m temperature_2m 2m_air_temperature",
    "2m_dewpoint_temperature": "d2m 2d td2m t2mdew tdps dewpoint_temperature_2m",
    "skin_temperature": "skt ts",
    "sea_surface_temperature": "sst tos",
    "10m_u_component_of_wind": "u10 10u u10m uas u_10m u10n",
    "10m_v_component_of_wind": "v10 10v v10m vas v_10m v10n",
    "100m_u_component_of_wind": "u100 100u u100m",
    "100m_v_component_of_wind": "v100 100v v100m",
    "10m_wind_speed": "ws10 si10 10si sfcwind",
    "100m_wind_speed": "ws100 si100",
    "total_precipitation": "tp",
    "convective_precipitation": "cp",
    "large_scale_precipitation": "lsp",
    "mean_total_precipitation_rate": "mtpr avg_tprate pr prectot prate",
    "total_cloud_cover": "tcc",
    "total_column_water": "tcw",
    "total_column_water_vapour": "tcwv prw pwat tqv total_column_water_vapor",
    "sea_ice_cover": "ci siconc",
    "boundary_layer_height": "blh",
    "snow_depth": "sd",
    "runoff": "ro",
    "volumetric_soil_water_layer_1": "swvl1",
    "soil_temperature_level_1": "stl1",
    "surface_solar_radiation_downwards": "ssrd",
    "surface_net_solar_radiation": "ssr",
    "surface_thermal_radiation_downwards": "strd",
    "toa_incident_solar_radiation": "tisr",
    "geopotential_at_surface": (
        "orog_geopotential surface_geopotential orog orography phis z_sfc hgt_sfc hsurf topo "
        "topography elevation surface_altitude"
    ),
    "land_sea_mask": "lsm land_mask landmask lsmask land sftlf frland land_fraction",
    "standard_deviation_of_orography": "sdor",
    "high_vegetation_cover": "cvh",
    "low_vegetation_cover": "cvl",
}
ALIASES: dict[str, str] = {
    other: name for name, others in _OTHER_NAMES.items() for other in [name, *others.split()]
}
STANDARD_NAMES: dict[str, str] = {
    "geopotential": "geopotential",
    "geopotential_height": "geopotential",
    "air_temperature": "temperature",
    "eastward_wind": "u_component_of_wind",
    "northward_wind": "v_component_of_wind",
    "specific_humidity": "specific_humidity",
    "relative_humidity": "relative_humidity",
    "lagrangian_tendency_of_air_pressure": "vertical_velocity",
    "air_pressure_at_sea_level": "mean_sea_level_pressure",
    "air_pressure_at_mean_sea_level": "mean_sea_level_pressure",
    "surface_air_pressure": "surface_pressure",
    "sea_surface_temperature": "sea_surface_temperature",
    "surface_geopotential": "geopotential_at_surface",
    "surface_altitude": "geopotential_at_surface",
    "land_binary_mask": "land_sea_mask",
    "land_area_fraction": "land_sea_mask",
}
# Variables at these heights (m above ground) are variables of their own.
HEIGHTS: dict[tuple[str, float], str] = {
    ("temperature", 2.0): "2m_temperature",
    ("u_component_of_wind", 10.0): "10m_u_component_of_wind",
    ("v_component_of_wind", 10.0): "10m_v_component_of_wind",
    ("u_component_of_wind", 100.0): "100m_u_component_of_wind",
    ("v_component_of_wind", 100.0): "100m_v_component_of_wind",
}

# Dimensions and coordinates: patterns of whole names; the case does not matter.
DIMENSIONS: dict[str, re.Pattern[str]] = {
    "time": re.compile(r"time|valid_time|initial_time\d+_hours|forecast_time\d*|date|datetime|t"),
    "latitude": re.compile(r"lat|latitude|g\d+_lat_\d+|lat_\d+|y_lat|nav_lat"),
    "longitude": re.compile(r"lon|lng|long|longitude|g\d+_lon_\d+|lon_\d+|nav_lon"),
    "level": re.compile(
        r"level|levels|lev|plev|pressure|pressure_level|isobaricinhpa|isobaric\d*|lv_isbl\d+|air_pressure"
    ),
    "expver": re.compile(r"expver"),
}


def dimension_kind(name: str) -> str | None:
    """Return the kind of a dimension, ``latitude`` for ``g0_lat_1``; None if it is unknown."""
    lower = name.lower()
    return next((kind for kind, names in DIMENSIONS.items() if names.fullmatch(lower)), None)


def split_name(name: str) -> tuple[str | None, float | None]:
    """Return the ERA5 name and the level (hPa) that a variable's name states, else None.

    >>> split_name("z500"), split_name("2T_GDS0_SFC"), split_name("U50M")
    (('geopotential', 500.0), ('2m_temperature', None), (None, None))
    """
    bare = re.sub(r"_gds\d+_\w+$", "", name.lower())
    if bare in ALIASES:
        return ALIASES[bare], None
    match = re.fullmatch(r"([a-z_]+?)_?(\d{1,4})(?:_?hpa|_?mb)?", bare)
    if match and match[1] in ALIASES and 0 < int(match[2]) <= 1100:
        base = ALIASES[match[1]]
        if QUANTITIES[base].on_levels:
            return base, float(match[2])
    return None, None


def without_anomaly(name: str) -> str:
    """Return the name of the full quantity that an anomaly is named after, else the same name.

    >>> without_anomaly("sst_anomaly"), without_anomaly("ssta"), without_anomaly("sst")
    ('sst', 'sst', 'sst')
    """
    return (
        "sst" if name.lower() == "ssta" else re.sub(r"_?anom(aly|alies|s)?$", "", name, flags=re.I)
    )


def suggest_names(name: str, allowed: Iterable[str]) -> str:
    """End an error message: ``did you mean x?``, or a list of all allowed names."""
    allowed = list(allowed)
    near = difflib.get_close_matches(name, allowed, 3)
    known = split_name(name)[0]
    near = [known, *near] if known in allowed and known not in near else near
    return f"did you mean {' or '.join(near)}?" if near else f"allowed: {', '.join(allowed)}"
