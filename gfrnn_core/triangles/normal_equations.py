"""Sum the normal equations of least squares over rows of which R factors are known.

Products of columns have the square of the condition number, so that they lose what is smaller than
1e-8 of the largest singular value. A ridge far above that makes their solution as accurate as the R
factor's, and products of several folds are summed and subtracted without a merge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import get_blas_funcs

from gfrnn_core.triangles.rfactor import RFactor

Array = NDArray[Any]

# Rows of a triangle that are multiplied together: lower rows have fewer columns.
_STRIP = 512

LEAST_RIDGE = float(np.finfo(float).eps ** 0.25)
"""Ridge, relative to the largest singular value, from which products keep half of the digits."""


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """The products ``A^H A`` of the columns of rows A = [features | ... | targets].

    Attributes
    ----------
    products : ndarray, shape (columns, columns), Fortran order
        Upper triangle of the products; entries below the diagonal are undefined.
    rows : int
    """

    products: Array
    rows: int

    @property
    def columns(self) -> int:
        """Number of columns of the rows."""
        return int(self.products.shape[1])

    @classmethod
    def from_factor(cls, factor: RFactor) -> NormalEquations:
        """Return the products of the rows of an R factor."""
        dtype = factor.triangle.dtype
        nothing = np.zeros((factor.columns, factor.columns), dtype, order="F")
        return cls(_added(nothing, factor, 1.0), factor.rows)

    def add(self, factor: RFactor) -> NormalEquations:
        """Return the products with further rows; those of this object are overwritten."""
        return NormalEquations(_added(self.products, factor, 1.0), self.rows + factor.rows)

    def without(self, fold: RFactor) -> NormalEquations:
        """Return the products of all rows but those of an R factor."""
        copied = self.products.copy(order="F")
        return NormalEquations(_added(copied, fold, -1.0), self.rows - fold.rows)

    def scale_columns(self, factors: Array) -> NormalEquations:
        """Return the products of ``A diag(factors)``."""
        if (factors == 1).all():
            return self
        return NormalEquations(self.products * factors[:, None] * factors, self.rows)


def _added(products: Array, factor: RFactor, sign: float) -> Array:
    """Add products of a factor's rows to the upper triangle of others, in place, or subtract."""
    if factor.columns != len(products):
        raise ValueError(
            f"products of {len(products)} columns and an R factor of {factor.columns} do not add; "
            "they come from different models"
        )
    for first in range(0, len(factor.triangle), _STRIP):
        strip = np.ascontiguousarray(factor.triangle[first : first + _STRIP, first:])
        adjoint = (strip.conj() if np.iscomplexobj(strip) else strip).T
        name = "herk" if np.iscomplexobj(strip) else "syrk"
        update = get_blas_funcs(name, (strip,))
        if first == 0:
            products = update(sign, adjoint, beta=1.0, c=products, overwrite_c=True)
        else:
            products[first:, first:] += update(sign, adjoint)
    return products


def products_suffice(
    ridge: ArrayLike, condition: float, errors: ArrayLike, tried: ArrayLike
) -> bool:
    """Tell whether normal equations are accurate at the chosen ridges.

    Rounding changes a squared singular value by about eps s_1^2, and the solution by that relative
    to ``s_k^2 + (ridge s_1)^2`` with the smallest singular value s_k; it changes an error, which is
    the difference of squares, by about eps times the variance. Products suffice where both are at
    most sqrt(eps), 1.5e-8: with a ridge of at least :data:`LEAST_RIDGE` or well-conditioned
    features, and data with noise.

    Singular values below sqrt(eps) s_1 are lost altogether. A much smaller ridge that was tried too
    may be better thanks to them, which errors of products do not tell.

    Parameters
    ----------
    ridge : float or array
        Chosen ridges relative to the largest singular value.
    condition : float
        Smallest singular value of the features relative to the largest.
    errors : float or array
        Squared errors at these ridges, relative to the variance of the targets.
    tried : float or array
        All ridges from which these were chosen.
    """
    limit = LEAST_RIDGE**2
    regular = np.min(ridge) ** 2 + condition**2 >= limit
    # Rounding errors lift what is lost to about the limit.
    complete = np.min(tried) >= limit / 2 or condition >= 4 * limit
    return bool(regular and complete and np.min(errors) >= limit)  # false if an error is NaN
