"""Coefficients of zonal waves: packed real states, spectra on all latitudes, fields on the grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[Any]


@dataclass(frozen=True)
class ZonalBasis:
    """A basis in latitude and channel for each zonal wavenumber.

    A state holds, for each wavenumber in turn, the real parts of its coefficients, then (except for
    wavenumber 0, which is real) the imaginary parts, both of waves times sqrt(2): the squared norm
    of a state is then the mean square along longitude of what it represents.

    Attributes
    ----------
    vectors : ndarray of complex, shape (wavenumbers, modes, channels, latitudes)
        Profile of each mode in the units of the fields, zero beyond the number of modes of a
        wavenumber.
    modes : tuple of int, length wavenumbers
        Number of modes of each wavenumber.
    longitudes : int
        Number of longitudes of the grid on which products are computed.
    """

    vectors: Array
    modes: tuple[int, ...]
    longitudes: int

    @property
    def wavenumbers(self) -> int:
        """Number of zonal wavenumbers, with 0."""
        return len(self.modes)

    @property
    def width(self) -> int:
        """Largest number of modes of a wavenumber."""
        return int(self.vectors.shape[1])

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.vectors.shape[2])

    @property
    def latitudes(self) -> int:
        """Number of latitudes."""
        return int(self.vectors.shape[3])

    @property
    def size(self) -> int:
        """Length of a state."""
        return 2 * sum(self.modes) - self.modes[0]

    @cached_property
    def _place(self) -> tuple[Array, Array]:
        """Wavenumber and mode of each entry of the state that is a real part; then imaginary."""
        number = np.repeat(np.arange(self.wavenumbers), self.modes)
        mode = np.concatenate([np.arange(count) for count in self.modes])
        return number, mode

    @cached_property
    def _entries(self) -> tuple[Array, Array]:
        """Entries of a state that are real parts, and those that are imaginary parts."""
        real, imaginary, begin = [], [], 0
        for number, count in enumerate(self.modes):
            real.append(np.arange(begin, begin + count))
            begin += count
            if number:
                imaginary.append(np.arange(begin, begin + count))
                begin += count
        empty = np.zeros(0, dtype=int)
        return np.concatenate(real), np.concatenate([empty, *imaginary])

    def unpack(self, states: Array) -> Array:
        """Return the coefficients of states (n, size): complex, (wavenumbers, n, width)."""
        real, imaginary = self._entries
        number, mode = self._place
        found = np.zeros((self.wavenumbers, len(states), self.width), dtype=complex)
        found.real[number, :, mode] = states[:, real].T
        waves = number > 0
        found.imag[number[waves], :, mode[waves]] = states[:, imaginary].T
        found[1:] *= np.sqrt(0.5)
        return found

    def pack(self, coefficients: Array) -> Array:
        """Return the states of coefficients (wavenumbers, n, width): shape (n, size)."""
        real, imaginary = self._entries
        number, mode = self._place
        found = coefficients[number, :, mode]
        waves = number > 0
        found[waves] *= np.sqrt(2.0)
        states = np.empty((coefficients.shape[1], self.size))
        states[:, real] = found.real.T
        states[:, imaginary] = found[waves].imag.T
        return states

    def spectrum(self, coefficients: Array) -> Array:
        """Return the spectra on all latitudes: (wavenumbers, n, channels, latitudes)."""
        flat = self.vectors.reshape(self.wavenumbers, self.width, -1)
        found = np.matmul(coefficients, flat)
        return found.reshape(*found.shape[:2], self.channels, self.latitudes)

    def on_grid(self, spectrum: Array) -> Array:
        """Return fields on the grid of spectra (wavenumbers, ...): shape (..., longitudes)."""
        found = fft.irfft(np.moveaxis(spectrum, 0, -1), n=self.longitudes, norm="forward")
        return np.asarray(found)
