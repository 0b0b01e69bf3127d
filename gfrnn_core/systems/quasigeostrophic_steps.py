"""Time steps of the two-layer quasi-geostrophic model, as matrix products in reused arrays.

The tendency of a wave has two parts. Products of two waves are computed at points: in y their
integrals with a third one are exact at 3/2 as many evenly spaced nodes as modes, because waves
continue through the walls as sines. The zonal mean continues as a cosine, so that its products with
waves do not. They need no points: by partial integration, all of them are integrals of three sines,

    -ik (U q + Q_y psi)   in the tendency of waves,    -d/dy mean(v q)   in that of the zonal mean,

with U the wind and Q_y the gradient of the zonal mean, which are sines, too.

At this size a Fourier transform is faster as a matrix product than as an FFT.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
Numbers = NDArray[Any]

_ROOT2 = 2.0**0.5


@dataclass(frozen=True, kw_only=True)
class ChannelEquations:
    """Coefficients and transforms of the model's equations, as :class:`ChannelSteps` needs them.

    Parameters
    ----------
    wavenumber_x, wavenumber_y : ndarray, shapes (modes_x + 1,), (modes_y,)
        In m-1.
    inverse : tuple of ndarray, shape (modes_y, modes_x + 1)
        Streamfunction of a layer for a unit of its own potential vorticity, and of the other's.
    linear : tuple of ndarray, shape (2, modes_y, modes_x + 1), complex
        Linear tendency of each layer for a unit of its own potential vorticity, and of the other's.
    forcing : ndarray, shape (2, modes_y)
        Constant tendency of the zonal mean in s-2.
    """

    wavenumber_x: FloatArray
    wavenumber_y: FloatArray
    inverse: tuple[FloatArray, FloatArray]
    linear: tuple[ComplexArray, ComplexArray]
    forcing: FloatArray

    @cached_property
    def _modes(self) -> tuple[FloatArray, FloatArray]:
        """Sines and cosines in y at the nodes, shape (nodes, modes_y)."""
        modes = self.wavenumber_y.size
        intervals = 3 * modes // 2 + 1  # exact below the wavenumber 2 intervals; sums reach 3 modes
        phase = np.pi / intervals * np.outer(np.arange(1, intervals), np.arange(1, modes + 1))
        return _ROOT2 * np.sin(phase), _ROOT2 * np.cos(phase)

    @cached_property
    def wind_to_nodes(self) -> FloatArray:
        """Matrix from the streamfunction of waves to the wind u at the nodes."""
        return -self._modes[1] * self.wavenumber_y

    @cached_property
    def to_nodes(self) -> FloatArray:
        """Matrix from coefficients of waves to their values at the nodes."""
        return self._modes[0]

    @cached_property
    def from_nodes(self) -> FloatArray:
        """Matrices from the fluxes u q and v q at the nodes to modes, for a weight of 1 a node."""
        sine, cosine = self._modes
        both = np.stack([sine, cosine * self.wavenumber_y]) / (len(sine) + 1)
        return np.ascontiguousarray(both.swapaxes(1, 2))[:, None]

    @cached_property
    def _waves(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Cosine and sine of waves in x, shape (modes_x, points), and wavenumbers from 1 on."""
        numbers = np.arange(1, self.wavenumber_x.size)
        points = 3 * numbers[-1] + 1  # without aliasing
        phase = 2 * np.pi / points * np.outer(numbers, np.arange(points))
        return np.cos(phase), np.sin(phase), self.wavenumber_x[1:, None]

    @cached_property
    def to_points(self) -> FloatArray:
        """Matrices from waves in x to points: of u, of v with its derivative, and of q."""
        cosine, sine, k = self._waves
        value = _rows(2 * cosine, -2 * sine)  # a wave and its complex conjugate
        slope = _rows(-2 * k * sine, -2 * k * cosine)
        return np.stack([value, slope, value])

    @cached_property
    def from_points(self) -> FloatArray:
        """Matrices from points to waves in x: of the flux in x with -d/dx, and of that in y."""
        cosine, sine, k = self._waves
        share = 1 / cosine.shape[1]
        slope = _rows(-share * k * sine, -share * k * cosine)
        value = _rows(share * cosine, -share * sine)
        return np.ascontiguousarray(np.stack([slope, value]).swapaxes(1, 2))

    @cached_property
    def three_sines(self) -> FloatArray:
        """Mean over the channel of the product of three sine modes, shape (modes_y,) * 3."""
        n = np.arange(1, self.wavenumber_y.size + 1)
        a, b, c = n[:, None, None], n[:, None], n
        total = np.zeros((n.size,) * 3)
        for sign, number in ((1, a + b - c), (1, a - b + c), (1, b + c - a), (-1, a + b + c)):
            odd = number % 2 == 1
            total[odd] += sign * 2 / (np.pi * number[odd])  # mean of sin(number pi y)
        return total / _ROOT2

    @cached_property
    def mean_to_matrices(self) -> FloatArray:
        """Matrix from U or Q_y to the matrix that multiplies the waves of q or psi."""
        return self.three_sines.reshape(self.wavenumber_y.size, -1)

    @cached_property
    def products_to_mean(self) -> FloatArray:
        """Matrix from mean products of modes of psi_x and q to the tendency of the zonal mean."""
        scaled = -2 * self.wavenumber_y[:, None, None] * self.three_sines
        return np.ascontiguousarray(scaled.reshape(self.wavenumber_y.size, -1).T)

    @cached_property
    def mean_gradients(self) -> FloatArray:
        """Factors from the means of q and of psi to Q_y and U."""
        return np.stack([-self.wavenumber_y, self.wavenumber_y])[:, None]

    @cached_property
    def minus_ik(self) -> ComplexArray:
        """Factor of -d/dx for a state and its streamfunction."""
        shape = (2, 2, self.wavenumber_y.size, self.wavenumber_x.size)
        return np.broadcast_to(-1j * self.wavenumber_x, shape).copy()

    @cached_property
    def inversion(self) -> tuple[FloatArray, FloatArray]:
        """The inverse for the real and imaginary parts of both layers."""
        own, other = (np.repeat(each, 2, axis=-1) for each in self.inverse)
        return np.stack([own, own]), np.stack([other, other])


