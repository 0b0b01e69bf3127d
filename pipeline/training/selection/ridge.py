"""Select ridge, balance and width on the validation period from triangles alone.

This is hold-out validation on one later period, with a ridge and a balance for each lead, and not
the cross-validation of :mod:`gfrnn_core.validation`, which leaves out every fold once. Both take
the errors along the ridge from :class:`gfrnn_core.RidgePath`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.training.triangles import Factors, merge_factors, sum_products
from gfrnn_core import RFactor, RidgePath, SampledRNN
from gfrnn_core.regression import residual_triangle
from gfrnn_core.triangles.normal_equations import LEAST_RIDGE, NormalEquations, products_suffice

Array = NDArray[Any]
Parts: TypeAlias = tuple[RFactor, ...] | tuple[NormalEquations, ...]
"""Rows by group: as triangles, or as normal equations."""


@dataclass(frozen=True)
class RidgeSelection:
    """The validation error as a function of the ridge, for one width.

    Attributes
    ----------
    network : SampledRNN
        Network solved at the best ridge and balance of each lead.
    errors : ndarray, shape (ridges, leads)
        Mean squared error of the states at the best balance, relative to their variance about
        the climatology.
    ridge, balance : ndarray, shape (leads,)
        Best value at each lead.
    spectrum : ndarray
        Singular values of R_ff, the feature block of the triangle, at the first balance; of the
        first group where there are several.
    condition : float
        Smallest singular value relative to the largest, in the worst group at the worst balance.
    """

    network: SampledRNN
    errors: Array
    ridge: Array
    balance: Array
    spectrum: Array
    condition: float

    @property
    def score(self) -> float:
        """Mean error over leads at the best ridges, by which widths and candidates are compared."""
        return float(self.errors.min(axis=0).mean())

    def is_accurate_with_products(self, tried: Array) -> bool:
        """Tell whether normal equations are accurate at the best of all ridges tried."""
        return products_suffice(self.ridge, self.condition, self.errors.min(axis=0), tried)


@dataclass(frozen=True)
class WidthSelection:
    """The ridge paths of all widths and of the linear model.

    Attributes
    ----------
    paths : tuple of RidgeSelection
        Paths in the order of the widths.
    linear : RidgeSelection
        Path of the linear model.
    """

    paths: tuple[RidgeSelection, ...]
    linear: RidgeSelection

    @property
    def best(self) -> RidgeSelection:
        """The path with the least validation error."""
        return min(self.paths, key=lambda path: path.score)


def select_ridge_and_width(
    network: SampledRNN,
    train: Iterable[Factors],
    validation: Factors,
    *,
    size: int,
    widths: Sequence[int],
    ridges: Sequence[float],
    balances: Sequence[float],
    variance: Array,
    truncated_variance: Array,
) -> WidthSelection:
    """Select the ridge and the balance of each lead for every width and for the linear model.

    Parameters
    ----------
    network : SampledRNN
        Network with hidden weights, not solved.
    train : iterable of Factors
        Triangles of the folds of the training period, see :class:`FitRows`.
    validation : Factors
        Triangles of the same columns and groups.
    size : int
        Number of values that a row predicts at each lead: of a state, or owned by a patch.
    widths : sequence of int
        Numbers of leading hidden features to try.
    ridges : sequence of float
        Ridges to try, relative to the largest singular value.
    balances : sequence of float
        Factors by which hidden features are multiplied before the solve: below 1 the ridge
        penalises them more than the linear terms; towards 0 the model becomes the linear one.
    variance : ndarray, shape (leads,)
        Mean square of the validation states over all modes.
    truncated_variance : ndarray, shape (leads,)
        Part of the variance in modes that the network does not have, which counts as error so
        that candidates of different numbers of modes are comparable.
    """
    leads = len(network.leads)
    strengths = np.asarray(ridges, dtype=float)
    rows = FitRows(train)

    def scan(width: int, factors: Sequence[float], parts: Parts) -> RidgeSelection:
        outer = unsolved_weights(network, parts, size, width)
        least = np.full((len(strengths), leads), np.inf)
        ridge, balance, best = np.empty(leads), np.empty(leads), np.full(leads, np.inf)
        spectrum, condition = np.empty(0), np.inf
        for factor in factors:
            balanced = BalancedPaths.decompose(network, parts, size, width, factor)
            squares = balanced.errors(validation, strengths)
            errors = (squares / validation.rows + truncated_variance) / variance
            solved = balanced.outer(strengths[errors.argmin(axis=0)])
            better = errors.min(axis=0) < best
            outer[..., better, :, :] = solved[..., better, :, :]
            ridge[better] = strengths[errors.argmin(axis=0)][better]
            balance[better] = factor
            best = np.minimum(best, errors.min(axis=0))
            least = np.minimum(least, errors)
            spectrum = spectrum if len(spectrum) else balanced.spectrum
            condition = min(condition, balanced.condition)
        chosen = replace(network.narrowed(width), outer=outer)
        return RidgeSelection(chosen, least, ridge, balance, spectrum, condition)

    def select(width: int, factors: Sequence[float]) -> RidgeSelection:
        if strengths.max() >= LEAST_RIDGE:
            found = scan(width, factors, rows.equations)
            if found.is_accurate_with_products(strengths):
                return found
        return scan(width, factors, rows.triangles)

    linear = select(0, [1.0])
    paths = tuple(select(width, balances) if width else linear for width in widths)
    return WidthSelection(paths or (linear,), linear)


def solve(
    network: SampledRNN,
    rows: FitRows,
    *,
    size: int,
    width: int,
    ridge: Array,
    balance: Array,
) -> SampledRNN:
    """Solve the network of one width at a ridge and a balance for each lead.

    Parameters
    ----------
    network, size
        Parameters of :func:`select_ridge_and_width`.
    rows : FitRows
        Rows that the outer weights are fitted to.
    width : int
        Number of leading hidden features.
    ridge, balance : ndarray, shape (leads,)
    """
    parts = rows.equations if np.min(ridge) >= LEAST_RIDGE else rows.triangles
    outer = unsolved_weights(network, parts, size, width)
    for factor in np.unique(balance):
        leads = balance == factor
        solved = BalancedPaths.decompose(network, parts, size, width, factor).outer(ridge)
        outer[..., leads, :, :] = solved[..., leads, :, :]
    return replace(network.narrowed(width), outer=outer)


class FitRows:
    """The rows that outer weights are fitted to, as normal equations or as triangles.

    Ridges far above rounding need the normal equations only, which are summed without a merge;
    smaller ones need the triangles, see ``products_suffice`` of
    ``gfrnn_core.triangles.normal_equations``. Either is computed when it is first asked for.
    """

    def __init__(self, folds: Iterable[Factors]) -> None:
        """Set the triangles of all folds, which are iterated over again for the other form."""
        self._folds = folds

    @cached_property
    def equations(self) -> tuple[NormalEquations, ...]:
        """The normal equations of all rows, by group."""
        if "triangles" in self.__dict__:
            return tuple(map(NormalEquations.from_factor, self.triangles))
        return sum_products(self._folds)

    @cached_property
    def triangles(self) -> tuple[RFactor, ...]:
        """The merged triangles, by group."""
        self.__dict__.pop("equations", None)  # not needed any more, and as large
        return merge_factors(self._folds).parts


@dataclass(frozen=True)
class BalancedPaths:
    """The ridge paths, one a group, of a network whose hidden features are scaled by a factor.

    Attributes
    ----------
    network : SampledRNN
        Network of the width, not solved.
    paths : tuple of RidgePath
    scales : ndarray, shape (columns,)
        Factor of each column of a row.
    exact : bool
        Whether the paths come from triangles, and errors are norms of residuals, not quadratic
        forms.
    """

    network: SampledRNN
    paths: tuple[RidgePath, ...]
    scales: Array
    exact: bool

    @classmethod
    def decompose(
        cls, network: SampledRNN, parts: Parts, size: int, width: int, factor: float
    ) -> BalancedPaths:
        linear = _linear_features(network, parts, size)
        scales = np.ones(parts[0].columns)
        scales[linear : linear + network.width] = factor
        columns = linear + width, len(network.leads) * size
        paths, exact = [], True
        for part in parts:
            scaled = part.scale_columns(scales)
            if isinstance(scaled, NormalEquations):
                paths.append(RidgePath.from_products(scaled, *columns))
                exact = False
            else:
                paths.append(RidgePath.from_factor(scaled, *columns))
        return cls(network.narrowed(width), tuple(paths), scales, exact)

    @property
    def spectrum(self) -> Array:
        """Singular values of the features, of the first group where there are several."""
        return self.paths[0].singular_values

    @property
    def condition(self) -> float:
        """Smallest singular value relative to the largest, in the worst group."""
        values = [path.singular_values for path in self.paths]
        return min(float(own[-1] / own[0]) if own[0] > 0 else 0.0 for own in values)

    def errors(self, fold: Factors, ridges: Array) -> Array:
        """Return the squared errors, summed over groups and targets: shape (ridges, leads)."""
        leads = len(self.network.leads)
        squares = np.zeros((len(ridges), leads))
        for path, part in zip(self.paths, fold.parts, strict=True):
            scaled = part.scale_columns(self.scales)
            if self.exact:
                each = path.errors(scaled, ridges)
                squares += each.reshape(len(ridges), leads, -1).sum(axis=2)
            else:
                squares += path.summed_errors(scaled, ridges, leads)
        return squares

    def outer(self, ridge: Array) -> Array:
        """Return outer weights of the unscaled features: ([groups,] leads, features, size)."""
        solved = [self.network.with_weights(path, ridge).outer for path in self.paths]
        each = np.stack([one for one in solved if one is not None])
        each *= self.scales[: each.shape[2], None]
        return each if self.network.groups is not None else each[0]


def _linear_features(network: SampledRNN, parts: Parts, size: int) -> int:
    """Return the number of features that are not hidden: linear terms, the constant and inputs."""
    return parts[0].columns - len(network.leads) * size - network.width


def unsolved_weights(network: SampledRNN, parts: Parts, size: int, width: int) -> Array:
    """Return NaN in the shape of outer weights: ([groups,] leads, features, size)."""
    groups = () if network.groups is None else (len(parts),)
    features = _linear_features(network, parts, size) + width
    return np.full((*groups, len(network.leads), features, size), np.nan)


def squared_errors(network: SampledRNN, fold: Factors, size: int) -> Array:
    """Return a solved network's squared errors, summed over the rows of a fold: (leads, size).

    Parameters
    ----------
    network : SampledRNN
        Solved network.
    fold : Factors
        Triangles of the fold.
    size : int
        Number of targets at each lead.
    """
    assert network.outer is not None, "only a solved network has errors"
    each = network.outer if network.groups is not None else network.outer[None]
    leads = each.shape[1]
    squares = np.zeros((leads, size))
    for part, outer in zip(fold.parts, each, strict=True):
        targets = range(part.columns - leads * size, part.columns, size)
        residuals = [residual_triangle(part, *lead) for lead in zip(outer, targets, strict=True)]
        squares += np.square(np.stack(residuals)).sum(axis=1)
    return squares


def candidate_shares(errors: Array, average: int) -> Array:
    """Return the shares of the candidates at each lead: equal for the best, 0 for the rest.

    Candidates whose errors are the same number at every lead are one model, as a key that they
    differ in has no effect (a seed, where nothing is drawn). The first of them stands for all:
    with copies, a mean of several would be one model.

    Parameters
    ----------
    errors : ndarray, shape (candidates, leads)
        Validation errors.
    average : int
        Number of candidates that are averaged at each lead, or all if there are fewer models.

    Returns
    -------
    ndarray, shape (candidates, leads)
        Columns sum to 1.
    """
    shares = np.zeros(errors.shape)
    models = np.sort(np.unique(errors, axis=0, return_index=True)[1])
    order = models[np.argsort(errors[models], axis=0, kind="stable")[:average]]
    np.put_along_axis(shares, order, 1.0 / len(order), axis=0)
    return shares
