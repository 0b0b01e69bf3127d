"""Check counts and seeds, for several classes of settings."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Check that a value is an integer that is not too small.

    Raises
    ------
    ValueError
        If it is not an integer, or less than ``least``; the message gives the name and the value.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        kind = "a positive integer" if least == 1 else f"an integer from {least} on"
        raise ValueError(f"{name}: {value!r} is not {kind}")


def check_seed(seed: Any) -> None:
    """Check that a seed is an integer from 0 on.

    Raises
    ------
    ValueError
        If it is not an integer from 0 on.
    """
    check_count("seed", seed, 0)
