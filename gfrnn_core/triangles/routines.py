"""The BLAS and LAPACK routines of the triangles, by precision."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import get_blas_funcs, get_lapack_funcs


@dataclass(frozen=True)
class Routines:
    """BLAS and LAPACK routines of one precision.

    ``geqrt`` factors a matrix in place into R and reflectors, and returns both in one array, then
    T, then LAPACK's info, which is 0: SciPy checks the arguments before the call.
    """

    gemm: Any
    trmm: Any
    trsm: Any
    syrk: Any
    geqrt: Any
    tpqrt: Any
    potrf: Any


@cache
def routines(dtype: str) -> Routines:
    example = np.empty(0, dtype=dtype)
    blas = get_blas_funcs(("gemm", "trmm", "trsm", "syrk"), (example,))
    return Routines(*blas, *get_lapack_funcs(("geqrt", "tpqrt", "potrf"), (example,)))
