"""Test the coastlines of maps: clipping, any range of longitudes, and known places."""

from __future__ import annotations

import tomllib

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given

from gfrnn.workflows.report.coastlines import clip_segments, coastlines
from gfrnn_testing.paths import ROOT

LOW, HIGH = np.array([0.0, 0.0]), np.array([4.0, 2.0])


def clipped(*points: tuple[float, float]) -> list[list[float]]:
    """Clip a line through these points to a box of 4 by 2; separators are empty lists."""
    line = np.array(points, dtype=float)
    found = clip_segments(np.stack([line[:-1], line[1:]], axis=1), LOW, HIGH)
    return [[] if np.isnan(point).any() else point.tolist() for point in found]


def test_a_line_is_cut_where_it_meets_the_edges():
    assert clipped((-1, -1), (5, 5)) == [[0, 0], [2, 2]]
    assert clipped((2, 1), (2, 9)) == [[2, 1], [2, 2]]
    assert clipped((-4, 1), (8, 1)) == [[0, 1], [4, 1]]
    assert clipped((1, 1), (3, 1.5)) == [[1, 1], [3, 1.5]]


def test_lines_outside_leave_nothing():
    for line in ([(-1, 0), (-1, 2)], [(0, 3), (9, 3)], [(-1, 1.5), (1, 3.5)], [(1, 1), (1, 1)]):
        assert clipped(*line) == []


def test_a_line_stays_whole_inside_and_is_divided_outside():
    assert clipped((1, 1), (2, 1), (2, 3), (3, 3), (3, 1)) == [
        [1, 1], [2, 1], [2, 2], [], [3, 2], [3, 1],
    ]  # fmt: skip


def test_of_no_segments_nothing_is_left():
    assert clip_segments(np.empty((0, 2, 2)), LOW, HIGH).shape == (0, 2)


numbers = st.integers(-40, 80).map(lambda n: n / 10)


@given(st.tuples(numbers, numbers, numbers, numbers))
@example((0.0, 0.0, 4.0, 0.0))  # along an edge
def test_the_length_inside_is_that_of_the_points_inside(ends):
    start, end = np.array(ends[:2]), np.array(ends[2:])
    found = clip_segments(np.array([[start, end]]), LOW, HIGH)
    assert np.isfinite(found).all()
    assert ((found >= LOW - 1e-12) & (found <= HIGH + 1e-12)).all()
    length = np.linalg.norm(end - start)
    kept = np.linalg.norm(found[1] - found[0]) if len(found) else 0.0
    share = (np.arange(4000) + 0.5)[:, None] / 4000
    samples = start + share * (end - start)
    inside = ((samples >= LOW) & (samples <= HIGH)).all(axis=1).mean()
    assert kept == pytest.approx(inside * length, abs=2e-3 * length + 1e-12)


def distance(lines: np.ndarray, longitude: float, latitude: float) -> float:
    return float(np.nanmin(np.hypot(*(lines - [longitude, latitude]).T)))


def test_known_places_are_at_the_coast():
    lines = coastlines(-20, 30, 30, 72)
    for place in ((-5.7, 50.1), (-9.0, 37.0), (11.0, 58.9)):  # Cornwall, Sao Vicente, Bohuslan
        assert distance(lines, *place) < 0.7
    assert distance(lines, 15.0, 50.0) > 3  # Bohemia
    assert coastlines(5, 15, 20, 25).shape == (0, 2)  # Sahara


@pytest.mark.parametrize("turn", [-360, 360])
def test_longitudes_of_another_turn_show_the_same_coast(turn: int):
    here, there = coastlines(-20, 30, 30, 72), coastlines(-20 + turn, 30 + turn, 30, 72)
    np.testing.assert_allclose(there, here + [turn, 0], atol=1e-9)


def test_a_map_across_the_date_line_shows_both_sides_and_no_line_across():
    lines = coastlines(160, 210, 50, 75)
    assert distance(lines, 190.2, 66.0) < 1.0  # Cape Dezhnev
    assert distance(lines, 162.0, 56.0) < 1.5  # Kamchatka
    assert np.nanmax(np.abs(np.diff(lines[:, 0]))) < 5


def test_no_edge_of_the_land_polygons_is_a_coast():
    lines = coastlines(-180, 180, -90, 90)
    along = np.abs(lines[:, 0]) == 180
    assert not (along[1:] & along[:-1]).any()
    assert np.nanmin(lines[:, 1]) > -86
    assert len(lines) > 4000


def test_files_of_the_report_are_installed():
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folder = ROOT / "workflows/report"
    patterns = about["tool"]["setuptools"]["package-data"]["gfrnn.workflows.report"]
    installed = {path for pattern in patterns for path in folder.glob(pattern)}
    present = {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".py"}
    assert {path for path in present if path.suffix != ".pyc"} <= installed
    lines = folder / "natural_earth" / "coastlines_110m.json"
    assert lines in installed
    assert lines.stat().st_size < 150_000
