"""Nonlinear features of fields on a grid of latitudes and longitudes, for rows of patches."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn_core.local_features.grid_features import BASE_FIELDS, GridFeatures
from gfrnn_core.local_features.lattice import Lattice
from gfrnn_core.patches import Patches

Array = NDArray[Any]

# Bytes of base fields and features that are computed together: about the size of the caches.
_BLOCK_BYTES = 2**22

# Sine of the latitude below which the factor of the geostrophic wind is bounded.
_TROPICS = float(np.sin(np.deg2rad(10.0)))

# Signs of the base fields of a channel where directions are reversed, as across a pole.
_REVERSED = np.array([1, -1, -1, 1, -1, -1])


@dataclass(frozen=True, eq=False)
class LatticeFeatures:
    """Features of states that hold the values of all cells of a lattice.

    Attributes
    ----------
    features : GridFeatures
        Features of base fields; none is activated, as those of a network's hidden weights are. On
        the sphere Jacobians are divided by the sine of latitude, as the geostrophic wind is, so
        that weights can be shared by all latitudes; the quotient is bounded near the equator.
    lattice : Lattice
    background : ndarray, shape (size,), or None
        State that is added before features are computed, such as the mean of the climatology if
        states are anomalies.

    Raises
    ------
    ValueError
        If the channels differ, or a feature is activated.
    """

    features: GridFeatures
    lattice: Lattice
    background: Array | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        scaled, channels = len(self.features.scales), self.lattice.patches.channels
        if scaled != channels:
            raise ValueError(f"features: of {scaled} channels, but the lattice has {channels}")
        if len(self.features.biases):
            raise ValueError("features: activated ones are not allowed; give the network a width")

    @cached_property
    def windows(self) -> Patches:
        """Patches of the features: a row has those of the cells of a patch and of a halo.

        The halo is the inner one, if the network's patches have one, else none.
        """
        patches = self.lattice.patches
        return replace(
            patches,
            halo=patches.inner or ((0, 0), (0, 0)),
            inner=None,
            channels=self.features.count,
            turned=tuple(map(int, np.flatnonzero(self._parities < 0))),
        )

    @property
    def columns(self) -> int:
        """Number of features in a row."""
        return self.windows.window

    @property
    def time_bytes(self) -> int:
        """Working memory in bytes of one time: base fields, copies of differences, features."""
        fields = 2 * BASE_FIELDS * self.lattice.patches.channels + 2 * self.features.count
        return 8 * fields * self.lattice.cells

    @property
    def times_together(self) -> int:
        """Number of times that are computed together."""
        return max(1, _BLOCK_BYTES // self.time_bytes)

    def base_fields(self, states: Array) -> Array:
        """Return the base fields of states with the background, see :class:`Lattice`."""
        whole = states if self.background is None else states + self.background
        return self.lattice.base_fields(whole)

    def __call__(self, states: Array) -> Array:
        """Return the features of states (n, size), in their precision: (n, cells * features).

        The features of a cell are next to each other.
        """
        found = np.empty((len(states), self.lattice.cells * self.features.count), states.dtype)
        jacobians = len(self.features.jacobians)
        for first in range(0, len(states), self.times_together):
            now = slice(first, first + self.times_together)
            own = self.features(self.base_fields(states[now]))
            own[:, :jacobians] *= self._geostrophic[:, None]
            found[now] = np.moveaxis(own, 1, -1).reshape(len(own), -1)
        return found

    @cached_property
    def _geostrophic(self) -> Array:
        """Factor of the geostrophic wind by latitude: shape (rows,)."""
        if self.lattice.geometry == "channel":
            return np.ones(len(self.lattice.latitude))
        sine = np.sin(np.deg2rad(self.lattice.latitude))
        return np.asarray(sine / np.maximum(np.square(sine), _TROPICS**2))

    @cached_property
    def _parities(self) -> Array:
        """Sign of each feature where directions are reversed: shape (features,)."""
        patches, own = self.lattice.patches, self.features
        sign = np.where(np.isin(np.arange(patches.channels), patches.turned), -1, 1)
        base = np.outer(sign, _REVERSED).reshape(-1)
        return np.concatenate(
            [
                sign[own.jacobians[:, 0]] * sign[own.jacobians[:, 1]],
                # The wind is reversed as the gradient is.
                sign[own.winds[:, 2]],
                base[own.products[:, 0]] * base[own.products[:, 1]],
            ]
        )
