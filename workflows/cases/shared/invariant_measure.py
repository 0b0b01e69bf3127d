"""Comparison of long free runs with long true runs by the KL divergence of their values."""

from __future__ import annotations

from gfrnn.workflows.reproduce.case_result import Score

LONG_RUN_SEEDS = 3, 4
"""Seeds of two sets of long true runs: free runs start from one and are compared with the other."""

TRUE_RUNS = "another stretch of the truth"
"""Entry of the divergence between the two sets of true runs."""

KL = Score("kl", "KL divergence of the invariant measure", "nats", "lower")
