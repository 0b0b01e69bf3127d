"""Colours and line styles of the figures of all cases."""

from __future__ import annotations

from typing import Any

# Readers who do not see red or green, and readers of a black-and-white print, can tell these apart;
# the colours are those of the report's figures.
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#0b4f8a", "linewidth": 2.2},
    {"color": "#d55e00", "linestyle": (0, (5, 1.5))},
    {"color": "#009e73", "linestyle": (0, (5, 2, 1, 2))},
    {"color": "#b35c8f", "linestyle": (0, (1, 1.2))},
    {"color": "0.5", "linestyle": (0, (3, 1, 1, 1, 1, 1))},
)
"""Colours and line styles of the methods in a figure, in the order of the methods."""

TRUTH: dict[str, Any] = {"color": "0.15", "linewidth": 1.0}
"""Colour and line width of the truth."""
