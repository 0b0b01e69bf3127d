"""Local nonlinear features of fields on a grid: advection, sampled products and activations.

Each is a function of the fields and their derivatives at a point, the same at all longitudes of a
circle of latitude, so that rows of all longitudes inform the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BASE_FIELDS = 6
"""Base fields of a channel: value, eastward and northward derivative, the same of the Laplacian."""

_VALUE, _EAST, _NORTH = range(3)
_OF_LAPLACIAN = 3


@dataclass(frozen=True, eq=False)
class GridFeatures:
    """Features of base fields at each point of the grid.

    Attributes
    ----------
    scales : ndarray, shape (channels, 6)
        Root mean square of each base field, by which it is divided. The two components of a
        gradient have one scale, as a Jacobian would no longer be one otherwise.
    jacobians : ndarray of int, shape (n, 3)
        Advection by a geostrophic wind: channel that is its streamfunction, up to a factor of
        latitude; advected channel; and 1 to advect its Laplacian, else 0.
    winds : ndarray of int, shape (n, 4)
        Advection by a given wind: channels of its eastward and northward component, advected
        channel, and 1 for the Laplacian.
    products : ndarray of int, shape (n, 2)
        Products of two base fields, numbered through all channels.
    weights, biases : ndarray, shapes (6 channels, n) and (n,)
        Activated features.
    activation : {"tanh", "relu"}
    """

    scales: Array
    jacobians: Array
    winds: Array
    products: Array
    weights: Array
    biases: Array
    activation: Literal["tanh", "relu"] = "tanh"

    def __post_init__(self) -> None:
        for east in (_EAST, _OF_LAPLACIAN + _EAST):
            if not np.array_equal(self.scales[:, east], self.scales[:, east + 1]):
                raise ValueError("scales: the two components of a gradient need the same scale")

    @property
    def count(self) -> int:
        """Number of features at a point."""
        return sum(map(len, (self.jacobians, self.winds, self.products, self.biases)))

    @cached_property
    def kinds(self) -> Array:
        """Numbers of the base fields of a channel that the features need: int, ascending."""
        if len(self.biases):
            return np.arange(BASE_FIELDS)
        used = {int(base) % BASE_FIELDS for base in self.products.flat}
        if len(self.winds):
            used.add(_VALUE)
        if len(self.jacobians):
            used |= {_EAST, _NORTH}
        for laplacian in (*self.jacobians[:, 2], *self.winds[:, 3]):
            used |= {_OF_LAPLACIAN * int(laplacian) + side for side in (_EAST, _NORTH)}
        return np.array(sorted(used), dtype=int)

    @classmethod
    def none(cls, scales: Array) -> GridFeatures:
        """Return no features of channels with some scales."""
        weights, numbers = np.zeros((scales.size, 0)), np.zeros((0, 4), dtype=int)
        return cls(scales, numbers[:, :3], numbers, numbers[:, :2], weights, np.zeros(0))

    @staticmethod
    def scales_of(base: Array) -> Array:
        """Return the scales of typical base fields: shape (channels, 6).

        Parameters
        ----------
        base : ndarray, shape (n, channels, 6, latitudes, longitudes)
        """
        squares = np.square(base).mean(axis=(0, 3, 4))
        for east in (_EAST, _OF_LAPLACIAN + _EAST):
            squares[:, east : east + 2] = squares[:, east : east + 2].mean(axis=1, keepdims=True)
        scales = np.sqrt(squares)
        # A field that is zero everywhere, such as the gradient of a constant, stays zero.
        return np.where(scales > 0, scales, 1.0)

    def __call__(self, base: Array, kinds: Array | None = None) -> Array:
        """Return the features of base fields.

        Parameters
        ----------
        base : ndarray, shape (n, channels, kinds, latitudes, longitudes)
            Overwritten by the scaled fields.
        kinds : ndarray of int, shape (kinds,), optional
            Numbers of the base fields in ``base``, at least :attr:`kinds`; by default all 6.

        Returns
        -------
        ndarray, shape (n, features, latitudes, longitudes)
        """
        present = np.arange(BASE_FIELDS) if kinds is None else kinds
        base /= self.scales[:, present, None, None].astype(base.dtype)
        times, channels, _, latitudes, longitudes = base.shape
        place = dict(zip(present.tolist(), range(len(present)), strict=True))

        def field(channel: int, kind: int) -> Array:
            return base[:, channel, place[kind]]

        found = np.empty((times, self.count, latitudes, longitudes), dtype=base.dtype)
        results = iter(found.swapaxes(0, 1))
        for stream, advected, laplacian in self.jacobians.tolist():
            result, order = next(results), _OF_LAPLACIAN * laplacian
            np.multiply(field(stream, _EAST), field(advected, order + _NORTH), out=result)
            result -= field(stream, _NORTH) * field(advected, order + _EAST)
        for eastward, northward, advected, laplacian in self.winds.tolist():
            result, order = next(results), _OF_LAPLACIAN * laplacian
            np.multiply(field(eastward, _VALUE), field(advected, order + _EAST), out=result)
            result += field(northward, _VALUE) * field(advected, order + _NORTH)
        for pair in self.products.tolist():
            first, second = (field(*divmod(number, BASE_FIELDS)) for number in pair)
            np.multiply(first, second, out=next(results))
        if len(self.biases):
            flat = base.reshape(times, channels * BASE_FIELDS, latitudes, longitudes)
            weights = self.weights.T.astype(base.dtype)
            mixed = np.tensordot(weights, flat, axes=(1, 1)).swapaxes(0, 1)
            mixed += self.biases[:, None, None].astype(base.dtype)
            end = self.count - len(self.biases)
            found[:, end:] = np.tanh(mixed) if self.activation == "tanh" else np.maximum(mixed, 0.0)
        return found
