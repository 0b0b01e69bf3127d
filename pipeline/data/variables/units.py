"""Conversion of units of files to the canonical units, which are SI."""

from __future__ import annotations

import re

import xarray as xr

from gfrnn.pipeline.config.data_config import SourceConfig
from gfrnn.pipeline.data.variables.names import QUANTITIES

GRAVITY = 9.80665  # m s-2, the constant that turns geopotential height into geopotential

# Spelling of a unit: base unit, factor, offset (value in the base unit: value * factor + offset).
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
    ("kg m-3", 1.0, 0.0, "kg_m-3 kg/m3"),
    ("kg m-3", 1e-3, 0.0, "g_m-3 g/m3"),
    ("kg m-3", 1e-6, 0.0, "mg_m-3 mg/m3"),
    ("kg m-3", 1e-9, 0.0, "ug_m-3 ug/m3 µg_m-3 µg/m3 μg_m-3 μg/m3"),
    ("J m-2", 1.0, 0.0, "J_m-2 J/m2"),
    ("W m-2", 1.0, 0.0, "W_m-2 W/m2"),
    ("Pa s-1", 1.0, 0.0, "Pa_s-1 Pa/s"),
    ("s-1", 1.0, 0.0, "s-1 1/s"),
    ("K m2 kg-1 s-1", 1.0, 0.0, "K_m2_kg-1_s-1"),
):
    UNITS |= dict.fromkeys(_spellings.split(), (_base, _factor, _offset))

# Factors between units that differ in dimension but express the same quantity: height and
# geopotential, depth and mass of water.
EQUIVALENTS: dict[tuple[str, str], float] = {
    ("m", "m2 s-2"): GRAVITY,
    ("kg m-2", "m"): 1e-3,
    ("m", "kg m-2"): 1e3,
    ("m s-1", "kg m-2 s-1"): 1e3,
}


def conversion(name: str, unit: str) -> tuple[float, float] | None:
    """Return factor and offset from ``unit`` to the unit of a variable of the table, else None.

    >>> conversion("2m_temperature", "degC"), conversion("geopotential", "gpm")
    ((1.0, 273.15), (9.80665, 0.0))
    """
    found, wanted = parse_unit(unit), parse_unit(QUANTITIES[name].units)
    if found is None or wanted is None:
        return None
    base, factor, offset = found
    if base == wanted[0]:
        return factor, offset
    equivalent = EQUIVALENTS.get((base, wanted[0]))
    return None if equivalent is None else (factor * equivalent, 0.0)


def parse_unit(unit: str) -> tuple[str, float, float] | None:
    """Return base unit, factor and offset of a unit as files spell it, None if unknown."""
    plain = re.sub(r"\*\*|\^", "", unit.strip())
    return UNITS.get(re.sub(r"[\s*.]+", "_", plain))


def canonical_unit(
    raw_name: str, variable: str, raw: xr.Variable, source: SourceConfig, key: str
) -> tuple[float, float, str, str | None]:
    """Find the conversion of a variable of a file to its canonical unit.

    Returns
    -------
    factor, offset : float
        The canonical value is ``value * factor + offset``.
    unit : str
        Canonical unit; that of the file for a variable that is not in the table.
    problem : str or None
        Message about a unit that is missing or cannot be converted.
    """
    stated = str(source.units.get(raw_name, raw.attrs.get("units", ""))).strip()
    quantity = QUANTITIES.get(variable)
    if quantity is None:
        return 1.0, 0.0, stated, None
    factors = conversion(variable, stated) if stated else None
    if factors:
        return *factors, quantity.units, None
    found = f"has the unit {stated!r}" if stated else "states no unit"
    problem = (
        f"{raw_name} ({variable}) {found}, which cannot be converted to {quantity.units}; set "
        f"{key}.units: {{{raw_name}: ...}} if you know it, or {key}.rename: {{{raw_name}: ...}} if "
        "it is another quantity, or leave it out by naming others in data.variables"
    )
    return 1.0, 0.0, quantity.units, problem
