"""Learning by perturbation against a forward-only PyTorch loop of the same two passes.

The loop of PyTorch runs the clean and the noisy pass, step by step, and nothing else: no learning,
no gradients. Ours runs both passes, the rule's update and the decorrelation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from rich.table import Table
from threadpoolctl import threadpool_limits

from gfrnn_core.perturbation import Learning, Perturbation, Weights, Window

STEPS = 1000
EPOCH = 5000
"""Steps of an epoch in the table."""
WINDOWS = (250, 50)
"""Steps between two updates."""


def run(sizes: Sequence[int], rounds: int) -> Table:
    """Seconds of an epoch: the least of some rounds, in which everything takes its turn.

    Parameters
    ----------
    sizes : sequence of int
        Hidden units.
    rounds : int
    """
    table = Table(
        title=f"an epoch of {EPOCH} steps, batch 1, float32, one thread; least of {rounds} rounds",
        title_justify="left",
    )
    for column in ("hidden units", "what", "seconds", "of PyTorch's passes"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for units in sizes:
        works = _works(units)
        with threadpool_limits(1):
            seconds = least_seconds(list(works.values()), rounds)
        passes = seconds[0] if _PYTORCH in works else None
        for name, value in zip(works, seconds, strict=True):
            share = "PyTorch is not installed" if passes is None else f"{value / passes:.2f}"
            table.add_row(f"{units}", name, f"{value:.2f}", share)
    return table


_PYTORCH = "PyTorch, the two passes only"


def _works(units: int) -> dict[str, Callable[[], None]]:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((STEPS, 1, 1)).astype(np.float32)
    window = Window(inputs, inputs[::-1].copy(), np.ones(STEPS, dtype=bool), "squared")
    found: dict[str, Callable[[], None]] = {}
    passes = _torch_passes(Weights.initial(1, units, 1), inputs)
    if passes is not None:
        found[_PYTORCH] = passes

    def learning(length: int) -> Callable[[], None]:
        rule = Learning(
            Perturbation("anp"), 1e-6, decorrelation=1e-6, window=length, epochs=1, seed=0
        )

        def learn() -> None:
            list(rule.losses(Weights.initial(1, units, 1), [window]))

        return learn

    for length in WINDOWS:
        found[f"learning, updates every {length} steps"] = learning(length)
    return found


def _torch_passes(weights: Weights, inputs: np.ndarray) -> Callable[[], None] | None:
    """The straightforward loop; None where PyTorch is not installed."""
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


def least_seconds(works: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    """Seconds of an epoch of each; turn by turn, so that a disturbance hits all alike."""
    least = [float("inf")] * len(works)
    for one in works:  # what is done once, such as loading kernels
        one()
    for _ in range(rounds):
        for index, one in enumerate(works):
            begun = time.perf_counter()
            one()
            passed = time.perf_counter() - begun
            least[index] = min(least[index], passed * EPOCH / STEPS)
    return least
