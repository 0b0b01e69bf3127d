"""Figures of skill against lead: one small picture for each score of a channel or index."""

from __future__ import annotations

import xarray as xr

from gfrnn.pipeline.data.grid import Channel
from gfrnn.workflows.report.figures import Picture
from gfrnn.workflows.report.labels import channel_label, unit_label
from gfrnn.workflows.report.score_figures.panels import change_picture, curves
from gfrnn.workflows.report.score_figures.score_change import score_change

USEFUL = 0.6
"""Anomaly correlation above which a forecast counts as useful."""


def skill_pictures(scores: xr.Dataset, channel: Channel) -> list[Picture]:
    """Plot scores of one channel against lead.

    Returns
    -------
    list of Picture
        RMSE, RMSE against that of the linear model with its interval, anomaly correlation, bias.
    """
    own = scores.sel(channel=channel.name)
    leads = own["prediction_timedelta"].values
    unit, name = unit_label(str(own["units"].item())), channel_label(channel)
    return [
        curves(own["rmse"], leads, f"RMSE ({unit})", name, bottom=0.0),
        change_picture(score_change(own, "linear"), leads, "RMSE", name),
        curves(own["acc"], leads, "Anomaly correlation", name, top=1.0, line=USEFUL),
        curves(own["bias"], leads, f"Bias ({unit})", name, line=0.0),
    ]


def index_pictures(scores: xr.Dataset, name: str) -> list[Picture]:
    """Plot correlation and RMSE of an index against lead."""
    own = scores.sel(index=name)
    leads = own["prediction_timedelta"].values
    unit = unit_label(str(own["index_units"].item()))
    return [
        curves(own["index_correlation"], leads, "Correlation", f"index {name}", top=1.0, line=0.0),
        curves(own["index_rmse"], leads, f"RMSE ({unit})", f"index {name}", bottom=0.0),
    ]
