"""How many floating point operations things take, by the kind of work they are.

Operations of one kind run at about one rate, which is measured on a small piece of it.
"""

from __future__ import annotations

from collections.abc import Iterable

Work = dict[str, float]
"""Kind of work: operations."""


def total(parts: Iterable[Work], times: float = 1.0) -> Work:
    """Of several pieces of work together, a number of times."""
    whole: Work = {}
    for part in parts:
        for kind, count in part.items():
            whole[kind] = whole.get(kind, 0.0) + times * count
    return whole


def qr_flops(rows: float, columns: int) -> float:
    """A QR without Q (Golub and Van Loan, 'Matrix Computations', section 5.2)."""
    if rows < columns:
        return 2 * rows**2 * (columns - rows / 3)
    return 2 * columns**2 * (rows - columns / 3)


def merge_flops(left: float, right: float, columns: int) -> float:
    """The QR of two stacked R factors of so many rows."""
    if left >= columns and right >= columns:
        return 2 / 3 * columns**3  # below the diagonal of the lower one nothing is done
    return qr_flops(min(left, columns) + min(right, columns), columns)


def svd_flops(rows: float, columns: float) -> float:
    """A thin SVD with both factors: a QR, Q, the SVD of the triangle, Q times its factor."""
    short, long = sorted((rows, columns))
    return 6 * short**2 * long + 20 * short**3
