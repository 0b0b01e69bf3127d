"""Compare the fractions skill score with the library scores and with a plain loop."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.verification.statistics.fraction_skill import (
    FRACTION_STATISTICS,
    fraction_statistics,
    fractions_skill_score,
)
from gfrnn_testing.ensembles import CELLS, SHAPE, Case, make_case

LIMITS = np.array([-0.3, 0.8])


def thresholds() -> np.ndarray:
    return np.broadcast_to(LIMITS[:, None, None], (2, 2, 1))


def statistics(case: Case, widths=(1, 3, 5), periodic=False, valid=None) -> dict[str, np.ndarray]:
    return fraction_statistics(
        case.members, case.truth, thresholds(), widths, case.weights, SHAPE, periodic, valid
    )


def fraction(events: np.ndarray, valid: np.ndarray, width: int, periodic: bool) -> np.ndarray:
    """Return the fraction of the valid cells around each cell of a map that have an event."""
    found, half = np.zeros(SHAPE), width // 2
    for row, column in np.ndindex(SHAPE):
        inside = []
        for i in range(row - half, row + half + 1):
            for j in range(column - half, column + half + 1):
                if periodic:
                    j %= SHAPE[1]
                if 0 <= i < SHAPE[0] and 0 <= j < SHAPE[1] and valid[i, j]:
                    inside.append(events[i, j])
        found[row, column] = np.mean(inside) if inside else 0.0
    return found


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("width", [1, 3, 7])
def test_statistics_are_those_of_a_loop(periodic, width):
    case = make_case(starts=1, members=3)
    valid = case.weights[0] > 0
    found = statistics(case, (width,), periodic, valid)
    for channel, place in np.ndindex(2, 2):
        own = valid[channel].reshape(SHAPE)

        def part(values, own=own, limit=LIMITS[place]):
            return fraction(values.reshape(SHAPE) >= limit, own, width, periodic).reshape(-1)

        forecast = np.mean([part(member) for member in case.members[0, :, channel]], axis=0)
        observed = part(case.truth[0, channel])
        expected = (forecast - observed) ** 2, forecast**2 + observed**2
        for name, values in zip(FRACTION_STATISTICS, expected, strict=True):
            np.testing.assert_allclose(
                found[name][0, :, channel, place, 0], case.weights[:, channel] @ values, rtol=1e-12
            )


@pytest.mark.parametrize("width", [1, 3, 5])
def test_the_score_is_that_of_the_library(width):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scores.spatial import fss_2d
    forecast, truth = np.random.default_rng(4).standard_normal((2, 4, *SHAPE))
    expected = fss_2d(
        *(xr.DataArray(each, dims=("time", "y", "x")) for each in (forecast, truth)),
        event_threshold=LIMITS[0],
        window_size=(width, width),
        spatial_dims=("y", "x"),
        threshold_operator=np.greater_equal,
    )
    # The library takes the windows that lie within the grid.
    half = width // 2
    weights = np.zeros(SHAPE)
    weights[half : SHAPE[0] - half, half : SHAPE[1] - half] = 1.0
    weights = (weights / weights.sum()).reshape(1, 1, -1)
    ours, real = (each.reshape(4, 1, -1) for each in (forecast, truth))
    found = fraction_statistics(
        ours[:, None], real, LIMITS[:1, None, None], [width], weights, SHAPE, periodic=False
    )
    means = [found[name].mean(axis=0).item() for name in FRACTION_STATISTICS]
    assert fractions_skill_score(*np.array(means)) == pytest.approx(float(expected), rel=1e-12)


@given(st.integers(0, 1000), st.integers(0, 7))
def test_turning_the_globe_has_no_effect(seed, shift):
    case = make_case(starts=1, members=1, seed=seed)
    even = np.full_like(case.weights, 1 / CELLS)

    def turned(values: np.ndarray) -> np.ndarray:
        shaped = values.reshape(*values.shape[:-1], *SHAPE)
        return np.roll(shaped, shift, axis=-1).reshape(values.shape)

    found = statistics(Case(case.members, case.truth, even), periodic=True)
    moved = statistics(Case(turned(case.members), turned(case.truth), even), periodic=True)
    for name in FRACTION_STATISTICS:
        np.testing.assert_allclose(moved[name], found[name], rtol=1e-12)


def test_the_score_grows_with_the_width_for_a_displaced_event():
    field = np.zeros((1, 1, *SHAPE))
    moved = field.copy()
    field[0, 0, 3, 3], moved[0, 0, 3, 4] = 1.0, 1.0
    weights = np.full((1, 1, CELLS), 1 / CELLS)
    found = fraction_statistics(
        moved.reshape(1, 1, 1, CELLS),
        field.reshape(1, 1, CELLS),
        np.full((1, 1, 1), 0.5),
        [1, 3, 5],
        weights,
        SHAPE,
        periodic=True,
    )
    score = fractions_skill_score(*found.values())[0, 0, 0, 0]
    # Boxes of width n that are a cell apart share the part (n - 1) / n.
    np.testing.assert_allclose(score, [0.0, 2 / 3, 4 / 5], atol=1e-12)


def test_perfect_forecasts_and_no_events():
    case = make_case(members=1)
    exact = statistics(Case(case.truth[:, None], case.truth, case.weights))
    np.testing.assert_array_equal(fractions_skill_score(*exact.values()), 1.0)
    assert np.isnan(fractions_skill_score(np.array(0.0), np.array(0.0)))
    assert fractions_skill_score(np.array(0.2), np.array(0.2)) == 0
    assert np.isnan(fractions_skill_score(np.array(np.nan), np.array(np.nan)))


@pytest.mark.parametrize("side", ["members", "truth"])
def test_nan_spoils_its_own_pair_only(side):
    case = make_case()
    clean = statistics(case)
    array = getattr(case, side)
    array[(1, 2, 0, 40) if side == "members" else (1, 0, 40)] = np.nan
    for name, values in statistics(case).items():
        assert np.isnan(values[1, :, 0]).all()
        values[1, :, 0] = clean[name][1, :, 0]
        np.testing.assert_array_equal(values, clean[name])


def test_arguments_that_do_not_fit_are_named():
    case = make_case()
    with pytest.raises(ValueError, match=r"widths: found 2, allowed: odd numbers from 1"):
        statistics(case, (1, 2))
    with pytest.raises(ValueError, match=r"widths: found 9, allowed: .*at most 8"):
        statistics(case, (9,), periodic=True)
    assert np.isfinite(statistics(case, (9,))["fraction_squares"]).all()
    with pytest.raises(ValueError, match="shape: found"):
        fraction_statistics(
            case.members, case.truth, thresholds(), [1], case.weights, (5, 5), periodic=False
        )
    with pytest.raises(ValueError, match="thresholds: found shape"):
        fraction_statistics(
            case.members, case.truth, LIMITS[:, None], [1], case.weights, SHAPE, periodic=False
        )
