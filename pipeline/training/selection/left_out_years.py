"""Select ridge, balance and width by the errors on every year, each predicted without its rows.

This is cross-validation over the folds of the training and validation periods. One period of a
year cannot settle differences of a percent; several years can, at one decomposition each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.training.selection.ridge import BalancedPaths, RidgeSelection, WidthSelection
from gfrnn.pipeline.training.triangles import Factors
from gfrnn_core import SampledRNN
from gfrnn_core.validation import complements

Array = NDArray[np.float64]


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
    tried = [(width, factor) for width in widths if width > 0 for factor in balances]
    tried.append((0, 1.0))
    leads = len(network.leads)
    squares = np.zeros((len(tried), len(strengths), leads))
    spectra: list[Array] = []
    for fold, others in zip(folds, _others(folds), strict=True):
        for index, (width, factor) in enumerate(tried):
            balanced = BalancedPaths.decompose(network, others, size, width, factor)
            found = balanced.errors(fold, strengths).reshape(len(strengths), leads, size)
            squares[index] += found.sum(axis=2)
            if len(spectra) < len(tried):
                spectra.append(balanced.spectrum)
    errors = (squares / sum(fold.rows for fold in folds) + truncated_variance) / variance

    def select(width: int) -> RidgeSelection:
        chosen = [index for index, (each, _) in enumerate(tried) if each == width]
        own = errors[chosen]
        balance = own.min(axis=1).argmin(axis=0)  # at each lead
        ridge = own[balance, :, np.arange(leads)].argmin(axis=1)
        return RidgeSelection(
            network=replace(network.narrowed(width), outer=None),
            errors=own.min(axis=0),
            ridge=strengths[ridge],
            balance=np.array([tried[chosen[one]][1] for one in balance]),
            spectrum=spectra[chosen[0]],
        )

    paths = tuple(select(width) for width in dict.fromkeys(widths) if width > 0)
    linear = select(0)
    return WidthSelection(paths or (linear,), linear)


def _others(folds: Sequence[Factors]) -> Iterator[Factors]:
    """Yield the triangles of all rows but those of each fold."""
    groups = [[fold.parts[group] for fold in folds] for group in range(len(folds[0].parts))]
    for parts in zip(*map(complements, groups), strict=True):
        yield Factors(parts)
