"""Inputs of a network besides the states: calendar, insolation and static fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.data.grid import Grid
from gfrnn.pipeline.errors import ConfigError, DataError
from gfrnn.pipeline.states.harmonics import calendar_inputs, day_phase

Array = NDArray[Any]

SOLAR_CONSTANT = 1361.0  # W m-2 at the mean distance of the sun (Kopp and Lean 2011)
# At any instant the cosine of the zenith angle is uniform in [-1, 1] over the sphere. Its positive
# part has mean 1/4 and mean square 1/6; these are mean and standard deviation over the globe.
_SUN_MEAN = 1 / 4
_SUN_STD = (1 / 6 - 1 / 16) ** 0.5

# With this origin, equinoxes of the series are within three hours of those of almanacs.
_START = np.datetime64("2000-01-01T00", "ns")
_TROPICAL_YEAR = np.timedelta64(31_556_925, "s")

# Number of columns of each input.
_WIDTHS = {"day_of_year": 2, "hour": 2, "insolation": 1}


def input_width(name: str) -> int:
    """Return the number of columns of an input."""
    return _WIDTHS[name]


def season_columns(inputs: Sequence[str]) -> tuple[int, ...]:
    """Return the indices of the cosine and the sine of the year among the columns of inputs.

    Raises
    ------
    ValueError
        If ``day_of_year`` is not among the inputs.
    """
    before = inputs[: inputs.index("day_of_year")]
    first = sum(map(input_width, before))
    return tuple(range(first, first + input_width("day_of_year")))


def insolation(time: Array, latitude: Array, longitude: Array) -> Array:
    """Return the instantaneous incoming solar radiation at the top of the atmosphere.

    Declination, distance and equation of time are the Fourier series of Spencer (1971, Search 2,
    172). The period of the day angle is the tropical year, so that leap years do not shift it.

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
    cos, sin = ([function(k * angle) for k in range(4)] for function in (np.cos, np.sin))
    declination = (
        0.006918
        - (0.399912 * cos[1] - 0.070257 * sin[1])
        - (0.006758 * cos[2] - 0.000907 * sin[2])
        - (0.002697 * cos[3] - 0.001480 * sin[3])
    )
    distance_factor = (  # (mean distance / distance) ** 2
        1.000110 + (0.034221 * cos[1] + 0.001280 * sin[1]) + (0.000719 * cos[2] + 0.000077 * sin[2])
    )
    equation_of_time = (  # radians
        0.0000075
        + (0.001868 * cos[1] - 0.032077 * sin[1])
        - (0.014615 * cos[2] + 0.040849 * sin[2])
    )
    greenwich_hour_angle = 2 * np.pi * day_phase(time) - np.pi + equation_of_time
    hour_angle = greenwich_hour_angle[:, None] + np.deg2rad(longitude)
    phi = np.deg2rad(latitude)
    cos_zenith = np.sin(declination)[:, None] * np.sin(phi)
    cos_zenith = cos_zenith + np.cos(declination)[:, None] * np.cos(phi) * np.cos(hour_angle)
    return np.asarray(SOLAR_CONSTANT * distance_factor[:, None] * np.maximum(cos_zenith, 0.0))


