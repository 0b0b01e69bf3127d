"""Benchmarks: ``gfrnn bench NAME`` measures this machine, side by side with a peer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.table import Table

from workflows.benchmarks import perturbation, plan, scale

Benchmark = Callable[[Sequence[int], int], Table]

BENCHMARKS: dict[str, Benchmark] = {
    "perturbation": perturbation.run,
    "plan": plan.run,
    "scale": scale.run,
}
"""Name: what measures some sizes a few rounds each, and gives a table."""
