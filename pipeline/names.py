"""Names and units: what the files in use call things, and what this project calls them.

Everything here is a table or a small function of one. The canonical names are those of ERA5 as
archives in zarr spell them (``geopotential``, ``2m_temperature``), the canonical units are SI.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GRAVITY = 9.80665  # m s-2, the constant that turns geopotential height into geopotential


@dataclass(frozen=True)
class Quantity:
    """A variable of the table: its unit, CF name, and the widest range that is physical.

    ``low`` and ``high`` are in ``units``; ``on_levels`` says that it is one of the variables given
    on pressure levels, so that it means nothing without a level.
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
    "runoff": Quantity("m", "runoff_amount", -1e-3, 3),
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
    "land_sea_mask": Quantity("1", "land_binary_mask", -0.01, 1.01),
    "standard_deviation_of_orography": Quantity("m", None, -1, 2e3),
    "high_vegetation_cover": Quantity("1", None, -0.01, 1.01),
    "low_vegetation_cover": Quantity("1", None, -0.01, 1.01),
}

# Other names in use, in lower case: GRIB short names, those of netCDF conversions, CMIP, MERRA-2,
# NCEP, NCL. A name is looked up without its case.
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
# A level of so many metres above the ground makes another variable of these.
HEIGHTS: dict[tuple[str, float], str] = {
    ("temperature", 2.0): "2m_temperature",
    ("u_component_of_wind", 10.0): "10m_u_component_of_wind",
    ("v_component_of_wind", 10.0): "10m_v_component_of_wind",
    ("u_component_of_wind", 100.0): "100m_u_component_of_wind",
    ("v_component_of_wind", 100.0): "100m_v_component_of_wind",
}

# Dimensions and coordinates: patterns of whole names, without case.
DIMENSIONS: dict[str, re.Pattern[str]] = {
    "time": re.compile(r"time|valid_time|initial_time\d+_hours|forecast_time\d*|date|datetime|t"),
    "latitude": re.compile(r"lat|latitude|g\d+_lat_\d+|lat_\d+|y_lat|nav_lat"),
    "longitude": re.compile(r"lon|lng|long|longitude|g\d+_lon_\d+|lon_\d+|nav_lon"),
    "level": re.compile(
        r"level|levels|lev|plev|pressure|pressure_level|isobaricinhpa|isobaric\d*|lv_isbl\d+|air_pressure"
    ),
    "expver": re.compile(r"expver"),
}

# Spelling of a unit: the unit it is a multiple of, factor, offset (value * factor + offset).
UNITS: dict[str, tuple[str, float, float]] = {}
for _base, _factor, _offset, _spellings in (
    ("K", 1.0, 0.0, "K degK kelvin Kelvin deg_K degrees_K degree_K degrees_kelvin"),
    ("K", 1.0, 273.15, "degC C °C celsius Celsius deg_C degrees_C degrees_Celsius degree_Celsius"),
    ("K", 1.0, 273.15, "degree_C degrees_celsius degree_celsius"),
    ("K", 5 / 9, 273.15 - 160 / 9, "degF F °F fahrenheit Fahrenheit degrees_Fahrenheit"),
    ("Pa", 1.0, 0.0, "Pa pascal pascals Pascal Pascals"),
    ("Pa", 100.0, 0.0, "hPa mbar mb millibar millibars hectopascal hectopascals hectoPascal"),
    ("Pa", 1000.0, 0.0, "kPa"),
    ("m2 s-2", 1.0, 0.0, "m2_s-2 m2/s2 J_kg-1 J/kg m2s-2"),
    ("m", 1.0, 0.0, "m gpm meter meters metre metres m_of_water_equivalent geopotential_meters"),
    ("m", 10.0, 0.0, "dam gpdm gpdam"),
    ("m", 1e-3, 0.0, "mm millimeter millimeters millimetre millimetres"),
    ("m", 1e-2, 0.0, "cm"),
    ("m s-1", 1.0, 0.0, "m_s-1 m/s ms-1 meter/second meters/second"),
    ("m s-1", 1e-3, 0.0, "mm_s-1 mm/s"),
    ("m s-1", 1 / 3.6, 0.0, "km_h-1 km/h km/hr kmh"),
    ("m s-1", 1852 / 3600, 0.0, "knot knots kt kts"),
    ("m s-1", 1e-3 / 86400, 0.0, "mm_d-1 mm/d mm/day mm_day-1"),
    ("1", 1.0, 0.0, "1 kg_kg-1 kg/kg (0_-_1) 0-1 fraction m3_m-3 m3/m3 dimensionless"),
    ("1", 1e-3, 0.0, "g_kg-1 g/kg"),
    ("1", 1e-2, 0.0, "% percent"),
    ("kg m-2", 1.0, 0.0, "kg_m-2 kg/m2"),
    ("kg m-2 s-1", 1.0, 0.0, "kg_m-2_s-1 kg/m2/s kg/m^2/s kg/(m2_s)"),
    ("J m-2", 1.0, 0.0, "J_m-2 J/m2"),
    ("W m-2", 1.0, 0.0, "W_m-2 W/m2"),
    ("Pa s-1", 1.0, 0.0, "Pa_s-1 Pa/s"),
    ("s-1", 1.0, 0.0, "s-1 1/s"),
    ("K m2 kg-1 s-1", 1.0, 0.0, "K_m2_kg-1_s-1"),
):
    UNITS |= dict.fromkeys(_spellings.split(), (_base, _factor, _offset))

# From one unit to another that measures the same thing: height, or depth of water.
BRIDGES: dict[tuple[str, str], float] = {
    ("m", "m2 s-2"): GRAVITY,
    ("kg m-2", "m"): 1e-3,
    ("m", "kg m-2"): 1e3,
    ("m s-1", "kg m-2 s-1"): 1e3,
}


def dimension(name: str) -> str | None:
    """``latitude`` for ``g0_lat_1``: what a dimension is by its name, None where unknown."""
    lower = name.lower()
    return next((kind for kind, names in DIMENSIONS.items() if names.fullmatch(lower)), None)


def split_name(name: str) -> tuple[str | None, float | None]:
    """ERA5 name and level (hPa) that a variable's name says, None for what it does not say.

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


def conversion(name: str, unit: str) -> tuple[float, float] | None:
    """Factor and offset from ``unit`` to the unit of a variable of the table; None if none.

    >>> conversion("2m_temperature", "degC"), conversion("geopotential", "gpm")
    ((1.0, 273.15), (9.80665, 0.0))
    """
    found, wanted = parse_unit(unit), parse_unit(QUANTITIES[name].units)
    if found is None or wanted is None:
        return None
    base, factor, offset = found
    if base == wanted[0]:
        return factor, offset
    bridge = BRIDGES.get((base, wanted[0]))
    return None if bridge is None else (factor * bridge, 0.0)


def parse_unit(unit: str) -> tuple[str, float, float] | None:
    """The base unit, factor and offset of a unit as files spell it; None where it is unknown."""
    plain = re.sub(r"\*\*|\^", "", unit.strip())
    return UNITS.get(re.sub(r"[\s*.]+", "_", plain))
