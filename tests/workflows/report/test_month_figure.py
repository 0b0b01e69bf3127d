"""Scores of monthly data by calendar month of the target, in the report."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.config.verification_config import WHOLE
from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.verification.subsets import MONTHS
from gfrnn.workflows.report.score_figures.month_figure import month_picture

SST = Channel("sea_surface_temperature", None)


def made_scores(leads: int, step: int = 1) -> xr.Dataset:
    """Return scores of a forecast that is best for August and worst for April at the last lead."""
    rmse = np.ones((2, 1, 13, 1, leads))
    rmse[0] = 0.5
    rmse[0, 0, [8, 4], 0, -1] = 0.1, 0.9
    dims = ("system", "region", "subset", "channel", "prediction_timedelta")
    coords = {
        "system": ["forecast", "climatology"],
        "channel": [SST.name],
        "region": [WHOLE],
        "subset": [WHOLE, *MONTHS],
        "prediction_timedelta": ("prediction_timedelta", step * np.arange(1, leads + 1)),
    }
    fields = {"rmse": (dims, rmse), "acc": (dims, 1 - rmse)}
    return xr.Dataset(fields, coords)


@pytest.mark.parametrize(("leads", "step"), [(1, 1), (12, 1), (4, 3)])
def test_best_and_worst_month_are_named(leads: int, step: int) -> None:
    picture = month_picture(made_scores(leads, step), SST)
    last = f"+{leads * step}\N{NO-BREAK SPACE}mo"
    assert f"At {last}, the ratio is smallest for August and largest for April." in picture.alt
    kind, data = picture.uri.split(",", 1)
    assert kind == "data:image/svg+xml;base64"
    assert b"</svg>" in base64.b64decode(data)


def test_months_without_pairs_are_empty() -> None:
    scores = made_scores(3)
    scores["rmse"][:, :, 2] = np.nan
    assert "smallest for August" in month_picture(scores, SST).alt
