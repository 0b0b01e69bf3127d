"""How the figures of all cases look."""

from __future__ import annotations

from typing import Any

# Told apart by people who do not see red or green, and by the strokes on a black-and-white print;
# the colours are those of the report's figures.
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#0b4f8a", "linewidth": 2.2},
    {"color": "#d55e00", "linestyle": (0, (5, 1.5))},
    {"color": "#009e73", "linestyle": (0, (5, 2, 1, 2))},
    {"color": "#b35c8f", "linestyle": (0, (1, 1.2))},
    {"color": "0.5", "linestyle": (0, (3, 1, 1, 1, 1, 1))},
)
"""Colour and stroke of the first, second, ... entry of a figure."""

TRUTH: dict[str, Any] = {"color": "0.15", "linewidth": 1.0}
"""The truth in the same figure."""
