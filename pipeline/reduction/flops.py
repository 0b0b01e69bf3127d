"""Count floating point operations by kind of work.

Operations of one kind run at about one rate, which is measured on a small piece of that work.
"""

from __future__ import annotations

from collections.abc import Iterable

Work = dict[str, float]
"""Number of operations by kind of work."""


def total(parts: Iterable[Work], times: float = 1.0) -> Work:
    """Add up several pieces of work and multiply the sum by a number of times."""
    whole: Work = {}
    for part in parts:
        for kind, count in part.items():
            whole[kind] = whole.get(kind, 0.0) + times * count
    return whole


def qr_flops(rows: float, columns: int) -> float:
    """Count the operations of a QR without Q (Golub and Van Loan, Matrix Computations, 5.2)."""
    if rows < columns:
        return 2 * rows**2 * (columns - rows / 3)
    return 2 * columns**2 * (rows - columns / 3)


def merge_flops(left: float, right: float, columns: int) -> float:
    """Count the operations of the QR of two stacked R factors of ``left`` and ``right`` rows."""
    if left >= columns and right >= columns:
        return 2 / 3 * columns**3  # zeros below the lower diagonal are skipped
    return qr_flops(min(left, columns) + min(right, columns), columns)


def eigenvector_flops(columns: float) -> float:
    """Count the operations of all eigenvectors of a symmetric matrix (Golub and Van Loan, 8.3)."""
    return 9 * columns**3


def svd_flops(rows: float, columns: float) -> float:
    """Count the operations of a thin SVD: a QR, Q, the SVD of R, Q times its left factor."""
    short, long = sorted((rows, columns))
    return 6 * short**2 * long + 20 * short**3
