"""Select ridge, balance and width by the errors on every year, each predicted without its rows.

This is cross-validation over the folds of the training and validation periods. One period of a
year cannot settle differences of a percent; several years can, at one decomposition each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.training.selection.ridge import (
    BalancedPaths,
    Parts,
    RidgeSelection,
    WidthSelection,
)
from gfrnn.pipeline.training.triangles import Factors, sum_products
from gfrnn_core import SampledRNN
from gfrnn_core.triangles.normal_equations import LEAST_RIDGE
from gfrnn_core.validation import complements

Array = NDArray[np.float64]
_Setting: TypeAlias = tuple[int, float]  # a width and a balance
_Measured: TypeAlias = tuple[Array, Array, float]  # errors (ridges, leads), spectrum, condition


def select_on_left_out_years(
    network: SampledRNN,
    folds: Sequence[Factors],
    *,
    size: int,
    widths: Sequence[int],
    ridges: Sequence[float],
    balances: Sequence[float],
    variance: Array,
    truncated_variance: Array,
) -> WidthSelection:
    """Select the ridge and the balance of each lead for every width and for the linear model.

    The mean squared error over the rows of all folds decides, where the rows of each fold are
    predicted by the weights that all other folds give.

    Parameters
    ----------
    network, size, widths, ridges, balances, variance, truncated_variance
        Parameters of :func:`gfrnn.pipeline.training.selection.ridge.select_ridge_and_width`.
    folds : sequence of Factors
        Triangles of two or more folds, which share no target.

    Returns
    -------
    WidthSelection
        Its networks are not solved, as no fold's weights are those of the model.
    """
    strengths = np.asarray(ridges, dtype=float)
    tried = [(width, factor) for width in dict.fromkeys(widths) if width for factor in balances]
    tried.append((0, 1.0))
    leads = len(network.leads)

    def measure(settings: list[_Setting], others: Iterable[Parts]) -> dict[_Setting, _Measured]:
        squares = np.zeros((len(settings), len(strengths), leads))
        spectra: list[Array] = []
        conditions = np.full(len(settings), np.inf)
        for fold, parts in zip(folds, others, strict=True):
            for index, (width, factor) in enumerate(settings):
                balanced = BalancedPaths.decompose(network, parts, size, width, factor)
                squares[index] += balanced.errors(fold, strengths)
                conditions[index] = min(conditions[index], balanced.condition)
                if len(spectra) < len(settings):
                    spectra.append(balanced.spectrum)
        errors = (squares / sum(fold.rows for fold in folds) + truncated_variance) / variance
        found = zip(errors, spectra, conditions.tolist(), strict=True)
        return dict(zip(settings, found, strict=True))

    def select(width: int, measured: dict[_Setting, _Measured]) -> RidgeSelection:
        chosen = [setting for setting in tried if setting[0] == width]
        own = np.stack([measured[setting][0] for setting in chosen])
        balance = own.min(axis=1).argmin(axis=0)  # at each lead
        ridge = own[balance, :, np.arange(leads)].argmin(axis=1)
        return RidgeSelection(
            network=replace(network.narrowed(width), outer=None),
            errors=own.min(axis=0),
            ridge=strengths[ridge],
            balance=np.array([chosen[one][1] for one in balance]),
            spectrum=measured[chosen[0]][1],
            condition=min(measured[setting][2] for setting in chosen),
        )

    selected: dict[int, RidgeSelection] = {}
    if strengths.max() >= LEAST_RIDGE:
        measured = measure(tried, _equations_of_others(folds))
        found = (select(width, measured) for width, _ in tried)
        selected = {
            path.network.width: path for path in found if path.is_accurate_with_products(strengths)
        }
    if left := [setting for setting in tried if setting[0] not in selected]:
        measured = measure(left, _triangles_of_others(folds))
        selected |= {width: select(width, measured) for width, _ in left}
    paths = tuple(selected[width] for width in dict.fromkeys(widths))
    return WidthSelection(paths or (selected[0],), selected[0])


def _equations_of_others(folds: Sequence[Factors]) -> Iterator[Parts]:
    """Yield the normal equations of all rows but those of each fold."""
    total = sum_products(folds)
    for fold in folds:
        pairs = zip(total, fold.parts, strict=True)
        yield tuple(equations.without(part) for equations, part in pairs)


def _triangles_of_others(folds: Sequence[Factors]) -> Iterator[Parts]:
    """Yield the triangles of all rows but those of each fold."""
    groups = [[fold.parts[group] for fold in folds] for group in range(len(folds[0].parts))]
    yield from zip(*map(complements, groups), strict=True)
