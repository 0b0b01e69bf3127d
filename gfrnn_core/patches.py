"""Cut a grid into patches with halos; all patches share one network and give rows to its fit.

A field of a homogeneous system is forecast place by place from its neighbourhood: a patch owns some
cells of the grid, whose next values it predicts, and sees these and a halo around them (Pathak et
al. 2018, Phys. Rev. Lett. 120, 024102; with weights shared by all places: Vlachas et al. 2020,
Neural Networks 126, 191-217, section 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pole = Literal["none", "row", "between"]

# Largest number of window indices that are kept in memory.
_KEPT = 2**22


def _as_tuple(value: Any) -> Any:
    """Return lists, tuples and arrays as nested tuples, and anything else as it is."""
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        return tuple(map(_as_tuple, value))
    return value


@dataclass(frozen=True)
class Patches:
    """A grid of one or two dimensions cut into patches with a halo.

    A state is the grid flattened in C order, the channels of a cell next to each other: shape
    ``(product of shape * channels,)``. Where the size does not divide an axis, its last patch
    begins earlier and owns some cells together with its neighbour; a forecast takes these from the
    last one.

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
        Cells that a patch owns along each axis.
    channels : int
        Values in a cell.
    inner : tuple of (int, int), optional
        Halo of the hidden features, if it is smaller than that of the linear terms: long waves act
        linearly, and features of fewer values are learnt with less error.
    poles : tuple of two of {"none", "row", "between"}
        Pole beyond the first and the last cell of the first axis (latitude): none, on the last row,
        or half a cell beyond it. A window across a pole continues on the other side, half a circle
        further along the second axis, a periodic longitude (at the nearest cell if their number is
        odd).
    turned : tuple of int
        Channels that change sign across a pole: components of a vector, such as wind.

    Raises
    ------
    ValueError
        If lengths do not fit each other, a size is larger than its axis, the inner halo is not
        within the halo, a window is longer than a periodic axis, so that it would see a cell
        twice, or poles are not at the ends of an open axis beside a periodic one.
    """

    shape: tuple[int, ...]
    halo: tuple[tuple[int, int], ...]
    periodic: bool | tuple[bool, ...] = True
    size: int | tuple[int, ...] = 1
    channels: int = 1
    inner: tuple[tuple[int, int], ...] | None = None
    poles: tuple[Pole, Pole] = ("none", "none")
    turned: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        # Sequences of any kind, such as the lists of JSON, become tuples.
        for name in ("shape", "halo", "periodic", "size", "inner", "poles", "turned"):
            object.__setattr__(self, name, _as_tuple(getattr(self, name)))
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
            if not 1 <= own <= cells:
                raise ValueError(f"size: {own} is not within 1..{cells}, the cells of axis {axis}")
            if closed and before + own + after > cells:
                raise ValueError(
                    f"halo: a window of {before + own + after} cells is longer than the periodic "
                    f"axis {axis} of {cells}"
                )
        self._check_poles()

    def _check_poles(self) -> None:
        if len(self.poles) != 2 or not set(self.poles) <= set(get_args(Pole)):
            options = ", ".join(get_args(Pole))
            raise ValueError(f"poles: {self.poles} is not two of {options}")
        if any(not 0 <= channel < self.channels for channel in self.turned):
            raise ValueError(f"turned: {self.turned} is not within channels 0..{self.channels - 1}")
        if set(self.poles) == {"none"}:
            return
        closed = [closed for _, _, closed, _ in self._axes()]
        if closed != [False, True]:
            raise ValueError(
                f"poles: {self.poles} need an open first axis and a periodic second one, but "
                f"periodic is {self.periodic}"
            )
        if max(self.halo[0]) >= self.shape[0]:
            raise ValueError(
                f"halo: {max(self.halo[0])} cells across a pole are not fewer than the "
                f"{self.shape[0]} cells of axis 0"
            )

    @property
    def cells(self) -> int:
        """Length of a state."""
        return int(np.prod(self.shape)) * self.channels

    @property
    def places(self) -> int:
        """Number of patches."""
        return int(np.prod(self.counts))

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of patches along each axis; the last axis varies fastest."""
        return tuple(-(-cells // own) for cells, _, _, own in self._axes())

    @property
    def window(self) -> int:
        """Number of values that a patch sees."""
        sides = (before + own + after for _, (before, after), _, own in self._axes())
        return int(np.prod(list(sides))) * self.channels

    @property
    def owned(self) -> int:
        """Number of values that a patch owns."""
        return int(np.prod([own for _, _, _, own in self._axes()])) * self.channels

    @cached_property
    def seen(self) -> Array:
        """Indices into a state of the values that each patch sees: shape (places, window)."""
        return self._values(self._cells(np.arange(self.places), self.halo))

    @cached_property
    def own(self) -> Array:
        """Indices into a state of the values that each patch owns: shape (places, own values)."""
        return self._values(self.own_cells)

    @cached_property
    def own_cells(self) -> Array:
        """Cells that each patch owns, all channels together: shape (places, own cells)."""
        return self._cells(np.arange(self.places), ((0, 0),) * len(self.shape))

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

    def windows_at(self, states: Array, time: Array, place: Array) -> Array:
        """Return the windows at pairs of time and place: shape (rows, window).

        Parameters
        ----------
        states : ndarray, shape (times, cells)
        time, place : ndarray of int, shape (rows,)
        """
        found = np.asarray(states[time[:, None], self.seen_from(place)])
        signs = self.signs_from(place)
        if signs is not None:
            found *= signs
        return found

    @property
    def indexed(self) -> bool:
        """Whether :attr:`seen` is kept; on a fine grid it would take more space than the fields."""
        return self.places * self.window <= _KEPT

    def seen_from(self, place: Array) -> Array:
        """Return indices into a state of the values that some patches see: shape (rows, window)."""
        return self.seen[place] if self.indexed else self._values(self._cells(place, self.halo))

    def signs_from(self, place: Array) -> Array | None:
        """Return signs of the values that patches see: shape (rows, window); None if all are 1."""
        if not self.turned or self.poles == ("none", "none"):
            return None
        return self._signs[place] if self.indexed else self._turns(place)

    def windows(self, states: Array) -> Array:
        """Return the window of each patch: shape (..., cells) to (..., places, window)."""
        flat = states.reshape(-1, self.cells)
        time, place = np.divmod(np.arange(len(flat) * self.places), self.places)
        return self.windows_at(flat, time, place).reshape(*states.shape[:-1], self.places, -1)

    def assemble(self, values: Array) -> Array:
        """Assemble states from own values: shape (..., places, own values) to (..., cells)."""
        states = np.empty((*values.shape[:-2], self.cells), dtype=values.dtype)
        states[..., self.own] = values  # of values owned twice, the last one stays
        return states

    @property
    def _inner(self) -> tuple[tuple[int, int], ...]:
        return self.halo if self.inner is None else self.inner

    def _axes(self) -> list[tuple[int, tuple[int, int], bool, int]]:
        """Return cells, halo, periodicity and cells that a patch owns, for each axis."""
        axes = len(self.shape)
        periodic = self.periodic if isinstance(self.periodic, tuple) else (self.periodic,) * axes
        size = self.size if isinstance(self.size, tuple) else (self.size,) * axes
        for name, values in (("periodic", periodic), ("size", size)):
            if len(values) != axes:
                raise ValueError(f"{name}: {values} is not one value for each of {axes} axes")
        return list(zip(self.shape, self.halo, periodic, size, strict=True))

    def _cells(self, place: Array, margins: tuple[tuple[int, int], ...]) -> Array:
        """Return the cells of windows at some places, with these margins: shape (rows, cells)."""
        flat = np.zeros((len(place), 1), dtype=np.intp)
        shift = np.zeros((len(place), 1, 1), dtype=np.intp)
        places = np.unravel_index(place, self.counts)
        for axis, (cells, _, closed, own) in enumerate(self._axes()):
            before, after = margins[axis]
            begin = np.minimum(places[axis] * own, cells - own)
            along = begin[:, None, None] + np.arange(-before, own + after)
            if axis == 0:
                shift = self._across(along)
                along = self._reflected(along)
            else:
                along = along + shift.transpose(0, 2, 1)
            along = along % cells if closed else along.clip(0, cells - 1)
            flat = (flat[:, :, None] * cells + along).reshape(len(place), -1)
        return flat

    @cached_property
    def _signs(self) -> Array:
        return self._turns(np.arange(self.places))

    def _turns(self, place: Array) -> Array:
        """Return -1 where a value changes sign across a pole, else 1: shape (rows, window)."""
        cells, (before, after), _, own = self._axes()[0]
        begin = np.minimum(place // self.counts[1] * own, cells - own)
        across = self._beyond(begin[:, None] + np.arange(-before, own + after))
        turned = np.isin(np.arange(self.channels), self.turned)
        width = sum(self.halo[1]) + self._axes()[1][3]
        signs = 1 - 2 * (across[:, :, None, None] & turned).astype(np.int8)
        return np.repeat(signs, width, axis=2).reshape(len(place), -1)

    def _across(self, along: Array) -> Array:
        """Return the shift along the second axis to the other side of a pole, 0 on this side."""
        return np.asarray(self._beyond(along) * (self.shape[-1] // 2))

    def _beyond(self, along: Array) -> Array:
        """Return which cells of the first axis lie across a pole."""
        south, north = (kind != "none" for kind in self.poles)
        return np.asarray(((along < 0) & south) | ((along >= self.shape[0]) & north))

    def _reflected(self, along: Array) -> Array:
        """Return cells of the first axis; those beyond a pole are reflected to its other side."""
        south, north = self.poles
        if south != "none":
            along = np.where(along < 0, -along - (south == "between"), along)
        if north != "none":
            last = self.shape[0] - 1
            mirrored = 2 * last - along + (north == "between")
            along = np.where(along > last, mirrored, along)
        return along

    def _values(self, cells: Array) -> Array:
        values = cells[:, :, None] * self.channels + np.arange(self.channels)
        return np.asarray(values.reshape(len(cells), -1))
