"""Transforms of skewed variables: what a model is trained on, and back to physical values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.data.variables.units import parse_unit

Array = NDArray[Any]

TRANSFORM = "transform"
"""Attribute of a variable of the canonical Dataset: ``log1p`` or ``sqrt`` where it has one."""

# Value in the canonical unit that the logarithm adds 1 to: 1 mm of water, 1 mm a day.
_UNITS = {"m": 1e-3, "kg m-2": 1.0, "kg m-2 s-1": 1 / 86400, "m s-1": 1e-3 / 86400}
_ROUNDING = 0.05  # of this value: packing and differences make zeros slightly negative


@dataclass(frozen=True)
class Transform:
    """A transform of values that are not negative.

    Attributes
    ----------
    name : {"log1p", "sqrt"}
    unit : float
        Value of 1 before the transform, in the unit of the variable.
    """

    name: str
    unit: float

    @classmethod
    def of(cls, variable: xr.DataArray) -> Transform | None:
        """Return the transform of a variable of the canonical Dataset, None if it has none."""
        name = variable.attrs.get(TRANSFORM)
        if name is None:
            return None
        parsed = parse_unit(str(variable.attrs.get("units", "")))
        return cls(str(name), _UNITS.get(parsed[0] if parsed else "", 1.0))

    @property
    def least(self) -> float:
        """Least value that is taken for 0."""
        return -_ROUNDING * self.unit

    def forward(self, values: Array) -> Array:
        """Return what a model is trained on; values that are hardly negative count as 0."""
        scaled = np.maximum(values, 0.0) / self.unit
        return np.asarray(np.log1p(scaled) if self.name == "log1p" else np.sqrt(scaled))

    def inverse(self, values: Array) -> Array:
        """Return physical values; what a model forecasts below 0 is 0."""
        positive = np.maximum(values, 0.0)
        scaled = np.expm1(positive) if self.name == "log1p" else np.square(positive)
        return np.asarray(scaled * self.unit)

    def __str__(self) -> str:
        """Write it as ``log1p(value / 0.001)``."""
        return f"{self.name}(value / {self.unit:.6g})"


@dataclass(frozen=True)
class ChannelTransforms:
    """The transform of each channel of a grid, None for those without one."""

    channels: tuple[Transform | None, ...]

    @classmethod
    def of(cls, ds: xr.Dataset, variables: Sequence[str]) -> ChannelTransforms:
        """Return the transforms of channels, of which the variables are given."""
        return cls(tuple(Transform.of(ds[name]) for name in variables))

    def __bool__(self) -> bool:
        """Return whether any channel has a transform."""
        return any(self.channels)

    def forward(self, values: Array, axis: int) -> Array:
        """Transform values in place, whose channels are along an axis, and return them."""
        return self._apply(values, axis, Transform.forward)

    def inverse(self, values: Array, axis: int) -> Array:
        """Transform values back in place, and return them."""
        return self._apply(values, axis, Transform.inverse)

    def _apply(
        self, values: Array, axis: int, function: Callable[[Transform, Array], Array]
    ) -> Array:
        by_channel = np.moveaxis(values, axis, 0)
        for own, transform in zip(by_channel, self.channels, strict=True):
            if transform is not None:
                own[...] = function(transform, own)
        return values
