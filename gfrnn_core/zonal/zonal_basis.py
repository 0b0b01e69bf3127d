"""Coefficients of zonal waves: packed real states, and profiles on the latitudes of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from gfrnn_core.zonal.latitude_functions import LatitudeFunctions

Array = NDArray[Any]


@dataclass(frozen=True)
class ZonalBasis:
    """Zonal waves times functions of latitude, for several channels.

    Coefficients are complex, of shape (wavenumbers, n, channels * functions), those of a channel
    next to each other; they are zero where a wavenumber has fewer functions.

    A state holds, for each wavenumber in turn, the real parts of its coefficients and then, except
    for wavenumber 0, the imaginary parts, both of waves times sqrt(2). Its squared norm is the sum
    over channels of the area's mean square, as far as the functions are orthonormal.

    Attributes
    ----------
    functions : LatitudeFunctions
    channels : int
    longitudes : int
        Number of longitudes of the grid. Products of two fields have no aliasing where it is above
        three times the largest wavenumber.

    Raises
    ------
    ValueError
        If there are too few longitudes for the wavenumbers.
    """

    functions: LatitudeFunctions
    channels: int
    longitudes: int

    def __post_init__(self) -> None:
        if 2 * (self.wavenumbers - 1) >= self.longitudes:
            raise ValueError(
                f"longitudes: {self.longitudes} do not resolve wavenumber {self.wavenumbers - 1}; "
                "take fewer wavenumbers"
            )

    @property
    def wavenumbers(self) -> int:
        """Number of zonal wavenumbers, with 0."""
        return len(self.functions.counts)

    @property
    def latitudes(self) -> int:
        """Number of latitudes."""
        return int(self.functions.values.shape[2])

    @property
    def width(self) -> int:
        """Number of coefficients of a wavenumber, with those that are always zero."""
        return self.channels * int(self.functions.values.shape[1])

    @cached_property
    def used(self) -> Array:
        """Which coefficients of a wavenumber exist: bool, shape (wavenumbers, width)."""
        most = self.functions.values.shape[1]
        there = np.arange(most) < np.asarray(self.functions.counts)[:, None]
        return np.tile(there, (1, self.channels))

    @property
    def size(self) -> int:
        """Length of a state."""
        counts = self.channels * np.asarray(self.functions.counts)
        return int(2 * counts.sum() - counts[0])

    @cached_property
    def _entries(self) -> tuple[Array, Array]:
        """Positions in a state of the real and of the imaginary parts of used coefficients."""
        real, imaginary, begin = [], [], 0
        for number, count in enumerate(self.channels * np.asarray(self.functions.counts)):
            real.append(np.arange(begin, begin + count))
            begin += count
            if number:
                imaginary.append(np.arange(begin, begin + count))
                begin += count
        empty = np.zeros(0, dtype=int)
        return np.concatenate(real), np.concatenate([empty, *imaginary])

    @cached_property
    def _positions(self) -> tuple[Array, Array]:
        """Wavenumber and position in it of each used coefficient."""
        number, position = np.nonzero(self.used)
        return number, position

    def unpack(self, states: Array, dtype: Any = complex) -> Array:
        """Return the coefficients of states, shape (n, size), in a complex precision."""
        real, imaginary = self._entries
        number, position = self._positions
        found = np.zeros((self.wavenumbers, len(states), self.width), dtype=dtype)
        found.real[number, :, position] = states[:, real].T
        waves = number > 0
        found.imag[number[waves], :, position[waves]] = states[:, imaginary].T
        found[1:] *= np.sqrt(0.5)
        return found

    def pack(self, coefficients: Array) -> Array:
        """Return the states of coefficients: shape (n, size)."""
        real, imaginary = self._entries
        number, position = self._positions
        found = coefficients[number, :, position]
        waves = number > 0
        found[waves] *= np.sqrt(2.0)
        states = np.empty((coefficients.shape[1], self.size))
        states[:, real] = found.real.T
        states[:, imaginary] = found[waves].imag.T
        return states

    def encode(self, fields: Array) -> Array:
        """Return the coefficients of fields, shape (n, channels, latitudes, longitudes)."""
        spectrum = fft.rfft(fields, axis=-1, norm="forward")[..., : self.wavenumbers]
        return self.project(np.moveaxis(spectrum, -1, 0))

    def project(self, profiles: Array) -> Array:
        """Return the coefficients of profiles, shape (wavenumbers, n, channels, latitudes)."""
        numbers, times = profiles.shape[:2]
        flat = np.ascontiguousarray(profiles).reshape(numbers, -1, self.latitudes)
        inverse = self._inverse_of[flat.dtype.char]
        return np.asarray(np.matmul(flat, inverse).reshape(numbers, times, -1))

    def profiles(self, coefficients: Array, functions: Array | None = None) -> Array:
        """Return the profiles of coefficients: (wavenumbers, n, channels, latitudes).

        Parameters
        ----------
        coefficients : ndarray of complex, shape (wavenumbers, n, width)
        functions : ndarray, shape (wavenumbers, functions, latitudes), optional
            Derivatives of the functions; by default their values.
        """
        functions = self.functions.values if functions is None else functions
        numbers, times, _ = coefficients.shape
        flat = coefficients.reshape(numbers, times * self.channels, -1)
        found = np.matmul(flat, functions)
        return np.asarray(found.reshape(numbers, times, self.channels, -1))

    def on_grid(self, profiles: Array) -> Array:
        """Return fields of profiles (wavenumbers, ..., latitudes): (..., latitudes, longitudes)."""
        moved = np.moveaxis(profiles, 0, -1)
        return np.asarray(fft.irfft(moved, n=self.longitudes, norm="forward"))

    def decode(self, coefficients: Array) -> Array:
        """Return the fields of coefficients: shape (n, channels, latitudes, longitudes)."""
        return self.on_grid(self.profiles(coefficients))

    def base_fields(self, coefficients: Array, kinds: Array | None = None) -> Array:
        """Return fields, their Laplacians and both gradients, on the grid.

        Parameters
        ----------
        coefficients : ndarray of complex, shape (wavenumbers, n, width)
        kinds : ndarray of int, shape (kinds,), optional
            Numbers of the base fields to compute; by default all 6 in order.

        Returns
        -------
        ndarray, shape (n, channels, kinds, latitudes, longitudes)
            Value, its derivatives eastwards and northwards, then the same of the Laplacian.
        """
        functions = self._base_functions_of[coefficients.dtype.char]
        if kinds is not None and len(kinds) < functions.shape[2]:
            functions = functions[:, :, kinds]
        numbers, times, _ = coefficients.shape
        flat = coefficients.reshape(numbers, times * self.channels, -1)
        found = np.matmul(flat, functions.reshape(numbers, functions.shape[1], -1))
        return self.on_grid(found.reshape(numbers, times, self.channels, -1, self.latitudes))

    @cached_property
    def _inverse_of(self) -> dict[str, Array]:
        """Coefficients of a profile, by the complex precision of profiles."""
        return {kind: self.functions.inverse.astype(kind) for kind in "FD"}

    @cached_property
    def _base_functions_of(self) -> dict[str, Array]:
        """Profiles of the base fields of each function, by the complex precision of coefficients.

        Their shape is (wavenumbers, functions, 6, latitudes).
        """
        functions = self.functions
        numbers, count, latitudes = functions.values.shape
        found = np.empty((numbers, count, 6, latitudes), dtype=complex)
        found[:, :, 0] = functions.values
        found[:, :, 2] = functions.slopes
        found[:, :, 3] = functions.laplacians
        found[:, :, 5] = functions.laplacians @ functions.inverse @ functions.slopes
        turn = 1j * np.arange(numbers)[:, None, None] * functions.east
        for value in (0, 3):
            found[:, :, value + 1] = turn * found[:, :, value]
            if numbers > 1:
                # At a pole, the quotient of wavenumber 1 and the cosine of latitude has a limit.
                found[1, :, value + 1] += 1j * functions.pole_signs * found[1, :, value + 2]
        return {kind: found.astype(kind) for kind in "FD"}
