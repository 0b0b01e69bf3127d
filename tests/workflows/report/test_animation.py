"""Test the image of the frames of an animated forecast."""

from __future__ import annotations

import base64
import io

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.data.grid import Channel
from gfrnn.workflows.report.animation import Animation, animate
from gfrnn.workflows.report.example_forecast import _frame_leads, channel_map
from gfrnn.workflows.report.maps import MapField

WIDE = np.linspace(20, 70, 11), np.arange(0.0, 360.0, 10.0)
NARROW = np.linspace(30, 60, 11), np.sort(np.linspace(-15, 20, 8) % 360)


def made(grid, frames: int = 3) -> list[MapField]:
    """Return frames of a wave that grows with the lead; the forecast is the truth."""
    latitude, longitude = grid
    wave = np.sin(np.deg2rad(3 * longitude)) * np.cos(np.deg2rad(latitude))[:, None]
    mean = np.full(wave.shape, 280.0)
    full = [mean + 5 * lead * wave for lead in range(1, frames + 1)]
    return [MapField(Channel("t"), "K", values, values.copy(), mean) for values in full]


def drawn(fields, grid, coast: bool = False) -> tuple[Animation, np.ndarray]:
    names = [f"+{place}" for place in range(len(fields))]
    found = animate(fields, names, names, *grid, coast=coast)
    data = base64.b64decode(found.picture.uri.removeprefix("data:image/png;base64,"))
    return found, np.asarray(matplotlib.image.imread(io.BytesIO(data))[..., :3])


@pytest.mark.parametrize("grid", [WIDE, NARROW], ids=["wide", "narrow"])
def test_frames_are_of_one_size_and_below_each_other(grid):
    found, pixels = drawn(made(grid), grid)
    assert pixels.shape == (3 * found.height, found.width, 3)
    assert found.labels == ["+0", "+1", "+2"]
    frames = np.split(pixels, 3)
    # Colours become stronger from frame to frame.
    depth = [np.ptp(frame, axis=-1).mean() for frame in frames]
    assert depth[0] < depth[1] < depth[2]
    assert found.low == f"\N{MINUS SIGN}{found.high[1:]}"


def test_the_same_fields_look_the_same_on_both_sides():
    _, pixels = drawn(made(NARROW), NARROW)
    half = pixels.shape[1] // 2
    left, right = pixels[40:], pixels[40:, half + 6 :]
    assert np.abs(left[:380, : half - 10] - right[:380, : half - 10]).mean() < 0.005


def test_coastlines_are_drawn_where_they_are_wanted():
    _, without = drawn(made(NARROW), NARROW)
    _, along = drawn(made(NARROW), NARROW, coast=True)
    darker = (without - along > 0.1).all(axis=-1)
    assert 0.003 < darker.mean() < 0.05


def test_missing_values_and_a_forecast_that_has_diverged_are_grey():
    fields = made(NARROW)
    fields[2].forecast[:] = np.nan
    fields[0].truth[:, :3] = np.nan
    _, pixels = drawn(fields, NARROW)
    grey = np.isclose(pixels, 0.82, atol=0.02).all(axis=-1)
    forecast, truth = (
        [frame.mean() for frame in np.split(half, 3)] for half in np.array_split(grey, 2, axis=1)
    )
    assert forecast[2] > 0.5
    assert 0.4 < truth[0] < 0.55  # and the cells beside the masked ones
    assert max(*forecast[:2], *truth[1:]) < 0.02


def test_pale_colours_differ_from_missing_values():
    _, pixels = drawn(made(NARROW, 12), NARROW)
    assert np.isclose(pixels, 0.82, atol=0.02).all(axis=-1).mean() < 0.01


def test_a_fine_grid_takes_no_larger_image():
    fine = np.linspace(30, 60, 601), np.linspace(0, 40, 801)
    found, _ = drawn(made(fine, 2), fine)
    assert len(found.picture.uri) < 400_000


@pytest.mark.parametrize(
    ("step", "count", "expected"),
    [
        ("D", 5, [0, 1, 2, 3, 4]),
        ("D", 30, [2, 5, 8, 11, 14, 17, 20, 23, 26, 29]),
        ("6h", 40, [3, 7, 11, 15, 19, 23, 27, 31, 35, 39]),  # whole days
        ("6h", 5, [0, 1, 2, 3, 4]),
        ("months", 12, list(range(12))),
    ],
)
def test_frames_are_at_evenly_spaced_leads(step, count, expected):
    leads = np.arange(1, count + 1)
    if step != "months":
        leads = leads * np.timedelta64({"D": 24, "6h": 6}[step], "h")
    assert _frame_leads(leads, np.ones(count, bool)) == expected


def test_leads_without_truth_have_no_frame():
    leads = np.arange(1, 6) * np.timedelta64(1, "D")
    assert _frame_leads(leads, np.array([1, 1, 0, 1, 0], bool)) == [0, 1, 3]


def test_of_an_ensemble_the_mean_is_drawn():
    values = np.arange(24.0).reshape(2, 2, 3, 2)
    dims = ("number", "level", "longitude", "latitude")
    ds = xr.Dataset({"t": (dims, values)}, {"level": [500.0, 850.0]})
    expected = values[:, 1].mean(axis=0).T
    np.testing.assert_array_equal(channel_map(ds, Channel("t", 850.0)), expected)
    one = ds.isel(number=0)
    np.testing.assert_array_equal(channel_map(one, Channel("t", 850.0)), values[0, 1].T)
