"""Means over regions: against loops over cells, and regions that are refused."""

from __future__ import annotations

import numpy as np
import pytest

from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.config.verification_config import KNOWN_REGIONS, VerificationConfig
from gfrnn.pipeline.data.grid import Channel, Grid
from gfrnn.pipeline.errors import ConfigError
from gfrnn.pipeline.verification.statistics.region_means import RegionMeans
from gfrnn_testing.pair_scores import product_means

LATITUDE, LONGITUDE = np.linspace(-85, 85, 18), np.arange(0.0, 360, 20)
CHANNELS = (Channel("temperature", 500.0), Channel("sea_surface_temperature"))
REGIONS = {
    "tropics": None,
    "atlantic": {"latitude": [10, 70], "longitude": [-60, 25]},  # across Greenwich
}


def config(regions: object) -> VerificationConfig:
    return checked(VerificationConfig, {"regions": regions}, "test")


def grid() -> Grid:
    mask = np.zeros((2, 18, 18), dtype=bool)
    mask[1, :, 5:] = np.random.default_rng(0).random((18, 13)) < 0.5
    return Grid(CHANNELS, LATITUDE, LONGITUDE, mask.reshape(-1))


def test_means_are_those_of_loops_over_cells():
    own = grid()
    means = RegionMeans.on_grid(own, config(REGIONS).regions)
    assert means.names == ("all", "tropics", "atlantic")
    rng = np.random.default_rng(1)
    first, second = (np.where(own.valid, rng.normal(size=(3, 2, 18, 18)), 0.0) for _ in range(2))
    weighted = [each.reshape(3, 2, -1) * means.roots for each in (first, second)]
    found = product_means(*weighted, means)
    assert found.shape == (3, 3, 2)
    for number, name in enumerate(means.names):
        for channel in range(2):
            total, weights = np.zeros(3), 0.0
            for row, latitude in enumerate(LATITUDE):
                for column, longitude in enumerate(LONGITUDE):
                    inside = {
                        "all": True,
                        "tropics": abs(latitude) <= 20,
                        "atlantic": 10 <= latitude <= 70 and (longitude >= 300 or longitude <= 25),
                    }[name]
                    if inside and own.valid[channel, row, column]:
                        weight = np.cos(np.deg2rad(latitude))
                        weights += weight
                        total += weight * (first * second)[:, channel, row, column]
            np.testing.assert_allclose(found[:, number, channel], total / weights, rtol=1e-12)


def test_the_whole_area_does_not_depend_on_the_regions():
    own = grid()
    fields = np.random.default_rng(2).normal(size=(4, 2, 324)) * RegionMeans.on_grid(own).roots
    alone = product_means(fields, fields, RegionMeans.on_grid(own))
    regions = config(REGIONS).regions
    among = product_means(fields, fields, RegionMeans.on_grid(own, regions))
    np.testing.assert_allclose(alone[:, 0], among[:, 0], rtol=1e-13)


def test_a_region_without_cells_of_a_channel_has_no_mean():
    mask = np.zeros((2, 18, 18), dtype=bool)
    mask[1, np.abs(LATITUDE) <= 20] = True
    own = Grid(CHANNELS, LATITUDE, LONGITUDE, mask.reshape(-1))
    means = RegionMeans.on_grid(own, config(["tropics"]).regions)
    found = product_means(means.roots[None], means.roots[None], means)[0]
    np.testing.assert_allclose(found[:, 0], 1.0)
    assert np.isnan(found[1, 1])


@pytest.mark.parametrize("name", KNOWN_REGIONS)
def test_well_known_regions_have_cells_on_the_globe(name):
    land = np.add.outer(LATITUDE, LONGITUDE) > 100
    masks = {"land": land, "sea": ~land}
    means = RegionMeans.on_grid(grid(), config([name]).regions, masks)
    assert 0 < means.shares[0, 0] < 1


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        (["atlantis"], r"atlantis is not a well-known region \(northern_extratropics, "),
        ({"all": {"latitude": [0, 1], "longitude": [0, 1]}}, "all is the name of the whole area"),
        ({"mine": {"latitude": [50, 40], "longitude": [0, 1]}}, "is not \\[south, north\\]"),
        ({"mine": {}}, "mine: is the whole area; set latitude, longitude or field"),
        ({"mine": {"below": 3}}, "at_least and below are limits of a field; set field too"),
        (
            {"mine": {"field": "orography", "at_least": 3, "below": 3}},
            "no value is at least 3 and below 3; choose a lower",
        ),
        ({"mine": {"field": "orography", "below": float("inf")}}, "below.*finite"),
        ({"a b": {"latitude": [0, 1], "longitude": [0, 1]}}, "a b"),
    ],
)
def test_bad_regions_are_refused(regions, said):
    with pytest.raises(ConfigError, match=said):
        config(regions)


def test_a_region_outside_of_the_grid_is_refused():
    box = {"latitude": [86, 90], "longitude": [0, 360]}
    with pytest.raises(ConfigError, match=r"regions.pole: latitude \[86.0, 90.0\].* no cell"):
        RegionMeans.on_grid(grid(), config({"pole": box}).regions)


def test_land_and_sea_share_the_area():
    """The mean over all is the mean of both, with their areas as weights."""
    own, land = grid(), np.random.default_rng(4).random((18, 18)) < 0.3
    masks = {"land": land, "sea": ~land}
    means = RegionMeans.on_grid(own, config(["land", "sea"]).regions, masks)
    fields = np.random.default_rng(5).normal(size=(3, 2, 324)) * means.roots
    whole, *parts = product_means(fields, fields, means).swapaxes(0, 1)
    np.testing.assert_allclose(means.shares.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(np.einsum("rsc,cr->sc", parts, means.shares), whole, rtol=1e-12)


def test_a_region_extends_over_what_it_does_not_limit():
    cells = config({"band": {"latitude": [10, 50]}, "half": {"longitude": [-90, 90]}}).regions
    shares = RegionMeans.on_grid(grid(), cells).shares
    cosine = np.cos(np.deg2rad(LATITUDE))
    band = cosine[(LATITUDE >= 10) & (LATITUDE <= 50)].sum() / cosine.sum()
    half = np.mean((LONGITUDE <= 90) | (LONGITUDE >= 270))
    np.testing.assert_allclose(shares[0], [band, half], rtol=1e-12)


def test_a_mask_that_no_cell_reaches_is_refused():
    regions = config({"peaks": {"field": "orography", "at_least": 9e3}}).regions
    masks = {"peaks": np.zeros((18, 18), dtype=bool)}
    with pytest.raises(ConfigError, match="peaks.* and orography at least 9000 has no"):
        RegionMeans.on_grid(grid(), regions, masks)
