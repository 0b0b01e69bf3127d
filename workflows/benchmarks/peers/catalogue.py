"""All comparisons by name."""

from __future__ import annotations

from gfrnn.workflows.benchmarks.peers.comparison import Comparison
from gfrnn.workflows.benchmarks.peers.fields.comparisons import ERA_INTERIM, PACIFIC_SST

COMPARISONS: dict[str, Comparison] = {one.name: one for one in (ERA_INTERIM, PACIFIC_SST)}
"""Comparisons by name, in the order of the document."""
