"""All comparisons by name."""

from __future__ import annotations

from gfrnn.workflows.benchmarks.peers.comparison import Comparison
from gfrnn.workflows.benchmarks.peers.numerics.eofs import EOFS
from gfrnn.workflows.benchmarks.peers.numerics.least_squares import LEAST_SQUARES
from gfrnn.workflows.benchmarks.peers.numerics.oscillations import OSCILLATIONS

COMPARISONS: dict[str, Comparison] = {
    comparison.name: comparison for comparison in (LEAST_SQUARES, EOFS, OSCILLATIONS)
}
"""Comparisons by name, in the order of the document."""
