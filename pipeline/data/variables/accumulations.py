"""Recognise sums over the time before a stamp, of which a longer step must not leave any out."""

from __future__ import annotations

from collections.abc import Iterable

from gfrnn.pipeline.data.variables.file_variables import FileVariable
from gfrnn.pipeline.data.variables.names import QUANTITIES
from gfrnn.pipeline.errors import DataError

# Amounts of ERA5 whose standard names do not say that they are sums.
_AMOUNTS = {
    "total_precipitation",
    "convective_precipitation",
    "large_scale_precipitation",
    "runoff",
}


def is_accumulated(field: FileVariable) -> bool:
    """Return whether values are sums over the time before their stamp.

    Attributes of the file decide (``cell_methods``, ``GRIB_stepType``), else the name.
    """
    attrs = field.file.open()[field.raw_name].attrs
    if step_type := str(attrs.get("GRIB_stepType", "")):
        return step_type == "accum"
    if methods := str(attrs.get("cell_methods", "")):
        return "sum" in methods.split()
    quantity = QUANTITIES.get(field.variable)
    stated = str(quantity.standard_name or "") if quantity else ""
    return field.variable in _AMOUNTS or stated.startswith("integral_wrt_time")


def check_thinned(fields: Iterable[FileVariable], step: str, kept: int, times: int) -> None:
    """Refuse sums of which ``data.step`` would leave most out.

    Parameters
    ----------
    step : str
        ``data.step``.
    kept, times : int
        Numbers of times with and without it.

    Raises
    ------
    DataError
    """
    if kept == times:
        return
    for field in fields:
        if is_accumulated(field):
            raise DataError(
                f"data.step: {step} keeps {kept} of {times} times, but {field.variable} "
                f"({field.file.path}) is a sum over the time before each stamp, and the others "
                "would be lost; sum the file over the step first (for example cdo timselsum), "
                "leave the variable out (data.variables), or set data.allow: [thinned]"
            )
