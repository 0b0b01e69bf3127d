"""Recognition of the quantity and the levels of a variable of a file."""

from __future__ import annotations

import xarray as xr

from gfrnn.pipeline.config.data_config import SourceConfig
from gfrnn.pipeline.data.files.file_coordinates import FileLevels
from gfrnn.pipeline.data.variables import names

Levels = tuple[float, ...]  # hPa, ascending
# Attributes in which files state that values are anomalies, as in "SST monthly anomaly".
_ANOMALY_ATTRIBUTES = ("long_name", "standard_name", "var_desc", "statistic", "cell_methods")
_SURFACE = {name for name, quantity in names.QUANTITIES.items() if not quantity.on_levels}


def recognise_variable(
    raw_name: str,
    raw: xr.Variable,
    dims: dict[str, str],
    levels: dict[str, FileLevels],
    source: SourceConfig,
    key: str,
) -> tuple[str, Levels | None, str | None]:
    """Find canonical name, levels and problem of a variable of a file.

    Parameters
    ----------
    raw_name, raw
        Name and variable in the file.
    dims
        The variable's dimensions by kind.
    levels
        Levels of each dimension of levels.
    source, key
        The source and its place in the experiment file, for messages.

    Returns
    -------
    variable : str
        Name of ERA5; the name in the file where it is not recognised.
    levels : tuple of float or None
        hPa, ascending; None for a variable without levels.
    problem : str or None
        Reason why the variable cannot be used.
    """
    renamed = source.rename.get(raw_name)
    plain = names.without_anomaly(raw_name)
    variable, level = (renamed, None) if renamed else names.split_name(plain)
    axis = levels.get(dims.get("level", ""))
    own = axis.levels if axis else None
    if variable is None:
        guess = names.STANDARD_NAMES.get(str(raw.attrs.get("standard_name")))
        fits = guess and (not names.QUANTITIES[guess].on_levels or own or source.level)
        variable = guess if guess and fits else raw_name
    if axis and axis.height is not None and not renamed:
        variable = names.HEIGHTS.get((variable, axis.height), variable)
    elif axis and axis.problem and variable not in _SURFACE:
        return variable, None, f"{raw_name}: its dimension {dims['level']} {axis.problem}"
    if variable in _SURFACE:
        if own and len(own) > 1:
            problem = f"{raw_name} ({variable}) has {len(own)} levels, but is a surface field"
            return variable, None, problem
        return variable, None, None
    level = source.level if level is None else level
    if level is not None:
        if own and own != (level,):
            problem = (
                f"{raw_name}: level {level:g} hPa is given, but the file has {list(own)}; "
                f"remove {key}.level, or rename the variable"
            )
            return variable, None, problem
        return variable, (level,), None
    if own is None and variable in names.QUANTITIES:
        problem = (
            f"{raw_name} ({variable}) is a variable of pressure levels, but the file states "
            f"none; set {key}.level (hPa), or {key}.rename: {{{raw_name}: ...}} to the ERA5 "
            "name of what it is"
        )
        return variable, None, problem
    return variable, own, None


def is_anomaly(raw_name: str, raw: xr.Variable) -> bool:
    """Tell by its name and attributes whether a variable of a file is an anomaly."""
    texts = (str(raw.attrs.get(name, "")) for name in _ANOMALY_ATTRIBUTES)
    named = names.without_anomaly(raw_name) != raw_name
    return named or any("anomal" in text.lower() for text in texts)
