"""Test the weights of area indices on grids in both conventions of longitude, and with masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.config.verification_config import IndexConfig
from gfrnn.pipeline.data.area_index import index_weights
from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.errors import ConfigError

SST = "sea_surface_temperature"
LATITUDE = np.arange(-10.0, 11, 5)
LONGITUDE = np.arange(0.0, 360, 10)


def grid(longitude: np.ndarray = LONGITUDE, mask: np.ndarray | None = None) -> Grid:
    channels = (Channel("geopotential", 500.0), Channel("geopotential", 850.0), Channel(SST))
    return Grid(channels, LATITUDE, longitude, mask)


def index(
    longitude: tuple[float, float] = (190, 240), variable: str = SST, level: float | None = None
) -> IndexConfig:
    return IndexConfig(variable=variable, level=level, latitude=(-5, 5), longitude=longitude)


def mean(field: np.ndarray, box: IndexConfig, on: Grid) -> float:
    """Return the index of a field (latitudes, longitudes), the same in all channels."""
    values = np.broadcast_to(field, on.shape).reshape(-1)
    return float(values @ index_weights({"box": box}, on)[0])


def test_the_index_of_a_known_field():
    field = 20 + LATITUDE[:, None] ** 2 + 0.1 * LONGITUDE
    cosine = np.cos(np.deg2rad([-5, 0, 5]))
    expected = 20 + 25 * (cosine[0] + cosine[2]) / cosine.sum() + 0.1 * 215
    assert mean(field, index(), grid()) == pytest.approx(expected, rel=1e-14)


def test_only_the_variable_and_its_level_count():
    weights = index_weights({"a": index(), "b": index(variable="geopotential", level=850)}, grid())
    weights = weights.reshape(2, *grid().shape)
    assert (weights.any(axis=(2, 3)) == [[False, False, True], [False, True, False]]).all()
    np.testing.assert_allclose(weights.sum(axis=(1, 2, 3)), 1, rtol=1e-14)


@settings(max_examples=60)
@given(west=st.integers(-36, 36), width=st.integers(0, 35), turns=st.integers(-1, 0))
def test_conventions_of_longitude_do_not_matter(west, width, turns):
    """Boxes across Greenwich and the date line are those of a grid that is cut elsewhere."""
    box = index((10.0 * west, 10.0 * (west + width) + 360 * turns))
    field = np.sin(np.deg2rad(LONGITUDE)) + LATITUDE[:, None]
    centred = np.roll(LONGITUDE, 18)
    centred = np.where(centred >= 180, centred - 360, centred)
    inside = (10 * (west + np.arange(width + 1))) % 360
    expected = np.sin(np.deg2rad(inside)).mean()  # latitudes cancel
    assert mean(field, box, grid()) == pytest.approx(expected, abs=1e-12)
    assert mean(np.roll(field, 18, axis=1), box, grid(centred)) == pytest.approx(
        expected, abs=1e-12
    )


@pytest.mark.parametrize("longitude", [(0, 360), (-180, 180), (10, 10 + 360)])
def test_a_box_may_go_round_the_globe(longitude):
    weights = index_weights({"belt": index(longitude)}, grid()).reshape(grid().shape)
    assert np.count_nonzero(weights) == 3 * len(LONGITUDE)


def test_masked_cells_are_left_out():
    mask = np.zeros(grid().shape, dtype=bool)
    mask[2, 1:, 20:] = True  # leaves the latitudes up to -10, and the longitude 190
    field = LONGITUDE + 0 * LATITUDE[:, None]
    assert mean(field, index(), grid(mask=mask.reshape(-1))) == pytest.approx(190, rel=1e-14)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"variable": "sst"}, r"box\.variable: sst is not among .* geopotential, sea_surf.*choose"),
        ({"variable": "geopotential"}, r"box\.level: none, but .* levels 500, 850 hPa; choose"),
        ({"variable": "geopotential", "level": 700}, r"box\.level: 700 hPa, but .* 500, 850"),
        ({"level": 500}, r"box\.level: 500 hPa, but sea_surface_temperature has no levels; leave"),
        ({"longitude": (181, 189)}, r"box: .*\[181.*189.*contains no cell of .* 0\.\.350 \(36\)"),
    ],
)
def test_what_the_data_do_not_have_is_named(wrong: dict[str, Any], words: str):
    with pytest.raises(ConfigError, match=rf"verification\.indices\.{words}"):
        index_weights({"box": index(**wrong)}, grid())


def test_a_box_on_land_is_named():
    mask = np.zeros(grid().shape, dtype=bool)
    mask[2, 1:4] = True
    with pytest.raises(ConfigError, match="no cell of sea_surface_temperature that has values; 18"):
        index_weights({"box": index()}, grid(mask=mask.reshape(-1)))
