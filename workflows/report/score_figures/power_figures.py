"""Figures of power along longitude: do the forecasts lose detail?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Channel
from gfrnn.pipeline.verification.statistics.power_spectra import power_ratio, rounding_power
from gfrnn.workflows.report.figures import STYLE, Picture, embed
from gfrnn.workflows.report.labels import channel_label, lead_label, unit_label
from gfrnn.workflows.report.score_figures.panels import (
    LEADS,
    blank_panel,
    described,
    lead_panel,
    line_across,
    line_style,
)

Array = NDArray[Any]

# Lines of bands of wavenumbers, from long waves to short ones.
_BANDS: tuple[dict[str, Any], ...] = (
    {"color": "0.1", "linewidth": 1.8},
    {"color": "0.4", "linestyle": (0, (5, 1.5)), "linewidth": 1.6},
    {"color": "0.6", "linestyle": (0, (1, 1.2)), "linewidth": 1.8},
)


def power_pictures(scores: xr.Dataset, channel: Channel, shown: Sequence[int]) -> list[Picture]:
    """Plot the spectra of one channel.

    Parameters
    ----------
    scores : xarray.Dataset
        Scores of the whole area and all pairs, with spectra.
    channel : Channel
    shown : sequence of int
        Indices of the leads of the spectra.

    Returns
    -------
    list of Picture
        Power of forecast and truth against wavenumber, their ratio, the ratio in bands of
        wavenumbers against lead, and the distance of the spectra against lead; none if the channel
        has no spectrum, as where every row of the grid has masked cells. Wavenumbers that have no
        power but that of rounding are left out, and so is wavenumber 0.
    """
    own = scores.sel(channel=channel.name)
    chosen = own.isel(prediction_timedelta=list(shown))
    forecast, truth = (
        chosen[f"{name}_power"].transpose("prediction_timedelta", "wavenumber").values
        for name in ("forecast", "truth")
    )
    visible = np.asarray((truth > rounding_power(truth)).any(axis=0))
    visible[0] = False
    numbers = np.flatnonzero(visible)
    if not len(numbers):
        return []
    leads = own["prediction_timedelta"].values
    unit = unit_label(str(own["units"].item()))
    when = f"{channel_label(channel)} at {', '.join(lead_label(leads[place]) for place in shown)}"
    ratio = power_ratio(forecast, truth)[:, numbers]
    distance = own["log_spectral_distance"].values
    return [
        _power_picture(numbers, forecast[:, numbers], truth[:, numbers], unit, when),
        _ratio_picture(numbers, ratio, when),
        _bands_picture(own, scale_bands(numbers), channel_label(channel)),
        _distance_picture(distance, leads, channel_label(channel)),
    ]


def _wavenumber_panel(title: str, **scales: str) -> tuple[Figure, Axes]:
    """Return a figure with one empty panel, and wavenumbers on its axis."""
    figure, panel = blank_panel(title, xlabel="wavenumber", xscale="log", **scales)
    panel.minorticks_off()  # they take as long to draw as the rest of the picture
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    return figure, panel


@matplotlib.rc_context(STYLE)
def _power_picture(numbers: Array, forecast: Array, truth: Array, unit: str, when: str) -> Picture:
    """Plot the power of the forecasts, a line a lead, and of the truth, against wavenumber.

    Parameters
    ----------
    numbers : ndarray, shape (wavenumbers,)
    forecast, truth : ndarray, shape (leads, wavenumbers)
    unit : str
        Of the channel.
    when : str
        Channel and leads.
    """
    title = f"Power (({unit})²)" if " " in unit else f"Power ({unit}²)"
    figure, panel = _wavenumber_panel(title, yscale="log")
    for style, power in zip(LEADS, forecast, strict=False):
        panel.plot(numbers, power, **style)
    panel.plot(numbers, truth.mean(axis=0), color="0.2", linewidth=1.0, zorder=1)
    return embed(figure, f"Power along longitude of {when} and of the truth, against wavenumber.")


@matplotlib.rc_context(STYLE)
def _ratio_picture(numbers: Array, ratio: Array, when: str) -> Picture:
    """Plot the power of the forecasts relative to that of the truth, a line a lead."""
    figure, panel = _wavenumber_panel("Power / that of truth")
    for style, own in zip(LEADS, ratio, strict=False):
        panel.plot(numbers, own, **style)
    line_across(panel, 1.0)
    drawn = ratio[np.isfinite(ratio)]
    panel.set_ylim(0, max(1.25, 1.05 * drawn.max(initial=0.0)))
    last = ", ".join(f"{own[-1]:.2f}" for own in ratio)
    return embed(
        figure,
        f"Power along longitude of {when}, relative to that of the truth, against wavenumber. At "
        f"wavenumber {numbers[-1]}: {last}.",
    )


def scale_bands(numbers: Array) -> list[Array]:
    """Divide wavenumbers into at most three bands of equal ratios: long, medium and short waves.

    Parameters
    ----------
    numbers : ndarray of int
        Ascending, above 0.
    """
    edges = np.geomspace(numbers[0], numbers[-1] + 1, 4)
    places = np.digitize(numbers, edges[1:-1] * (1 - 1e-9))  # whole edges may be rounded up
    return [numbers[places == band] for band in range(3) if (places == band).any()]


@matplotlib.rc_context(STYLE)
def _bands_picture(own: xr.Dataset, bands: Sequence[Array], name: str) -> Picture:
    """Plot the power of the forecasts in bands of wavenumbers, relative to the truth, against lead.

    Parameters
    ----------
    own : xarray.Dataset
        Scores of one channel.
    bands : sequence of ndarray of int
    name : str
        Of the channel.
    """
    leads = own["prediction_timedelta"].values
    figure, panel, times = lead_panel(leads, "Power / that of truth")
    words = []
    for style, band in zip(_BANDS, bands, strict=False):
        forecast, truth = (
            own[f"{which}_power"].isel(wavenumber=band).sum("wavenumber", skipna=False).values
            for which in ("forecast", "truth")
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = forecast / truth
        label = f"{band[0]}\N{EN DASH}{band[-1]}" if len(band) > 1 else f"{band[0]}"
        panel.plot(times, ratio, label=label, **style)
        words.append(f"{ratio[0]:.2f} and {ratio[-1]:.2f} at wavenumbers {label}")
    line_across(panel, 1.0)
    panel.set_ylim(0, max(1.25, panel.get_ylim()[1]))
    panel.legend(fontsize=8, loc="lower left", title="wavenumbers", title_fontsize=8)
    return embed(
        figure,
        f"Power of {name} in bands of wavenumbers, relative to that of the truth, against lead, at "
        f"{lead_label(leads[0])} and {lead_label(leads[-1])}: {'; '.join(words)}.",
    )


@matplotlib.rc_context(STYLE)
def _distance_picture(distance: Array, leads: Array, name: str) -> Picture:
    """Plot the distance of the spectra against lead."""
    title = "Log spectral distance (dB)"
    figure, panel, times = lead_panel(leads, title)
    panel.plot(times, distance, **line_style("forecast", len(leads)))
    panel.set_ylim(0, 1.08 * distance[np.isfinite(distance)].max(initial=0.0) or 1.0)
    return embed(figure, described(title, name, distance, leads))
