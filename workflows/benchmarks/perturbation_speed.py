"""Comparison of learning by perturbation with a PyTorch loop of the same two forward passes.

The PyTorch loop runs the clean and the noisy pass step by step, without learning and without
gradients. This project's learning runs both passes, the update of the rule and the decorrelation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from rich.table import Table
from threadpoolctl import threadpool_limits

from gfrnn.workflows.benchmarks.benchmark_tables import plain_table
from gfrnn.workflows.benchmarks.round_timing import least_seconds
from gfrnn_core.perturbation import Learning, Perturbation, Weights, Window

STEPS = 1000
"""Time steps that are measured."""
EPOCH = 5000
"""Time steps of an epoch, for which the table gives seconds."""
WINDOWS = (250, 50)
"""Numbers of time steps between two updates, one for each line of the table."""

PYTORCH = "PyTorch, the two passes only"


def run(sizes: Sequence[int], rounds: int) -> Table:
    """Return a table of seconds for an epoch.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of hidden units.
    rounds : int
        Number of rounds, of which the least time is taken.
    """
    table = plain_table(
        f"an epoch of {EPOCH} steps, batch 1, float32, one thread; least of {rounds} rounds",
        "hidden units",
        "what",
        "seconds",
        "of PyTorch's passes",
        text=("what",),
    )
    for units in sizes:
        with threadpool_limits(1):
            measured = least_seconds(_functions(units), rounds)
        add_rows(table, units, measured)
    return table


def add_rows(table: Table, units: int, measured: dict[str, float]) -> None:
    """Add the lines of one size: seconds for an epoch, and their ratio to PyTorch's.

    Parameters
    ----------
    table : Table
    units : int
    measured : dict of str to float
        Name: seconds for ``STEPS`` steps.
    """
    reference = measured.get(PYTORCH)
    for name, seconds in measured.items():
        ratio = "PyTorch is not installed" if reference is None else f"{seconds / reference:.2f}"
        table.add_row(f"{units}", name, f"{seconds * EPOCH / STEPS:.2f}", ratio)


def _functions(units: int) -> dict[str, Callable[[], None]]:
    """Return the functions that are timed; each runs ``STEPS`` steps."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((STEPS, 1, 1)).astype(np.float32)
    window = Window(inputs, inputs[::-1].copy(), np.ones(STEPS, dtype=bool), "squared")
    functions: dict[str, Callable[[], None]] = {}
    passes = _torch_passes(Weights.initial(1, units, 1), inputs)
    if passes is not None:
        functions[PYTORCH] = passes

    def learning(length: int) -> Callable[[], None]:
        rule = Learning(
            Perturbation("anp"), 1e-6, decorrelation=1e-6, window=length, epochs=1, seed=0
        )

        def learn() -> None:
            list(rule.losses(Weights.initial(1, units, 1), [window]))

        return learn

    for length in WINDOWS:
        functions[f"learning, updates every {length} steps"] = learning(length)
    return functions


def _torch_passes(weights: Weights, inputs: np.ndarray) -> Callable[[], None] | None:
    """Return the loop of both passes in PyTorch; None if PyTorch is not installed."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    inward, recurrent, readout, decorrelation = map(
        torch.from_numpy,
        (weights.inputs, weights.recurrent, weights.readout, weights.decorrelation),
    )
    series, units = torch.from_numpy(inputs[:, 0]), weights.units

    def passes() -> None:
        with torch.no_grad():
            clean = noisy = torch.zeros(units)
            for u in series:
                clean = decorrelation @ torch.tanh(inward @ u + recurrent @ clean)
                readout @ clean
                noise = 1e-3 * torch.randn(units)
                noisy = decorrelation @ torch.tanh(inward @ u + recurrent @ noisy + noise)
                readout @ noisy

    return passes
