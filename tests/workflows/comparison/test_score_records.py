"""Test records of scores, as ``--json`` prints them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from gfrnn.workflows.comparison.score_records import score_records


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
