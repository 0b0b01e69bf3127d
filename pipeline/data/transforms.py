"""From fields to what a model is trained on, and back to values that are physically possible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gfrnn.pipeline.data.variables.names import BOUNDS
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
    """The transform of each channel of a grid, and the bounds of its values.

    Attributes
    ----------
    channels : tuple of (Transform or None)
        None for channels without a transform.
    bounds : tuple of (tuple of float, or None)
        Least and largest value that a forecast may have in physical units, None without any.
    """

    channels: tuple[Transform | None, ...]
    bounds: tuple[tuple[float, float] | None, ...]

    @classmethod
    def of(cls, ds: xr.Dataset, variables: Sequence[str]) -> ChannelTransforms:
        """Return the transforms of channels, of which the variables are given.

        Anomalies have no bounds, nor have variables whose name is not recognised.
        """
        bounds = [
            None if ds[name].attrs.get("anomalies") else BOUNDS.get(name) for name in variables
        ]
        return cls(tuple(Transform.of(ds[name]) for name in variables), tuple(bounds))

    def __bool__(self) -> bool:
        """Return whether any channel has a transform."""
        return any(self.channels)

    def forward(self, values: Array, axis: int) -> Array:
        """Transform values in place, whose channels are along an axis, and return them."""
        return self._apply(values, axis, Transform.forward)

    def inverse(self, values: Array, axis: int) -> Array:
        """Transform values back in place, and return them."""
        return self._apply(values, axis, Transform.inverse)

    def forecasts(self, values: Array, axis: int) -> Array:
        """Turn forecasts into possible physical values in place, and return them."""
        for channel, own in enumerate(np.moveaxis(values, axis, 0)):
            if self.changes(channel):
                own[...] = self.forecast(channel, own)
        return values

    def changes(self, channel: int) -> bool:
        """Return whether forecasts of a channel have a transform or bounds."""
        return self.channels[channel] is not None or self.bounds[channel] is not None

    def forecast(self, channel: int, values: Array) -> Array:
        """Return forecasts of a channel as possible physical values.

        Values beyond the bounds become the bounds; NaN stays. ``values`` may be overwritten.
        """
        transform, bounds = self.channels[channel], self.bounds[channel]
        if transform is not None:
            values = transform.inverse(values)
        return values if bounds is None else np.clip(values, *bounds, out=values)

    def _apply(
        self, values: Array, axis: int, function: Callable[[Transform, Array], Array]
    ) -> Array:
        by_channel = np.moveaxis(values, axis, 0)
        for own, transform in zip(by_channel, self.channels, strict=True):
            if transform is not None:
                own[...] = function(transform, own)
        return values
