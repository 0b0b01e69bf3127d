"""Figure of the scores of monthly data by calendar month of the target."""

from __future__ import annotations

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gfrnn.pipeline.config.verification_config import WHOLE
from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.verification.subsets import MONTHS
from gfrnn.workflows.report.figures import STYLE, WIDTH, Picture, embed
from gfrnn.workflows.report.labels import channel_label, heading, lead_label


@matplotlib.rc_context(STYLE)
def month_picture(scores: xr.Dataset, channel: Channel) -> Picture:
    """Draw RMSE relative to climatology and anomaly correlation by target month and lead.

    Parameters
    ----------
    scores : xarray.Dataset
        Scores of subsets, calendar months among them.
    channel : Channel
    """
    own = scores.sel(channel=channel.name, region=WHOLE, subset=list(MONTHS))
    rmse = own["rmse"]
    ratio = rmse.sel(system="forecast") / rmse.sel(system="climatology")
    correlation = own["acc"].sel(system="forecast")
    leads = own["prediction_timedelta"].values
    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    for panel, values, title, (low, high), colours in zip(
        figure.subplots(1, 2),
        (ratio, correlation),
        ("RMSE / RMSE of climatology", "anomaly correlation"),
        ((0.0, 2.0), (-1.0, 1.0)),  # with the middle colour at no skill
        ("RdBu_r", "RdBu"),
        strict=True,
    ):
        drawn = values.transpose("subset", "prediction_timedelta").values
        edges = leads[0] * (np.arange(leads.size + 1) + 0.5)
        mesh = panel.pcolormesh(
            edges, np.arange(13) + 0.5, drawn, vmin=low, vmax=high, cmap=colours, rasterized=True
        )
        panel.set(title=title, xlabel="lead (months)", ylabel="target month")
        panel.set_yticks(range(1, 13), [name[:3] for name in MONTHS])
        panel.invert_yaxis()
        panel.grid(visible=False)
        figure.colorbar(mesh, ax=panel)
    figure.suptitle(heading(channel), x=0.008, ha="left", size=11, weight="bold")
    last = lead_label(leads[-1])
    at_last = ratio.isel(prediction_timedelta=-1).fillna(1.0).values
    best, worst = (MONTHS[int(f(at_last))] for f in (np.argmin, np.argmax))
    return embed(
        figure,
        f"Two panels of target month against lead for {channel_label(channel)}: RMSE over that of "
        f"climatology, and anomaly correlation. At {last}, the ratio is smallest for {best} and "
        f"largest for {worst}.",
    )
