"""Comparison of a rollout on patches with its arithmetic alone and with a plain Python loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from threadpoolctl import threadpool_limits

from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck, bar_table, plain_table
from gfrnn.workflows.benchmarks.round_timing import least_seconds
from gfrnn_core import Patches, SampledRNN
from gfrnn_core.recurrent_network import Precision
from gfrnn_core.sampling import HiddenWeights

Array = NDArray[np.floating]

BAR = 0.5
"""Largest milliseconds for a step of a rollout in float64."""


@dataclass(frozen=True)
class RolloutSize:
    """Size of a rollout.

    Attributes
    ----------
    places : int
        Patches along each axis.
    hidden : int
        Features of a patch.
    steps : int
    """

    places: int
    hidden: int
    steps: int

    @property
    def patches(self) -> Patches:
        """Patches of 4 x 4 cells with a halo of 2, on a torus."""
        return Patches((4 * self.places,) * 2, ((2, 2), (2, 2)), size=4)


FULL = RolloutSize(places=8, hidden=500, steps=1000)
QUICK = RolloutSize(places=8, hidden=500, steps=200)


def run(size: RolloutSize, rounds: int) -> Iterator[Table]:
    """Yield the table of milliseconds for a step, the least of some rounds, and the bars."""
    patches = size.patches
    functions: dict[str, Callable[[], None]] = {}
    steps: dict[str, int] = {}

    def add(name: str, function: Callable[[], None], count: int) -> None:
        functions[name], steps[name] = function, count

    few = max(1, size.steps // 20)
    for precision in ("float64", "float32"):
        shared = network(size, precision)
        own = own_weights(shared)
        add(f"rollout, {precision}", rollout(shared, size.steps), size.steps)
        own_name = f"rollout, {precision}, own weights of each patch"
        add(own_name, rollout(own, size.steps), size.steps)
        add(f"arithmetic alone, {precision}", arithmetic(shared, size.steps), size.steps)
        add(f"patch after patch in Python, {precision}", patch_by_patch(own, few), few)
    with threadpool_limits(1):
        seconds = least_seconds(functions, rounds)
    milliseconds = {name: 1e3 * seconds[name] / steps[name] for name in functions}
    table = plain_table(
        f"{patches.places} patches of {patches.owned} cells that see {patches.window}, "
        f"{size.hidden} hidden features, one start, one thread",
        "what",
        "ms a step",
        text=("what",),
    )
    for name, value in milliseconds.items():
        table.add_row(name, f"{value:.3f}")
    yield table
    yield bar_table(bar_checks(milliseconds), full=size == FULL)


def bar_checks(milliseconds: dict[str, float]) -> list[BarCheck]:
    """Return the checks of the two rollouts in float64; both must stay below ``BAR``."""
    return [
        BarCheck(f"{name}, ms a step", milliseconds[name], BAR, at_most=True)
        for name in ("rollout, float64", "rollout, float64, own weights of each patch")
    ]


def network(size: RolloutSize, precision: Precision) -> SampledRNN:
    """Return a network fitted to noise; its forecasts decay to a fixed point within a few steps."""
    patches = size.patches
    series = np.random.default_rng(0).standard_normal((60, patches.cells))
    rnn = SampledRNN(
        size.hidden,
        sampling="normal",
        scale=0.15,
        target="state",
        ridge=0.1,
        patches=patches,
        precision=precision,
    )
    return rnn.fit(series)


def own_weights(rnn: SampledRNN) -> SampledRNN:
    """Return a copy of the network in which each patch has its own outer weights."""
    patches, _, outer = _parts(rnn)
    groups = np.arange(patches.places)
    return replace(rnn, groups=groups, outer=np.repeat(outer[None], len(groups), axis=0))


def rollout(rnn: SampledRNN, steps: int) -> Callable[[], None]:
    """Return a function that runs :meth:`SampledRNN.walk` for some steps."""
    start = np.random.default_rng(1).standard_normal((1, 1, rnn.state_size))

    def walk() -> None:
        for _ in rnn.walk(start, steps):
            pass

    return walk


def arithmetic(rnn: SampledRNN, steps: int) -> Callable[[], None]:
    """Return a function that does only the products and activations, on allocated arrays."""
    weights, outer, window = _arrays(rnn)
    features = np.zeros((len(window), len(outer)), window.dtype)
    lifted = np.empty((len(window), weights.shape[1]), window.dtype)

    def multiply() -> None:
        for _ in range(steps):
            np.dot(window, weights, out=lifted)
            np.tanh(lifted, out=lifted)
            np.dot(features, outer)

    return multiply


def patch_by_patch(rnn: SampledRNN, steps: int) -> Callable[[], None]:
    """Return a function that runs the plain Python loop over patches."""
    state = np.zeros(rnn.state_size, rnn.precision)
    step = plain_step(rnn)

    def loop() -> None:
        later = state
        for _ in range(steps):
            later = step(later)

    return loop


def plain_step(rnn: SampledRNN) -> Callable[[Array], Array]:
    """Return a step that gathers, lifts and multiplies patch after patch.

    The step takes and returns scaled states of shape (d,).
    """
    weights, _, window = _arrays(rnn)
    patches, hidden, outer = _parts(rnn)
    biases, outer = hidden.biases.astype(window.dtype), outer[:, 0].astype(window.dtype)
    seen, own, one = patches.seen, patches.own, np.ones(1, window.dtype)

    def step(state: Array) -> Array:
        later = np.empty_like(state)
        for place in range(len(seen)):
            near = state[seen[place]]
            features = np.concatenate([near, one, np.tanh(near @ weights + biases)])
            later[own[place]] = features @ outer[place]
        return later

    return step


def _arrays(rnn: SampledRNN) -> tuple[Array, Array, Array]:
    """Return hidden weights, one set of outer weights, and the windows of all patches."""
    patches, hidden, outer = _parts(rnn)
    state = np.random.default_rng(2).standard_normal(rnn.state_size)
    arrays = (hidden.weights, outer.reshape(-1, *outer.shape[-2:])[0], patches.windows(state))
    weights, outer, window = (values.astype(rnn.precision) for values in arrays)
    return weights, outer, window


def _parts(rnn: SampledRNN) -> tuple[Patches, HiddenWeights, Array]:
    """Return patches, hidden weights and outer weights of a fitted network.

    Raises
    ------
    ValueError
        If the network is not fitted or has no patches.
    """
    if rnn.patches is None or rnn.hidden is None or rnn.outer is None:
        raise ValueError("rnn: not a fitted network on patches")
    return rnn.patches, rnn.hidden, rnn.outer
