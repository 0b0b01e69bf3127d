"""Timing of several functions in turn, so that disturbances affect all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def least_seconds(
    functions: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Return the least time of each function over some rounds.

    Each function is called once before the rounds, so that imports and loading of kernels are not
    measured.

    Parameters
    ----------
    functions : mapping of str to callable
        Name: function without arguments.
    rounds : int
        At least 1.
    clock : callable
        Clock in seconds: of wall time by default, ``time.process_time`` for processor time.

    Returns
    -------
    dict of str to float
        Name: seconds of the fastest call.
    """
    for function in functions.values():
        function()
    least = dict.fromkeys(functions, float("inf"))
    for _ in range(rounds):
        for name, function in functions.items():
            begun = clock()
            function()
            least[name] = min(least[name], clock() - begun)
    return least
