"""Test scores as records."""

from __future__ import annotations

import numpy as np
import xarray as xr

from gfrnn.workflows.comparison.score_records import score_records


def test_scores_with_other_dimensions_are_left_out_with_their_coordinates():
    days = np.arange(1, 3).astype("timedelta64[D]").astype("timedelta64[ns]")
    scores = xr.Dataset(
        {
            "rmse": (("system", "prediction_timedelta"), [[1.0, 2.0], [3.0, 4.0]]),
            "index_correlation": (("index", "prediction_timedelta"), [[0.9, 0.8]]),
        },
        {
            "system": ["forecast", "linear"],
            "prediction_timedelta": days,
            "index": ["nino34"],
            "index_units": ("index", ["K"]),
        },
    )
    assert score_records(scores, "system") == [
        {"system": "forecast", "lead": "24h", "rmse": 1.0},
        {"system": "forecast", "lead": "48h", "rmse": 2.0},
        {"system": "linear", "lead": "24h", "rmse": 3.0},
        {"system": "linear", "lead": "48h", "rmse": 4.0},
    ]


def test_leads_in_months():
    scores = xr.Dataset({"rmse": ("prediction_timedelta", [0.5])}, {"prediction_timedelta": [3]})
    assert score_records(scores, "system") == [{"lead": "3mo", "rmse": 0.5}]
