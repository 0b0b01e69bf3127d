"""Test forcing: insolation compared with astronomy, order of inputs, static fields."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.errors import ConfigError, DataError
from gfrnn.pipeline.states.forcing import SOLAR_CONSTANT, Forcing, insolation
from gfrnn.pipeline.states.harmonics import calendar_inputs
from gfrnn_testing.archives import opened, real

cases = settings(max_examples=60)
GRID = Grid((), np.arange(-60.0, 61.0, 30.0), np.arange(0.0, 360.0, 30.0))
EQUINOXES = {  # of almanacs, and the distance of the sun
    "1979-03-21T05:22": 0.9961,
    "2001-03-20T13:31": 0.9961,
    "2003-03-21T01:00": 0.9961,
    "2020-03-20T03:50": 0.9961,
    "1979-09-23T15:17": 1.0034,
    "2010-09-23T03:09": 1.0034,
}
# Every place owns two rows and two columns; one of them lies across Greenwich.
CELLS = np.array([[12, 13, 24, 25], [35, 24, 47, 36], [5, 6, 17, 18]])
GROUND = "surface_solar_radiation_downwards"
NOON = np.array(["2003-03-21T12", "2004-06-21T12", "2005-09-23T12", "2006-12-21T12"], "M8[ns]")


def hours(start: str, end: str, freq: str = "h") -> np.ndarray:
    return pd.date_range(start, end, freq=freq, inclusive="left").to_numpy()


def daily_mean(day: str, latitude: float) -> float:
    time = hours(day, str(pd.Timestamp(day) + pd.Timedelta("1D")), "5min")
    return float(insolation(time, np.array([latitude]), np.array([0.0])).mean())


def some(inputs: tuple[str, ...] = (), static: tuple[str, ...] = ("orography",)) -> Forcing:
    fields = np.random.default_rng(0).normal(100, 20, (len(static), *GRID.shape[1:]))
    return Forcing.from_grid(inputs, static, fields, GRID, CELLS)


# The sun


@pytest.mark.parametrize("day", ["2001-01-04", "2004-03-20", "2001-06-21", "2010-10-10"])
def test_the_mean_insolation_of_the_globe_is_a_quarter_of_the_solar_constant(day):
    sine = (np.arange(400) + 0.5) / 200 - 1  # rows of equal area
    latitude = np.rad2deg(np.arcsin(sine))
    time = hours(day, str(pd.Timestamp(day) + pd.Timedelta("1D")), "10min")
    found = insolation(time, latitude, np.zeros(400)) / SOLAR_CONSTANT
    distance = 1 - 0.0167 * np.cos(2 * np.pi * (pd.Timestamp(day).day_of_year - 4) / 365.25)
    assert found.mean() == pytest.approx(0.25 / distance**2, rel=2e-3)
    assert (found**2).mean() == pytest.approx(1 / 6 / distance**4, rel=4e-3)


@pytest.mark.parametrize(
    ("day", "latitude", "distance"),
    [("2001-06-21", 90, 1.0163), ("2001-12-21", -90, 0.9837), ("2004-06-21", 90, 1.0163)],
)
def test_insolation_at_the_summer_pole_follows_the_tilt_of_the_axis(day, latitude, distance):
    expected = SOLAR_CONSTANT / distance**2 * np.sin(np.deg2rad(23.44))
    assert daily_mean(day, latitude) == pytest.approx(expected, rel=2e-3)
    assert daily_mean(day, -latitude) == 0


@pytest.mark.parametrize("instant", EQUINOXES)
def test_at_an_equinox_both_hemispheres_have_the_cosine_of_the_latitude(instant):
    def means(latitude):
        time, east = np.array([instant], "M8[ns]"), np.linspace(0, 359, 360)
        return float(insolation(time, np.full(360, latitude), east).mean())

    for latitude in (0, 30, 60):
        expected = SOLAR_CONSTANT / EQUINOXES[instant] ** 2 / np.pi * np.cos(np.deg2rad(latitude))
        assert means(latitude) == pytest.approx(expected, rel=5e-3)
        # A day earlier the two would differ by four per cent at 60 degrees.
        assert means(latitude) == pytest.approx(means(-latitude), rel=8e-3)


@pytest.mark.parametrize(
    ("day", "minutes"),  # the equation of time, as almanacs have it
    [("2001-02-11", -14.2), ("2001-05-14", 3.7), ("2001-07-26", -6.5), ("2001-11-03", 16.4)],
)
@pytest.mark.parametrize("longitude", [0.0, 75.0, -105.0, 255.0])
def test_the_sun_is_highest_at_local_apparent_noon(day, minutes, longitude):
    noon = pd.Timestamp(f"{day} 12:00") - pd.Timedelta(minutes=minutes + 4 * longitude)
    day_around = pd.date_range(noon - pd.Timedelta("12h"), periods=2880, freq="30s")
    found = insolation(day_around.to_numpy(), np.array([20.0]), np.array([longitude]))[:, 0]
    highest = day_around[found.argmax()]
    apart = (highest - noon + pd.Timedelta("12h")) % pd.Timedelta("1D") - pd.Timedelta("12h")
    assert abs(apart) < pd.Timedelta("50s")


@cases
@given(
    st.datetimes(pd.Timestamp("1950-01-01"), pd.Timestamp("2050-12-31")),
    st.floats(-90, 90),
    st.floats(-180, 180),
)
def test_insolation_is_bounded_and_the_same_in_both_conventions(stamp, latitude, longitude):
    time, north = np.array([stamp], "M8[ns]"), np.array([latitude])
    found = insolation(time, north, np.array([longitude]))
    assert found.shape == (1, 1)
    assert 0 <= found[0, 0] <= 1.036 * SOLAR_CONSTANT
    again = insolation(time, north, np.array([longitude + 360]))
    np.testing.assert_allclose(again, found, atol=1e-6)
    # On the other side of the Earth it is night, unless the sun stands on the horizon.
    other = insolation(time, -north, np.array([longitude + 180]))
    assert min(found[0, 0], other[0, 0]) == 0


@real
def test_insolation_is_not_below_the_radiation_at_the_ground():
    ds = opened("era5_berlin_hourly_2017/ERA5_example_data.nc", variables={GROUND: None})
    ground = ds[GROUND].isel(latitude=0, longitude=0).values / 3600  # mean of the hour before
    place = np.array([float(ds.latitude[0])]), np.array([float(ds.longitude[0])])
    minutes = np.arange(-57.5, 0, 5) * np.timedelta64(60, "s")
    inside = (ds.time.values[:, None] + minutes).ravel()
    top = insolation(inside, *place).reshape(-1, minutes.size).mean(axis=1)
    assert np.all(ground <= 0.9 * top + 3)
    # Packing leaves some 0.02 W m-2 at night.
    assert np.all(ground[top == 0] < 0.1)
    high = top > 700
    assert 0.7 < (ground[high] / top[high]).max() < 0.85
    # An hour earlier or later, the ground would have sun at night.
    for shift in (-1, 1):
        assert np.any(np.roll(ground, shift) > 0.9 * top + 3)


# Inputs


def test_without_inputs_there_is_nothing():
    nothing = some((), ())
    assert nothing.count == 0
    assert nothing(NOON) is None


def test_the_calendar_alone_does_not_depend_on_the_place():
    calendar = some(("hour", "day_of_year"), ())
    assert calendar.count == 4
    np.testing.assert_array_equal(calendar(NOON), calendar_inputs(NOON, ["hour", "day_of_year"]))


def test_columns_stand_in_the_order_of_their_names():
    forcing = some(("hour", "insolation", "day_of_year"), ("orography", "mask"))
    found = forcing(NOON)
    assert forcing.count == 7
    assert found.shape == (4, 3, 7)
    for place in range(3):
        np.testing.assert_array_equal(found[:, place, :2], calendar_inputs(NOON, ["hour"]))
        np.testing.assert_array_equal(found[:, place, 3:5], calendar_inputs(NOON, ["day_of_year"]))
        np.testing.assert_array_equal(found[:, place, 5:], [forcing.values[place]] * 4)
    sun = insolation(NOON, forcing.latitude, forcing.longitude)
    np.testing.assert_allclose(
        found[:, :, 2] * np.sqrt(5 / 48) + 0.25, sun / SOLAR_CONSTANT, atol=1e-12
    )


def test_insolation_has_mean_zero_and_deviation_one_over_the_globe_and_the_year():
    sine = (np.arange(60) + 0.5) / 30 - 1
    rows = np.rad2deg(np.arcsin(sine))
    forcing = Forcing(("insolation",), (), np.empty((60, 0)), rows, np.linspace(0, 354, 60))
    found = forcing(hours("2001-01-01", "2002-01-01", "7h"))
    assert found.mean() == pytest.approx(0, abs=0.002)
    assert found.std() == pytest.approx(1, abs=0.002)


def test_one_time_gives_the_same_as_many():
    forcing = some(("insolation", "hour"))
    many = forcing(NOON)
    for index in range(len(NOON)):
        np.testing.assert_array_equal(forcing(NOON[[index]])[0], many[index])


# Places


def test_a_place_lies_in_the_middle_of_its_cells():
    forcing = some()
    np.testing.assert_allclose(forcing.latitude, [-15, 15, -45])
    np.testing.assert_allclose(forcing.longitude, [15, 345, 165])


@cases
@given(st.integers(0, 11), st.integers(1, 11))
def test_longitudes_are_averaged_on_the_circle(first, count):
    columns = (first + np.arange(count)) % 12
    forcing = Forcing.from_grid((), (), np.empty((0, 5, 12)), GRID, columns[None])
    middle = (30 * first + 15 * (count - 1)) % 360
    assert 0 <= forcing.longitude[0] < 360
    assert (forcing.longitude[0] - middle + 180) % 360 - 180 == pytest.approx(0, abs=1e-9)


def test_static_values_are_means_of_the_cells_standardised_over_the_places():
    fields = np.random.default_rng(1).normal(3, 5, (2, 5, 12))
    forcing = Forcing.from_grid((), ("a", "b"), fields, GRID, CELLS)
    means = np.array([[f.ravel()[cells].mean() for f in fields] for cells in CELLS])
    expected = (means - means.mean(axis=0)) / means.std(axis=0)
    np.testing.assert_allclose(forcing.values, expected)
    np.testing.assert_allclose(forcing(NOON), [expected] * 4)


def test_a_static_field_that_is_the_same_everywhere_is_refused():
    fields = np.stack([np.arange(60.0).reshape(5, 12), np.full((5, 12), 0.1)])
    with pytest.raises(DataError, match=r"land_sea_mask: .* 0.1 at all 3 places.*leave it out"):
        Forcing.from_grid((), ("orography", "land_sea_mask"), fields, GRID, CELLS)
    for level in (0.0, 1e5):
        with pytest.raises(DataError, match="flat"):
            Forcing.from_grid((), ("flat",), np.full((1, 5, 12), level), GRID, CELLS)


def test_insolation_of_places_around_the_globe_is_refused():
    belts = np.arange(60).reshape(5, 12)
    fields = np.arange(60.0).reshape(1, 5, 12)
    assert Forcing.from_grid(("hour",), ("height",), fields, GRID, belts).count == 3
    with pytest.raises(DataError, match="insolation: .* surround the globe"):
        Forcing.from_grid(("insolation",), ("height",), fields, GRID, belts)


def test_inputs_of_other_names_are_refused():
    with pytest.raises(ConfigError, match="inputs: unknown month; allowed: day_of_year, hour"):
        some(("hour", "month"))


# Storing


@pytest.mark.parametrize(
    ("inputs", "static"),
    [((), ()), (("hour",), ()), (("insolation", "day_of_year"), ("orography", "mask"))],
)
def test_stored_forcing_is_read_back(inputs, static):
    forcing = some(inputs, static)
    copies = {name: np.array(array) for name, array in forcing.arrays().items()}
    again = Forcing.from_arrays(list(inputs), list(static), copies)
    assert (again.inputs, again.static, again.count) == (inputs, static, forcing.count)
    for one in (again, pickle.loads(pickle.dumps(forcing))):
        np.testing.assert_equal(one(NOON), forcing(NOON))
