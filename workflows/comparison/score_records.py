"""Scores as a list of records, one for each channel, system and lead, for JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

_LEAD = "prediction_timedelta"


def score_records(scores: xr.Dataset, *axes: str) -> list[dict[str, Any]]:
    """Return one record for each combination of values along some dimensions and of leads.

    Parameters
    ----------
    scores : xarray.Dataset
        Scores with the dimension ``prediction_timedelta``.
    axes : str
        Other dimensions of the records, for example ``channel`` and ``system``.

    Returns
    -------
    list of dict
        The names along the dimensions, ``lead`` (such as ``24h`` or ``3mo``), the coordinates
        ``units``, and each variable that has no other dimensions. Values that a score does not
        have, such as the anomaly correlation of a climatology, are NaN.
    """
    dims = {*axes, _LEAD}
    kept = [str(name) for name, array in scores.data_vars.items() if set(array.dims) <= dims]
    # Without this, a variable that no record names would be repeated along the other dimensions.
    chosen = scores[kept].drop_vars(
        [name for name in scores.coords if name not in {*dims, "units"}]
    )
    order = [*axes, _LEAD]
    missing = [name for name in order if name not in chosen.dims]
    frame = chosen.to_dataframe(dim_order=[name for name in order if name not in missing])
    records: list[dict[str, Any]] = []
    for record in frame.reset_index().to_dict("records"):
        lead = record.pop(_LEAD)
        names = {name: record.pop(name) for name in axes if name in record}
        records.append({**names, "lead": _lead(lead), **record})
    return records


def _lead(lead: Any) -> str:
    """Write a lead as ``24h`` or ``3mo``; leads in months are integers in stores."""
    if not isinstance(lead, np.timedelta64) and not hasattr(lead, "total_seconds"):
        return f"{int(lead)}mo"
    return f"{lead / np.timedelta64(1, 'h'):g}h"
