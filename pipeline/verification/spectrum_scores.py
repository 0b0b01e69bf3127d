"""Scores of spectra along longitude, from their statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.verification.statistics.power_spectra import log_spectral_distance
from gfrnn.pipeline.verification.subsets import subset_means

Array = NDArray[Any]


def spectrum_scores(statistics: xr.Dataset, chosen: dict[str, Array]) -> dict[str, Any]:
    """Return mean spectra and their distance.

    Parameters
    ----------
    statistics : xarray.Dataset
        With ``forecast_power`` and ``truth_power``.
    chosen : dict of ndarray
        Pairs of each subset.

    Returns
    -------
    dict
        Variables ``forecast_power`` and ``truth_power``, dimensions (wavenumber, subset, channel,
        lead), in squared units of the channel, and ``log_spectral_distance`` in decibels.
    """
    dims = ("subset", "channel", "prediction_timedelta")
    power = {
        name: np.moveaxis(subset_means(statistics[name].values, chosen), 1, 2)
        for name in ("forecast_power", "truth_power")
    }
    distance = log_spectral_distance(*(np.moveaxis(each, 0, -1) for each in power.values()))
    whose = {"forecast_power": "forecast", "truth_power": "truth"}
    variables: dict[str, Any] = {
        name: (
            ("wavenumber", *dims),
            values,
            {"long_name": f"power of the {whose[name]} along longitude, in squared units"},
        )
        for name, values in power.items()
    }
    variables["log_spectral_distance"] = (
        dims,
        distance,
        {"long_name": "distance of the spectra of forecast and truth", "units": "dB"},
    )
    return variables
