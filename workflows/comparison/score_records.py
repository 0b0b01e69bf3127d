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
    order = [*axes, _LEAD]
    kept = [str(name) for name, array in scores.data_vars.items() if {*array.dims} <= {*order}]
    named = {*order, "units"}
    chosen = scores[kept]  # without the coordinates of other dimensions, such as ranks of members
    chosen = chosen.drop_vars([name for name in chosen.coords if name not in named])
    frame = chosen.to_dataframe(dim_order=order).reset_index()
    records: list[dict[str, Any]] = []
    for found in frame.to_dict("records"):
        record = {str(name): value for name, value in found.items()}
        lead = _lead(record.pop(_LEAD))
        records.append({**{name: record.pop(name) for name in axes}, "lead": lead, **record})
    return records


def _lead(lead: Any) -> str:
    """Write a lead as ``24h`` or ``3mo``; leads in months are integers in stores."""
    if not isinstance(lead, np.timedelta64) and not hasattr(lead, "total_seconds"):
        return f"{int(lead)}mo"
    return f"{lead / np.timedelta64(1, 'h'):g}h"
