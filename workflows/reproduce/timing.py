"""Training times, measured the same way for every entry of every case."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from threadpoolctl import threadpool_limits

Value = TypeVar("Value")


def timed(train: Callable[[], Value]) -> tuple[Value, float]:
    """Call ``train`` on one BLAS thread and measure it.

    Everything that turns a training series into a trained model belongs into ``train``, and
    nothing else: no making of data, no forecast.

    Parameters
    ----------
    train : callable
        Without arguments.

    Returns
    -------
    value
        What ``train`` returned.
    seconds : float
        Wall time.
    """
    with threadpool_limits(limits=1):
        begun = time.perf_counter()
        value = train()
        return value, time.perf_counter() - begun
