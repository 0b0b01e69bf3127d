"""R factors of the rows of one candidate: one for each set of outer weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.reduction.checkpoints import Arrays
from gfrnn_core import RFactor, SampledRNN, merge_all
from gfrnn_core.triangles.normal_equations import NormalEquations

Array = NDArray[Any]


def group_count(network: SampledRNN) -> int:
    """Return the number of groups of places with outer weights of their own, at least 1."""
    return 1 if network.groups is None else len(np.unique(network.groups))


def tried_widths(network: SampledRNN, widths: Sequence[int]) -> list[int]:
    """Return the numbers of hidden features to try, with those on the grid in each of them."""
    return [network.lattice_columns + width for width in widths] or [network.width]


def solve_bytes(groups: int, columns: int, left_out: int = 0) -> int:
    """Return the peak memory in bytes of solving for outer weights from triangles.

    Parameters
    ----------
    groups : int
        Number of triangles.
    columns : int
        Number of columns of a row: features and targets.
    left_out : int
        Number of folds of which each is left out once.
    """
    # The triangles, their weighted copies, and one SVD with its working memory; where folds are
    # left out, the triangle of each and that of all later ones.
    return ((3 + 2 * left_out) * groups + 10) * 8 * columns**2


@dataclass(frozen=True)
class Factors:
    """The R factors of one candidate, one for each group of places with weights of its own.

    Attributes
    ----------
    parts : tuple of RFactor
        R factors by group; a single one where all places share weights, or there are no places.
    """

    parts: tuple[RFactor, ...]

    @classmethod
    def of_series(
        cls,
        network: SampledRNN,
        states: Any,
        inputs: Any = None,
        first: int = 0,
        weights: Array | None = None,
    ) -> Factors:
        """Factorise the rows of gapless series, see :meth:`gfrnn_core.SampledRNN.factorise`."""
        if network.groups is None:
            return cls((network.factorise(states, inputs, first, weights=weights),))
        places = (np.flatnonzero(network.groups == group) for group in np.unique(network.groups))
        return cls(
            tuple(
                network.factorise(states, inputs, first, places=here, weights=weights)
                for here in places
            )
        )

    @property
    def rows(self) -> int:
        """Number of rows of all groups together."""
        return sum(part.rows for part in self.parts)

    @property
    def columns(self) -> int:
        """Number of columns of a row, the same in all groups."""
        return self.parts[0].columns

    def merge(self, other: Factors) -> Factors:
        """Return the R factors of the rows of both."""
        pairs = zip(self.parts, other.parts, strict=True)
        return Factors(tuple(mine.merge(theirs) for mine, theirs in pairs))

    def scale(self, factor: float) -> Factors:
        """Return the R factors of all rows multiplied by a factor."""
        return Factors(tuple(part.scale(factor) for part in self.parts))

    def arrays(self, prefix: str = "") -> Arrays:
        """Return the R factors as arrays, whose names begin with a prefix.

        The upper triangles are packed row by row into one array: half the bytes to send and to
        store, and one array instead of many.
        """
        rows = [row[place:] for part in self.parts for place, row in enumerate(part.triangle)]
        return {
            f"{prefix}rows": np.array([part.rows for part in self.parts]),
            f"{prefix}columns": np.array([part.columns for part in self.parts]),
            f"{prefix}triangles": np.concatenate(rows) if rows else np.zeros(0),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, prefix: str = "") -> Factors:
        """Build the R factors from the arrays that :meth:`arrays` returns."""
        counts = arrays[f"{prefix}rows"].tolist()
        packed, parts, begin = arrays[f"{prefix}triangles"], [], 0
        for rows, columns in zip(counts, arrays[f"{prefix}columns"].tolist(), strict=True):
            triangle = np.zeros((min(rows, columns), columns), dtype=packed.dtype)
            for place, row in enumerate(triangle):
                end = begin + columns - place
                row[place:] = packed[begin:end]
                begin = end
            parts.append(RFactor(triangle, rows))
        return cls(tuple(parts))


def packed_bytes(columns: int) -> int:
    """Return the bytes of a packed triangle of float64."""
    return 8 * columns * (columns + 1) // 2


def merge_factors(factors: Iterable[Factors]) -> Factors:
    """Merge one or more sets of R factors from left to right."""
    waiting: list[Factors] = []
    for each in factors:
        waiting.append(each)
        # Folds of few rows wait for each other: merging them one by one factors them again.
        if min(sum(part.rows for part in group) for group in _by_group(waiting)) >= each.columns:
            waiting = [_merged(waiting)]
    return _merged(waiting)


def _merged(factors: list[Factors]) -> Factors:
    if len(factors) == 1:
        return factors[0]
    return Factors(tuple(merge_all(parts) for parts in _by_group(factors)))


def _by_group(factors: list[Factors]) -> list[tuple[RFactor, ...]]:
    return list(zip(*(each.parts for each in factors), strict=True))


def sum_products(factors: Iterable[Factors]) -> tuple[NormalEquations, ...]:
    """Return the normal equations of the rows of one or more sets of R factors, by group."""
    total: tuple[NormalEquations, ...] = ()
    for each in factors:
        if total:
            pairs = zip(total, each.parts, strict=True)
            total = tuple(equations.add(part) for equations, part in pairs)
        else:
            total = tuple(map(NormalEquations.from_factor, each.parts))
    return total
