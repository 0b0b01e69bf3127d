"""Probabilities at a place: the ensemble of one forecast at a grid cell, against lead."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import (
    COORDINATE_TOLERANCE,
    Channel,
    Grid,
    contiguous_longitudes,
)
from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.report.figures import STYLE, Picture, embed
from gfrnn.workflows.report.labels import heading, lead_label, number, unit_label
from gfrnn.workflows.report.maps import east_label, north_label
from gfrnn.workflows.report.score_figures.panels import LEADS, lead_panel, line_across

Array = NDArray[Any]

BANDS = ((0.05, 0.95, 0.18), (0.25, 0.75, 0.32))
"""Quantiles at the ends of the bands, and the opacity of each."""

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_OWN = LEADS[0]["color"]


@dataclass(frozen=True)
class PlaceCell:
    """A place and the grid cell that contains it.

    Attributes
    ----------
    name : str
    row, column : int
        Positions of the cell among the latitudes and longitudes of the grid.
    """

    name: str
    row: int
    column: int


@dataclass(frozen=True)
class PlaceValues:
    """One channel of a forecast at a cell.

    Attributes
    ----------
    channel : Channel
    units : str
    leads : ndarray, shape (leads,)
    members : ndarray, shape (members, leads)
    truth, climatology : ndarray, shape (leads,)
    """

    channel: Channel
    units: str
    leads: Array
    members: Array
    truth: Array
    climatology: Array


@dataclass(frozen=True)
class PlaceCard:
    """Pictures of the forecast at a place.

    Attributes
    ----------
    title : str
        Name of the place, and the coordinates of the cell.
    pictures : list of Picture
        Quantiles of each channel, and the probability of each event.
    """

    title: str
    pictures: list[Picture]


def cells_of(places: Mapping[str, tuple[float, float]], grid: Grid) -> list[PlaceCell]:
    """Return the cells of places, or the one in the middle of the grid if there are none.

    Parameters
    ----------
    places : mapping of str to (float, float)
        Names, and latitude and longitude in degrees.
    grid : Grid

    Raises
    ------
    ConfigError
        If a place is outside of the grid, or its cell is masked in all channels.
    """
    usable = np.asarray(grid.valid.any(axis=0))
    _, degrees = contiguous_longitudes(grid.longitude)
    if not places:
        return [_middle(grid, usable)]
    found = []
    for name, (latitude, longitude) in places.items():
        row, south = _nearest(grid.latitude, latitude - grid.latitude)
        column, west = _nearest(degrees, (longitude - grid.longitude + 180) % 360 - 180)
        if south or west:
            raise ConfigError(
                f"--place {name}: {latitude:g}, {longitude:g} is outside of the grid, latitudes "
                f"{grid.latitude[0]:g} to {grid.latitude[-1]:g} and longitudes "
                f"{degrees[0]:g} to {degrees[-1]:g}; choose a place inside"
            )
        if not usable[row, column]:
            raise ConfigError(
                f"--place {name}: the cell at {latitude:g}, {longitude:g} has no values (it is "
                "masked); choose a place with values"
            )
        found.append(PlaceCell(name, row, column))
    return found


def _nearest(axis: Array, distance: Array) -> tuple[int, bool]:
    """Return the place of the smallest distance, and whether it is beyond the edge of the cell."""
    place = int(np.abs(distance).argmin())
    spacing = float(np.diff(axis).max()) if len(axis) > 1 else 1.0
    return place, bool(abs(distance[place]) > 0.5 * spacing + COORDINATE_TOLERANCE)


def _middle(grid: Grid, usable: Array) -> PlaceCell:
    """Return the cell with values that is nearest to the middle of the grid."""
    rows, columns = np.nonzero(usable)
    middle = (np.array(usable.shape) - 1) / 2
    eastwards = np.argsort(contiguous_longitudes(grid.longitude)[0])
    place = ((rows - middle[0]) ** 2 + (eastwards[columns] - middle[1]) ** 2).argmin()
    return PlaceCell("", int(rows[place]), int(columns[place]))


def place_card(
    cell: PlaceCell,
    grid: Grid,
    values: Sequence[PlaceValues],
    events: Mapping[str, Sequence[float]],
) -> PlaceCard:
    """Draw the forecast at a place.

    Parameters
    ----------
    cell : PlaceCell
    grid : Grid
    values : sequence of PlaceValues
        Of each channel that has values there.
    events : mapping of str to sequence of float
        Thresholds of the events of channels, by their names.
    """
    where = f"{north_label(grid.latitude[cell.row])} {east_label(grid.longitude[cell.column])}"
    pictures = []
    for own in values:
        limits = events.get(own.channel.name, ())
        pictures.append(_quantile_picture(own, limits))
        pictures += [_probability_picture(own, limit) for limit in limits]
    return PlaceCard(f"{cell.name}, {where}" if cell.name else where, pictures)


@matplotlib.rc_context(STYLE)
def _quantile_picture(own: PlaceValues, limits: Sequence[float]) -> Picture:
    """Plot quantiles of the members, the truth and the climatology against lead."""
    unit = unit_label(own.units)
    title = textwrap.shorten(
        heading(own.channel), 34 - len(unit), placeholder="\N{HORIZONTAL ELLIPSIS}"
    )
    figure, panel, times = lead_panel(own.leads, f"{title} ({unit})")
    found = dict(zip(_QUANTILES, np.quantile(own.members, _QUANTILES, axis=0), strict=True))
    for low, high, alpha in BANDS:
        panel.fill_between(times, found[low], found[high], color=_OWN, alpha=alpha, linewidth=0)
    panel.plot(times, found[0.5], color=_OWN, linewidth=1.8)
    panel.plot(times, own.climatology, color="0.5", linestyle=(0, (5, 2, 1, 2)), linewidth=1.0)
    panel.plot(times, own.truth, "o", color="0.1", markersize=3.5)
    for limit in limits:
        line_across(panel, limit)
    first, last = (
        f"{number(found[0.5][place])} ({number(found[0.05][place])} to "
        f"{number(found[0.95][place])}) at {lead_label(own.leads[place])}, truth "
        f"{number(own.truth[place])}"
        for place in (0, -1)
    )
    return embed(
        figure,
        f"{heading(own.channel)} in {unit} against lead: median and 90 % range of the members, "
        f"and truth. {first}; {last}.",
    )


@matplotlib.rc_context(STYLE)
def _probability_picture(own: PlaceValues, limit: float) -> Picture:
    """Plot the part of the members with an event, and whether it happened, against lead.

    Leads from which on the forecast has diverged have no probability.
    """
    unit = unit_label(own.units)
    label = f"{heading(own.channel)} of at least {limit:g} {unit}"
    figure, panel, times = lead_panel(own.leads, f"\N{GREATER-THAN OR EQUAL TO} {limit:g} {unit}")
    diverged = np.isnan(own.members).any(axis=0)
    share = np.where(diverged, np.nan, (own.members >= limit).mean(axis=0))
    width = 0.7 * float(np.diff(times).min()) if len(times) > 1 else 0.5
    panel.bar(times, 100 * share, width=width, color=_OWN, alpha=0.45)
    panel.plot(times, 100.0 * (own.truth >= limit), "o", color="0.1", markersize=3.5, clip_on=False)
    for time in times[diverged]:
        panel.text(time, 50, "diverged", rotation=90, ha="center", va="center", color="0.3")
    panel.set_ylim(0, 100)
    panel.yaxis.set_major_formatter(PercentFormatter(decimals=0))
    words = ", ".join(
        f"{'diverged' if np.isnan(part) else f'{100 * part:.0f} %'} at {lead_label(lead)}, it "
        f"{'happened' if real >= limit else 'did not'}"
        for part, lead, real in zip(share, own.leads, own.truth, strict=True)
    )
    return embed(figure, f"Probability of {label}: {words}.")