class ChannelSteps:
    """Tendency and time steps of one member, in arrays that belong to this object.

    It is not safe to share between threads. Arrays of coefficients have the axes (layer, mode in y,
    real and imaginary parts of the wavenumbers in x).

    Parameters
    ----------
    equations : ChannelEquations
    """

    def __init__(self, equations: ChannelEquations) -> None:
        self.equations = equations
        modes, columns = equations.wavenumber_y.size, 2 * equations.wavenumber_x.size
        nodes, points = len(equations.to_nodes), equations.to_points.shape[-1]
        shape = (2, modes, columns)
        self._work, self._out, self._sum = np.empty(shape), np.empty(shape), np.empty(shape)
        self._pair = np.empty((2, *shape))  # streamfunction and state
        self._stage = self._pair[1]
        self._nodes = np.empty((3, 2, nodes, columns))  # u, v and q
        self._fluxes = np.zeros((2, 2, nodes, columns))  # in x and in y; zonal means stay zero
        self._grid = np.empty((3, 2 * nodes, points))
        self._parts = np.empty((4, *shape))
        self._slopes = np.empty((2, *shape))

    def tendency(self, state: ComplexArray) -> ComplexArray:
        """Return the time derivative of a state (2, modes_y, modes_x + 1)."""
        self._stage.view(np.complex128)[:] = state
        return self._tendency().view(np.complex128).copy()

    def step(self, state: ComplexArray, dt: float, steps: int) -> ComplexArray:
        """Return the state after some steps of the classical Runge-Kutta method of order four."""
        start = np.array(state, np.complex128).view(np.float64)
        stage, work, total = self._stage, self._work, self._sum
        for _ in range(steps):
            stage[:] = start
            total[:] = start
            # The part of the step to the next stage, and the weight of the tendency.
            for ahead, weight in ((dt / 2, dt / 6), (dt / 2, dt / 3), (dt, dt / 3), (0.0, dt / 6)):
                slope = self._tendency()
                if ahead:
                    np.multiply(slope, ahead, out=work)
                    np.add(start, work, out=stage)
                slope *= weight
                total += slope
            start[:] = total
        return start.view(np.complex128)

    def _tendency(self) -> FloatArray:
        """Compute the tendency of the state in ``_stage``, into ``_out``."""
        equations, pair, out = self.equations, self._pair, self._out
        _couple(equations.inversion, pair[1], self._work, pair[0])
        self._add_waves()
        mean = self._add_zonal_mean()
        _couple(
            equations.linear,
            self._stage.view(np.complex128),
            self._work.view(np.complex128),
            out.view(np.complex128),
        )
        for part in self._parts:
            out += part
        out[..., 0] += mean
        return out

    def _add_waves(self) -> None:
        """Compute the products of waves, into the first two of ``_parts``."""
        equations, pair, nodes, grid = self.equations, self._pair, self._nodes, self._grid
        np.matmul(equations.wind_to_nodes, pair[0], out=nodes[0])
        np.matmul(equations.to_nodes, pair, out=nodes[1:])
        waves = nodes.reshape(*grid.shape[:2], -1)[..., 2:]
        np.matmul(waves, equations.to_points, out=grid)
        u, v, q = grid
        u *= q
        v *= q
        fluxes = self._fluxes.reshape(2, grid.shape[1], -1)[..., 2:]
        np.matmul(grid[:2], equations.from_points, out=fluxes)
        np.matmul(equations.from_nodes, self._fluxes, out=self._parts[:2])

    def _add_zonal_mean(self) -> FloatArray:
        """Compute products of waves with the zonal mean, into the last two of ``_parts``.

        Returns
        -------
        ndarray, shape (2, modes_y)
            Tendency of the zonal mean by the waves and by the forcing.
        """
        equations, pair, size = self.equations, self._pair, self.equations.wavenumber_y.size
        slopes = self._slopes
        np.multiply(equations.minus_ik, pair.view(np.complex128), out=slopes.view(np.complex128))
        gradients = pair[::-1, :, :, 0] * equations.mean_gradients
        matrices = gradients.reshape(4, size) @ equations.mean_to_matrices
        np.matmul(matrices.reshape(2, 2, size, size), slopes, out=self._parts[2:])
        products = np.matmul(pair[0], slopes[1].swapaxes(1, 2))
        mean: FloatArray = products.reshape(2, -1) @ equations.products_to_mean
        mean += equations.forcing
        return mean


def _couple(
    coefficients: tuple[Numbers, Numbers], state: Numbers, work: Numbers, out: Numbers
) -> None:
    """Compute ``own * state + other * (state of the other layer)`` into ``out``."""
    own, other = coefficients
    np.multiply(own, state, out=out)
    np.multiply(other[0], state[1], out=work[0])
    np.multiply(other[1], state[0], out=work[1])
    out += work


def _rows(real: FloatArray, imaginary: FloatArray) -> FloatArray:
    """Return rows of real and imaginary parts in turn, shape (2 wavenumbers, points)."""
    return np.stack([real, imaginary], axis=1).reshape(2 * len(real), -1)
