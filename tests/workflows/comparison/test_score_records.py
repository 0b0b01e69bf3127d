"""Test records of scores, as ``--json`` prints them."""

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
    dims = ("system", "prediction_timedelta")
    scores = xr.Dataset(
        {"rmse": (dims, [[0.5]])}, {"system": ["linear"], "prediction_timedelta": [3]}
    )
    assert score_records(scores, "system") == [{"system": "linear", "lead": "3mo", "rmse": 0.5}]


def test_coordinates_of_other_dimensions_are_left_out() -> None:
    dims = ("channel", "system", "prediction_timedelta")
    scores = xr.Dataset(
        {"rmse": (dims, np.array([[[1.0, 2.0]]])), "rank_histogram": ("rank", np.ones(3))},
        {
            "channel": ["geopotential_500"],
            "units": ("channel", ["m2 s-2"]),
            "system": ["forecast"],
            "prediction_timedelta": np.array([24, 48], "m8[h]").astype("m8[ns]"),
            "rank": np.arange(3),
        },
    )
    place = {"channel": "geopotential_500", "system": "forecast", "units": "m2 s-2"}
    assert score_records(scores, "channel", "system") == [
        {**place, "lead": "24h", "rmse": 1.0},
        {**place, "lead": "48h", "rmse": 2.0},
    ]
