"""What forces a network besides the states: the calendar, the sun and static fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.fields import Grid
from gfrnn.pipeline.errors import ConfigError, DataError
from gfrnn.pipeline.states.harmonics import calendar_inputs, day_phase

Array = NDArray[Any]

SOLAR_CONSTANT = 1361.0  # W m-2 at the mean distance of the sun (Kopp and Lean 2011)
# At any instant the cosine of the zenith angle is uniform in [-1, 1] over the sphere. Its positive
# part has mean 1/4 and mean square 1/6, so these are the mean and deviation over the globe.
_SUN_MEAN = 1 / 4
_SUN_DEVIATION = (1 / 6 - 1 / 16) ** 0.5

# Counted from here, equinoxes of the series fall within three hours of those of almanacs.
_START = np.datetime64("2000-01-01T00", "ns")
_TROPICAL_YEAR = np.timedelta64(31_556_925, "s")

# Columns of each input.
_WIDTHS = {"day_of_year": 2, "hour": 2, "insolation": 1}


def input_width(name: str) -> int:
    """Columns of an input."""
    return _WIDTHS[name]


def insolation(time: Array, latitude: Array, longitude: Array) -> Array:
    """Incoming solar radiation at the top of the atmosphere, at an instant.

    Declination, distance and equation of time are the Fourier series of Spencer (1971, Search 2,
    172). The day angle makes a turn each tropical year, so that leap years do not shift it.

    Parameters
    ----------
    time : ndarray of datetime64, shape (times,)
        UTC.
    latitude, longitude : ndarray, shape (places,)
        Degrees, longitude in either convention.

    Returns
    -------
    ndarray, shape (times, places)
        W m-2, zero where the sun is below the horizon.
    """
    angle = 2 * np.pi * ((time - _START) / _TROPICAL_YEAR)
    cos, sin = ([wave(k * angle) for k in range(4)] for wave in (np.cos, np.sin))
    declination = (
        0.006918
        - (0.399912 * cos[1] - 0.070257 * sin[1])
        - (0.006758 * cos[2] - 0.000907 * sin[2])
        - (0.002697 * cos[3] - 0.001480 * sin[3])
    )
    closeness = (  # square of the mean distance over the distance
        1.000110 + (0.034221 * cos[1] + 0.001280 * sin[1]) + (0.000719 * cos[2] + 0.000077 * sin[2])
    )
    ahead = (  # of the sun against the clock, radians
        0.0000075
        + (0.001868 * cos[1] - 0.032077 * sin[1])
        - (0.014615 * cos[2] + 0.040849 * sin[2])
    )
    greenwich = 2 * np.pi * day_phase(time) - np.pi + ahead
    hour = greenwich[:, None] + np.deg2rad(longitude)
    north = np.deg2rad(latitude)
    height = np.sin(declination)[:, None] * np.sin(north)
    height = height + np.cos(declination)[:, None] * np.cos(north) * np.cos(hour)
    return np.asarray(SOLAR_CONSTANT * closeness[:, None] * np.maximum(height, 0.0))


@dataclass(frozen=True)
class Forcing:
    """The inputs psi of a network at each time and place. Cheap to pickle.

    Attributes
    ----------
    inputs : tuple of {"day_of_year", "hour", "insolation"}
        ``day_of_year`` and ``hour`` are waves of the calendar, the hour in UTC at all places;
        where the sun stands at a place only ``insolation`` tells. It is scaled to mean 0 and
        deviation 1 over the globe and the year (mean S/4, deviation S sqrt(5/48)).
    static : tuple of str
        Names of static fields.
    values : ndarray, shape (places, len(static))
        Static fields, standardised over the places.
    latitude, longitude : ndarray, shape (places,)
        Degrees.

    Raises
    ------
    ConfigError
        For an input of another name.
    """

    inputs: tuple[str, ...]
    static: tuple[str, ...]
    values: Array
    latitude: Array
    longitude: Array

    def __post_init__(self) -> None:
        """Refuse inputs of another name."""
        unknown = [name for name in self.inputs if name not in _WIDTHS]
        if unknown:
            raise ConfigError(f"inputs: no {', '.join(unknown)}; allowed: {', '.join(_WIDTHS)}")

    @classmethod
    def calendar(cls, inputs: Sequence[str]) -> Forcing:
        """The same at all places, or where there are no places."""
        return cls(tuple(inputs), (), np.zeros((0, 0)), np.zeros(0), np.zeros(0))

    @classmethod
    def of(
        cls,
        inputs: Sequence[str],
        static: Sequence[str],
        fields: Array,
        grid: Grid,
        cells: Array,
    ) -> Forcing:
        """The forcing of places that own cells of a grid.

        Parameters
        ----------
        inputs, static : sequence of str
            Names, as the attributes.
        fields : ndarray, shape (len(static), latitudes, longitudes)
            As :func:`open_static` gives them; a place has the mean of its cells.
        grid : Grid
        cells : ndarray of int, shape (places, own cells)
            Positions in latitudes x longitudes, the longitude running faster.

        Raises
        ------
        DataError
            For a static field that is the same at all places, and for insolation at a place that
            has no longitude since its cells lie all round the globe.
        """
        row, column = np.divmod(cells, len(grid.longitude))
        turn = np.exp(1j * np.deg2rad(grid.longitude[column])).mean(axis=1)
        if "insolation" in inputs and np.abs(turn).min() < 1e-6:
            raise DataError(
                f"insolation: the cells of place {np.abs(turn).argmin()} lie all round the globe, "
                "so that it has no longitude; choose places of fewer longitudes"
            )
        own = fields.reshape(len(static), grid.latitude.size * grid.longitude.size)[:, cells].mean(
            axis=2
        )
        mean, deviation = own.mean(axis=1), own.std(axis=1)
        for name, middle, spread in zip(static, mean, deviation, strict=True):
            if spread <= 1e-6 * abs(middle):
                raise DataError(
                    f"{name}: this static field is {middle:g} at all {len(cells)} places, so it "
                    "tells them not apart; leave it out"
                )
        return cls(
            tuple(inputs),
            tuple(static),
            ((own - mean[:, None]) / deviation[:, None]).T,
            grid.latitude[row].mean(axis=1),
            np.round(np.rad2deg(np.angle(turn)), 8) % 360,
        )

    @property
    def local(self) -> bool:
        """Whether some input differs from place to place."""
        return bool(self.static) or "insolation" in self.inputs

    @property
    def count(self) -> int:
        """Number of inputs."""
        return sum(map(input_width, self.inputs)) + len(self.static)

    def __call__(self, time: Array) -> Array | None:
        """The inputs at these times, in the order of ``inputs``, then static fields.

        Parameters
        ----------
        time : ndarray of datetime64, shape (times,)

        Returns
        -------
        ndarray, shape (times, count) where nothing depends on the place, else
        (times, places, count); None without inputs
        """
        if not self.local:
            return calendar_inputs(time, self.inputs)
        shape = (len(time), len(self.latitude))
        columns = [self._input(name, time) for name in self.inputs] + [self.values[None]]
        return np.concatenate(
            [np.broadcast_to(part, (*shape, part.shape[2])) for part in columns], axis=2
        )

    def _input(self, name: str, time: Array) -> Array:
        """One input, shape (times, 1 or places, columns)."""
        if name == "insolation":
            sun = insolation(time, self.latitude, self.longitude) / SOLAR_CONSTANT
            return np.asarray((sun - _SUN_MEAN) / _SUN_DEVIATION)[:, :, None]
        waves = calendar_inputs(time, [name])
        assert waves is not None
        return waves[:, None]

    def arrays(self) -> dict[str, Array]:
        """All that is not a name, for storing."""
        return {"values": self.values, "latitude": self.latitude, "longitude": self.longitude}

    @classmethod
    def from_arrays(
        cls, inputs: Sequence[str], static: Sequence[str], arrays: dict[str, Array]
    ) -> Forcing:
        """The forcing again from its names and what :meth:`arrays` gave."""
        values, latitude, longitude = (arrays[n] for n in ("values", "latitude", "longitude"))
        return cls(tuple(inputs), tuple(static), values, latitude, longitude)
