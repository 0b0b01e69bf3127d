"""Which quantity a variable of a file is, on which levels, and in which unit."""

from __future__ import annotations

import numpy as np
import xarray as xr

from gfrnn.pipeline.config.experiment import SourceConfig
from gfrnn.pipeline.data import names, units

Levels = tuple[float, ...]  # hPa, ascending
_SURFACE = {name for name, quantity in names.QUANTITIES.items() if not quantity.on_levels}


def identify(
    raw_name: str,
    raw: xr.Variable,
    dims: dict[str, str],
    levels: dict[str, tuple[Levels | None, np.ndarray, str]],
    source: SourceConfig,
    key: str,
) -> tuple[str, Levels | None, str | None]:
    """What a variable is: canonical name; levels in hPa, ascending, or None; a problem.

    Parameters
    ----------
    dims
        The variable's dimensions by kind.
    levels
        For each dimension of levels: levels in hPa or None, their positions, and a remark.
    key
        The place of ``source`` in the experiment file, for messages.
    """
    renamed = source.rename.get(raw_name)
    variable, level = (renamed, None) if renamed else names.split_name(raw_name)
    own, _, remark = levels.get(dims.get("level", ""), (None, None, ""))
    if variable is None:
        guess = names.STANDARD_NAMES.get(str(raw.attrs.get("standard_name")))
        fits = guess and (not names.QUANTITIES[guess].on_levels or own or source.level)
        variable = guess if guess and fits else raw_name
    if remark.endswith(" m") and not renamed:
        variable = names.HEIGHTS.get((variable, float(remark[:-2])), variable)
    elif "level" in dims and own is None and variable not in _SURFACE and remark:
        return variable, None, f"{raw_name}: its dimension {dims['level']} {remark}"
    if variable in _SURFACE:
        if own and len(own) > 1:
            return (
                variable,
                None,
                f"{raw_name} ({variable}) has {len(own)} levels, where it has none",
            )
        return variable, None, None
    if level is None and source.level is not None:
        level = source.level
    if level is not None:
        if own and own != (level,):
            return (
                variable,
                None,
                (
                    f"{raw_name}: level {level:g} hPa is given, but the file has {list(own)}; "
                    f"remove {key}.level, or rename the variable"
                ),
            )
        return variable, (level,), None
    if own is None and variable in names.QUANTITIES:  # all others of the table are done with
        return (
            variable,
            None,
            (
                f"{raw_name} ({variable}) is a variable of pressure levels, but the file states "
                f"none; set {key}.level (hPa), or {key}.rename: {{{raw_name}: ...}} to the ERA5 "
                "name of what it is"
            ),
        )
    return variable, own, None


def units_of(
    raw_name: str, variable: str, raw: xr.Variable, source: SourceConfig, key: str
) -> tuple[float, float, str, str | None]:
    """From the unit in the file to the canonical one: factor, offset, canonical unit, a problem."""
    stated = str(source.units.get(raw_name, raw.attrs.get("units", ""))).strip()
    quantity = names.QUANTITIES.get(variable)
    if quantity is None:
        return 1.0, 0.0, stated, None
    factors = units.conversion(variable, stated) if stated else None
    if factors:
        return *factors, quantity.units, None
    found = f"has the unit {stated!r}" if stated else "states no unit"
    return (
        1.0,
        0.0,
        quantity.units,
        (
            f"{raw_name} ({variable}) {found}, which does not become {quantity.units}; set "
            f"{key}.units: {{{raw_name}: ...}} if you know it, or {key}.rename: "
            f"{{{raw_name}: ...}} if it is another quantity, or leave it out by naming others in "
            "data.variables"
        ),
    )
