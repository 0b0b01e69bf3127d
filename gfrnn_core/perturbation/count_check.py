"""Checks of numbers that several settings share."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_count(name: str, value: Any) -> None:
    """Refuse what is not an integer from 1 on.

    Raises
    ------
    ValueError
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name}: {value!r} is not a positive integer")
