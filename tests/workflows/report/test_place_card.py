"""Test the probabilities of an ensemble at a place."""

from __future__ import annotations

import numpy as np
import pytest

from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.errors import ConfigError
from gfrnn.workflows.report.place_card import PlaceCell, PlaceValues, cells_of, place_card

CHANNEL = Channel("2m_temperature")
LATITUDE = np.linspace(40.0, 50.0, 6)
LONGITUDE = np.sort(np.arange(-8.0, 9.0, 2.0) % 360)  # across Greenwich
LEADS = np.arange(1, 4) * np.timedelta64(1, "D").astype("timedelta64[ns]")


def grid(mask: np.ndarray | None = None) -> Grid:
    return Grid((CHANNEL,), LATITUDE, LONGITUDE, None if mask is None else mask.reshape(-1))


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((44.2, -5.1), (44.0, 354.0)),
        ((50.9, 8.9), (50.0, 8.0)),
        ((39.1, 359.4), (40.0, 0.0)),
        ((46.0, -0.2), (46.0, 0.0)),
    ],
)
def test_a_place_has_the_nearest_cell_in_both_conventions(place, expected):
    (cell,) = cells_of({"A": place}, grid())
    assert (LATITUDE[cell.row], LONGITUDE[cell.column]) == expected


@pytest.mark.parametrize("place", [(51.2, 0.0), (38.0, 0.0), (45.0, -9.5), (45.0, 170.0)])
def test_a_place_outside_of_the_grid_is_refused(place):
    with pytest.raises(ConfigError, match=r"--place B: .* outside of the grid, latitudes 40 to 50"):
        cells_of({"A": (45.0, 0.0), "B": place}, grid())


def test_a_masked_place_is_refused_and_the_default_is_not_masked():
    mask = np.zeros((1, 6, 9), dtype=bool)
    mask[0, 2:4] = True
    with pytest.raises(ConfigError, match="--place sea: .* masked"):
        cells_of({"sea": (44.0, 0.0)}, grid(mask))
    (cell,) = cells_of({}, grid(mask))
    assert cell.row in (1, 4)
    assert LONGITUDE[cell.column] == 0.0  # the middle of the box, not of the array


def values(members: np.ndarray, truth: list[float]) -> PlaceValues:
    return PlaceValues(CHANNEL, "K", LEADS, members, np.array(truth), np.full(3, 280.0))


def test_the_card_has_quantiles_and_the_probability_of_each_event():
    members = 270.0 + np.arange(21.0)[:, None] * np.array([0.0, 1.0, 2.0])
    own = values(members, [270.0, 281.0, 300.0])
    limits = {CHANNEL.name: [280.0, 295.0], "other": [1.0]}
    card = place_card(PlaceCell("Home", 2, 1), grid(), [own], limits)
    assert card.title == "Home, 44°N 2°E"
    quantiles, freezing, hot = (plain(each.alt) for each in card.pictures)
    assert "2m temperature in K against lead" in quantiles
    assert "270 (270 to 270) at +1 d, truth 270" in quantiles
    assert "290 (272 to 308) at +3 d, truth 300" in quantiles
    assert "at least 280 K: 0 % at +1 d, it did not, 52 % at +2 d, it happened" in freezing
    assert "76 % at +3 d, it happened" in freezing
    assert "38 % at +3 d, it happened" in hot


def test_a_single_lead_and_missing_values_are_drawn():
    members = np.full((5, 1), np.nan)
    own = PlaceValues(CHANNEL, "K", LEADS[:1], members, np.array([np.nan]), np.array([280.0]))
    card = place_card(PlaceCell("", 0, 8), grid(), [own], {CHANNEL.name: [280.0]})
    assert card.title == "40°N 2°W"
    assert len(card.pictures) == 2
    assert "at least 280 K: diverged at +1 d, it did not" in plain(card.pictures[1].alt)
