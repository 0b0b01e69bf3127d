"""All comparisons by name."""

from __future__ import annotations

from gfrnn.workflows.benchmarks.peers.chaotic_systems.lorenz63 import LORENZ63_COMPARISON
from gfrnn.workflows.benchmarks.peers.chaotic_systems.lorenz96 import LORENZ96_COMPARISON
from gfrnn.workflows.benchmarks.peers.comparison import Comparison
from gfrnn.workflows.benchmarks.peers.fields.comparisons import ERA_INTERIM, NATURE, PACIFIC_SST
from gfrnn.workflows.benchmarks.peers.numerics.eofs import EOFS
from gfrnn.workflows.benchmarks.peers.numerics.least_squares import LEAST_SQUARES
from gfrnn.workflows.benchmarks.peers.numerics.oscillations import OSCILLATIONS
from gfrnn.workflows.benchmarks.peers.stations.comparisons import STATION_JENA, STATION_WTH

_ALL = (
    ERA_INTERIM,
    PACIFIC_SST,
    NATURE,
    STATION_WTH,
    STATION_JENA,
    LORENZ63_COMPARISON,
    LORENZ96_COMPARISON,
    LEAST_SQUARES,
    EOFS,
    OSCILLATIONS,
)

COMPARISONS: dict[str, Comparison] = {comparison.name: comparison for comparison in _ALL}
"""Comparisons by name, in the order of the document."""
