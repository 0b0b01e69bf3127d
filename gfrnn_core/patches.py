"""Windows on a grid: the same network for every place, rows from all places.

A field of a homogeneous system is forecast place by place from its neighbourhood: a patch owns some
cells of the grid, whose next values it predicts, and sees these and a halo around them (Pathak et
al. 2018, Phys. Rev. Lett. 120, 024102; with weights shared by all places: Vlachas et al. 2020,
Neural Networks 126, 191-217, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Patches:
    """A grid of one or two dimensions cut into patches with a halo.

    A state is the grid flattened in C order, the channels of a cell next to each other: shape
    ``(product of shape * channels,)``.

    Parameters
    ----------
    shape : tuple of int
        Cells along each axis.
    halo : tuple of (int, int)
        Cells seen before and after the patch, along each axis. Asymmetric where information comes
        from one side.
    periodic : bool or tuple of bool
        Whether each axis closes on itself. Beyond an open end its last cell is repeated.
    size : int or tuple of int
        Cells that a patch owns along each axis; a divisor of the shape.
    channels : int
        Values in a cell.
    inner : tuple of (int, int), optional
        The halo of the hidden features, where that is less than the linear terms': long waves act
        linearly, and fewer values are learnt from with less error.

    Raises
    ------
    ValueError
        If lengths do not fit each other, a size does not divide the shape, the inner halo is not
        within the halo, or a window is longer than a periodic axis, so that it would see a cell
        twice.
    """

    shape: tuple[int, ...]
    halo: tuple[tuple[int, int], ...]
    periodic: bool | tuple[bool, ...] = True
    size: int | tuple[int, ...] = 1
    channels: int = 1
    inner: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.shape) <= 2 or min(self.shape) < 1:
            raise ValueError(f"shape: {self.shape} is not one or two positive numbers of cells")
        if self.channels < 1:
            raise ValueError(f"channels: {self.channels} is not a positive integer")
        for name, halo in (("halo", self.halo), ("inner", self._inner)):
            if len(halo) != len(self.shape) or any(
                np.shape(pair) != (2,) or min(pair) < 0 for pair in halo
            ):
                raise ValueError(
                    f"{name}: {halo} is not (cells before, cells after) for each of the "
                    f"{len(self.shape)} axes"
                )
        if (np.asarray(self._inner) > np.asarray(self.halo)).any():
            raise ValueError(f"inner: {self.inner} is not within the halo, {self.halo}")
        for axis, (cells, (before, after), closed, own) in enumerate(self._axes()):
            if own < 1 or cells % own:
                raise ValueError(f"size: {own} does not divide the {cells} cells of axis {axis}")
            if closed and before + own + after > cells:
                raise ValueError(
                    f"halo: a window of {before + own + after} cells is longer than the periodic "
                    f"axis {axis} of {cells}"
                )

    @property
    def cells(self) -> int:
        """Length of a state."""
        return int(np.prod(self.shape)) * self.channels

    @property
    def places(self) -> int:
        """Number of patches."""
        return len(self.own)

    @property
    def window(self) -> int:
        """Values that a patch sees."""
        return int(self.seen.shape[1])

    @cached_property
    def seen(self) -> Array:
        """Indices into a state of what each patch sees: shape (places, window)."""
        return self._indices([(before, after) for before, after in self.halo])

    @cached_property
    def own(self) -> Array:
        """Indices into a state of what each patch owns: shape (places, own values)."""
        return self._indices([(0, 0)] * len(self.shape))

    @cached_property
    def seen_by_hidden(self) -> Array:
        """Which values of a window hidden features see: bool, shape (window,)."""
        inside = [
            np.pad(
                np.ones(before + own + after, dtype=bool),
                (halo[0] - before, halo[1] - after),
            )
            for (_, halo, _, own), (before, after) in zip(self._axes(), self._inner, strict=True)
        ]
        return np.repeat(reduce(np.multiply.outer, inside), self.channels)

    def windows(self, states: Array) -> Array:
        """What each patch sees: shape (..., cells) to (..., places, window)."""
        return np.asarray(states[..., self.seen])

    def assembled(self, values: Array) -> Array:
        """States from what patches own: shape (..., places, own values) to (..., cells)."""
        states = np.empty((*values.shape[:-2], self.cells), dtype=values.dtype)
        states[..., self.own] = values
        return states

    @property
    def _inner(self) -> tuple[tuple[int, int], ...]:
        return self.halo if self.inner is None else self.inner

    def _axes(self) -> list[tuple[int, tuple[int, int], bool, int]]:
        """Of each axis: cells, halo, whether it is periodic, cells that a patch owns."""
        axes = len(self.shape)
        periodic = self.periodic if isinstance(self.periodic, tuple) else (self.periodic,) * axes
        size = self.size if isinstance(self.size, tuple) else (self.size,) * axes
        for name, values in (("periodic", periodic), ("size", size)):
            if len(values) != axes:
                raise ValueError(f"{name}: {values} is not one value for each of {axes} axes")
        return list(zip(self.shape, self.halo, periodic, size, strict=True))

    def _indices(self, margins: list[tuple[int, int]]) -> Array:
        flat = np.zeros((1, 1), dtype=np.intp)
        for (cells, _, closed, own), (before, after) in zip(self._axes(), margins, strict=True):
            along = np.arange(0, cells, own)[:, None] + np.arange(-before, own + after)
            along = along % cells if closed else along.clip(0, cells - 1)
            # Places of this axis vary faster than those of the axes before it, and so do cells.
            flat = flat[:, None, :, None] * cells + along[None, :, None, :]
            flat = flat.reshape(flat.shape[0] * flat.shape[1], -1)
        values = flat[:, :, None] * self.channels + np.arange(self.channels)
        return values.reshape(len(flat), -1)
