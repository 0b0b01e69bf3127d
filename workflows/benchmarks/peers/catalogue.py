"""All comparisons by name."""

from __future__ import annotations

from gfrnn.workflows.benchmarks.peers.comparison import Comparison

COMPARISONS: dict[str, Comparison] = {}
"""Comparisons by name, in the order of the document."""