@dataclass(frozen=True)
class Forcing:
    """Inputs psi of a network at each time and place. Cheap to pickle.

    Attributes
    ----------
    inputs : tuple of {"day_of_year", "hour", "insolation"}
        ``day_of_year`` and ``hour`` (UTC) are harmonics of the calendar, the same at all places.
        ``insolation`` depends on the place; it is scaled to mean 0 and standard deviation 1 over
        the globe and the year (mean S/4, standard deviation S sqrt(5/48)).
    static : tuple of str
        Names of static fields.
    values : ndarray, shape (places, len(static))
        Static fields, standardised over the places.
    latitude, longitude : ndarray, shape (places,)
        Degrees.

    Raises
    ------
    ConfigError
        If an input has another name.
    """

    inputs: tuple[str, ...]
    static: tuple[str, ...]
    values: Array
    latitude: Array
    longitude: Array

    def __post_init__(self) -> None:
        """Reject inputs of other names."""
        unknown = [name for name in self.inputs if name not in _WIDTHS]
        if unknown:
            raise ConfigError(
                f"model.inputs: unknown {', '.join(unknown)}; allowed: {', '.join(_WIDTHS)}"
            )

    @classmethod
    def calendar(cls, inputs: Sequence[str]) -> Forcing:
        """Return inputs of the calendar only, which are the same at all places."""
        return cls(tuple(inputs), (), np.zeros((0, 0)), np.zeros(0), np.zeros(0))

    @classmethod
    def from_grid(
        cls,
        inputs: Sequence[str],
        static: Sequence[str],
        fields: Array,
        grid: Grid,
        cells: Array,
    ) -> Forcing:
        """Return the forcing of places (patches) that own cells of a grid.

        Parameters
        ----------
        inputs, static : sequence of str
            Names of inputs and of static fields.
        fields : ndarray, shape (len(static), latitudes, longitudes)
            Static fields, of which each place has the mean over its cells.
        grid : Grid
        cells : ndarray of int, shape (places, own cells)
            Positions in the flattened (latitudes, longitudes).

        Raises
        ------
        DataError
            If a static field is the same at all places, or a place of cells all round the globe
            has no longitude for the insolation.
        """
        row, column = np.divmod(cells, len(grid.longitude))
        direction = np.exp(1j * np.deg2rad(grid.longitude[column])).mean(axis=1)
        if "insolation" in inputs and np.abs(direction).min() < 1e-6:
            raise DataError(
                f"insolation: the cells of place {np.abs(direction).argmin()} surround the globe, "
                "so that it has no longitude; choose smaller patches (state.patch), or leave "
                "insolation out (model.inputs)"
            )
        own = fields.reshape(len(static), grid.latitude.size * grid.longitude.size)[:, cells].mean(
            axis=2
        )
        mean, std = own.mean(axis=1), own.std(axis=1)
        for name, centre, width in zip(static, mean, std, strict=True):
            if width <= 1e-6 * abs(centre):
                raise DataError(
                    f"{name}: this static field is {centre:g} at all {len(cells)} places and has "
                    "no effect; leave it out (state.static)"
                )
        return cls(
            tuple(inputs),
            tuple(static),
            ((own - mean[:, None]) / std[:, None]).T,
            grid.latitude[row].mean(axis=1),
            np.round(np.rad2deg(np.angle(direction)), 8) % 360,
        )

    @property
    def varies_by_place(self) -> bool:
        """Whether some input depends on the place."""
        return bool(self.static) or "insolation" in self.inputs

    @property
    def count(self) -> int:
        """Number of columns of all inputs."""
        return sum(map(input_width, self.inputs)) + len(self.static)

    def __call__(self, time: Array) -> Array | None:
        """Return the inputs at some times, in the order of ``inputs``, then static fields.

        Parameters
        ----------
        time : ndarray of datetime64, shape (times,)

        Returns
        -------
        ndarray or None
            Shape (times, count) if no input depends on the place, else (times, places, count).
            None without inputs.
        """
        if not self.varies_by_place:
            return calendar_inputs(time, self.inputs)
        shape = (len(time), len(self.latitude))
        columns = [self._input(name, time) for name in self.inputs] + [self.values[None]]
        return np.concatenate(
            [np.broadcast_to(part, (*shape, part.shape[2])) for part in columns], axis=2
        )

    def _input(self, name: str, time: Array) -> Array:
        """Return one input, shape (times, 1 or places, columns)."""
        if name == "insolation":
            sun = insolation(time, self.latitude, self.longitude) / SOLAR_CONSTANT
            return np.asarray((sun - _SUN_MEAN) / _SUN_STD)[:, :, None]
        terms = calendar_inputs(time, [name])
        assert terms is not None
        return terms[:, None]

    def arrays(self) -> dict[str, Array]:
        """Return what is stored as arrays: all but names."""
        return {"values": self.values, "latitude": self.latitude, "longitude": self.longitude}

    @classmethod
    def from_arrays(
        cls, inputs: Sequence[str], static: Sequence[str], arrays: dict[str, Array]
    ) -> Forcing:
        """Restore a forcing from its names and its arrays."""
        values, latitude, longitude = (arrays[n] for n in ("values", "latitude", "longitude"))
        return cls(tuple(inputs), tuple(static), values, latitude, longitude)
