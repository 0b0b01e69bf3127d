"""Test that forecasts that leave the range are found, with the place where they did so."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.forecasting.divergence import (
    DIVERGENCE,
    STAYED,
    departures,
    divergence_text,
    divergences,
    rollout_counts,
)
from gfrnn.pipeline.states.climatology import Climatology, Scaling
from gfrnn.pipeline.states.patch_states import LocalLayout

GRID = Grid(
    (Channel("mean_sea_level_pressure"), Channel("temperature", 850.0)),
    np.array([30.0, 40.0, 50.0]),
    np.array([0.0, 10.0, 20.0, 350.0]),
)


def layout() -> LocalLayout:
    """Pressure has a standard deviation of 400 Pa, temperature one of 3 K."""
    climatology = Climatology(0, 0, np.zeros((1, GRID.size)), np.array([400.0, 3.0]))
    return LocalLayout(Scaling(GRID, climatology, area_weighted=False))


def test_the_place_is_that_of_the_largest_anomaly_in_standard_deviations():
    fields = np.zeros((3, *GRID.shape))
    fields[:, 0, 1, 2] = -2000.0  # 5 standard deviations
    fields[1, 1, 2, 3] = 18.0  # 6
    own = layout()
    before = own.encode(fields.reshape(3, -1), np.zeros(3, "M8[ns]"))
    after = before.copy()
    after[:2, 5] = np.nan
    places = departures(before, after, own)
    assert places.tolist() == [
        np.ravel_multi_index((0, 1, 2), GRID.shape),
        np.ravel_multi_index((1, 2, 3), GRID.shape),
        STAYED,
    ]
    assert departures(after, after, own).tolist() == [STAYED] * 3  # they diverged earlier


def test_the_description_has_time_lead_and_place():
    initial = np.array(["2001-01-01", "2001-01-02", "2001-01-03"], "M8[ns]")
    valid = initial[:, None] + np.arange(1, 5) * np.timedelta64(12, "h")
    departed = np.full((3, 4), STAYED)
    departed[0, 3] = np.ravel_multi_index((0, 1, 2), GRID.shape)
    departed[2, 1] = np.ravel_multi_index((1, 2, 3), GRID.shape)
    text = divergence_text(initial, valid, departed, GRID)
    assert json.loads(text) == [
        {
            "initial": "2001-01-01T00:00",
            "lead": 4,
            "valid": "2001-01-03T00:00",
            "channel": "mean_sea_level_pressure",
            "latitude": 40.0,
            "longitude": 20.0,
        },
        {
            "initial": "2001-01-03T00:00",
            "lead": 2,
            "valid": "2001-01-04T00:00",
            "channel": "temperature_850",
            "latitude": 50.0,
            "longitude": 350.0,
        },
    ]
    forecasts = xr.Dataset(attrs={"lost_forecasts": 2, DIVERGENCE: text})
    limited = np.zeros((3, 4))
    assert rollout_counts(forecasts, limited) == {
        "forecasts": 3,
        "diverged": 2,
        "first_divergence": json.loads(text)[1],
    }
    limited[0, 2:] = 0.1
    counts = rollout_counts(xr.Dataset(attrs={"lost_forecasts": 0}), limited)
    assert counts == {"forecasts": 3, "limited": 1, "first_limited_lead": 3}


def test_stores_of_earlier_versions_have_only_the_number():
    forecasts = xr.Dataset(attrs={"lost_forecasts": 2})
    assert divergences(forecasts) == []
    assert rollout_counts(forecasts, np.zeros((3, 4))) == {"forecasts": 3, "diverged": 2}
