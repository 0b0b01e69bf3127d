"""Check counts, for several classes of settings."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_count(name: str, value: Any) -> None:
    """Check that a value is a positive integer.

    Raises
    ------
    ValueError
        If it is not; the message gives the name and the value.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name}: {value!r} is not a positive integer")
