"""Steps of a rollout on patches, beside the arithmetic that no loop can do without."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from threadpoolctl import threadpool_limits

from gfrnn.workflows.benchmarks.benchmark_tables import BarCheck, bar_table, plain_table
from gfrnn_core import Patches, SampledRNN
from gfrnn_core.network import Precision
from gfrnn_core.sampling import HiddenWeights

Array = NDArray[np.floating]

BAR = 0.5
"""Milliseconds of a step."""


@dataclass(frozen=True)
class RolloutSize:
    """How large a rollout is.

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
        """Of 4 x 4 cells with a halo of 2, on a torus."""
        return Patches((4 * self.places,) * 2, ((2, 2), (2, 2)), size=4)


FULL = RolloutSize(places=8, hidden=500, steps=1000)
QUICK = RolloutSize(places=8, hidden=500, steps=200)


def run(size: RolloutSize, rounds: int) -> Iterator[Table]:
    """Least milliseconds a step of some rounds, in which everything takes its turn."""
    patches = size.patches
    works: dict[str, Callable[[], float]] = {}
    for precision in ("float64", "float32"):
        shared = network(size, precision)
        own = own_weights(shared)
        works[f"rollout, {precision}"] = rollout(shared, size.steps)
        works[f"rollout, {precision}, own weights of each patch"] = rollout(own, size.steps)
        works[f"arithmetic alone, {precision}"] = arithmetic(shared, size.steps)
        works[f"patch after patch in Python, {precision}"] = patch_by_patch(
            own, max(1, size.steps // 20)
        )
    least = dict.fromkeys(works, np.inf)
    with threadpool_limits(1):
        for _ in range(rounds + 1):  # the first one warms up, and counts if it is the fastest
            for name, work in works.items():
                least[name] = min(least[name], work())
    table = plain_table(
        f"{patches.places} patches of {patches.owned} cells that see {patches.window}, "
        f"{size.hidden} hidden features, one start, one thread",
        "what",
        "ms a step",
    )
    for name, seconds in least.items():
        table.add_row(name, f"{1e3 * seconds:.3f}")
    yield table
    yield bar_table(
        [
            BarCheck(f"{name}, ms a step", 1e3 * least[name], BAR, at_most=True)
            for name in list(least)[:2]
        ],
        full=size == FULL,
    )


def network(size: RolloutSize, precision: Precision) -> SampledRNN:
    """A network fitted to noise, whose forecasts soon rest."""
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
    """The same network, whose patches each have outer weights of their own."""
    patches, _, outer = _parts(rnn)
    groups = np.arange(patches.places)
    return replace(rnn, groups=groups, outer=np.repeat(outer[None], len(groups), axis=0))


def rollout(rnn: SampledRNN, steps: int) -> Callable[[], float]:
    """Seconds a step of :meth:`SampledRNN.walk`."""
    start = np.random.default_rng(1).standard_normal((1, 1, rnn.state_size))

    def walk() -> float:
        begun = time.perf_counter()
        for _ in rnn.walk(start, steps):
            pass
        return (time.perf_counter() - begun) / steps

    return walk


def arithmetic(rnn: SampledRNN, steps: int) -> Callable[[], float]:
    """Seconds a step of the products and activations of all patches, on arrays that lie ready."""
    weights, outer, window = _arrays(rnn)
    features = np.zeros((len(window), len(outer)), window.dtype)
    lifted = np.empty((len(window), weights.shape[1]), window.dtype)

    def multiply() -> float:
        begun = time.perf_counter()
        for _ in range(steps):
            np.dot(window, weights, out=lifted)
            np.tanh(lifted, out=lifted)
            np.dot(features, outer)
        return (time.perf_counter() - begun) / steps

    return multiply


def patch_by_patch(rnn: SampledRNN, steps: int) -> Callable[[], float]:
    """Seconds a step of the plainest loop."""
    state = np.zeros(rnn.state_size, rnn.precision)
    step = plain_step(rnn)

    def loop() -> float:
        later = state
        begun = time.perf_counter()
        for _ in range(steps):
            later = step(later)
        return (time.perf_counter() - begun) / steps

    return loop


def plain_step(rnn: SampledRNN) -> Callable[[Array], Array]:
    """For each patch: look, lift and apply its own weights. Scaled states, shape (d,)."""
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
    """Hidden weights, outer weights of one set, and what patches see of some state."""
    patches, hidden, outer = _parts(rnn)
    state = np.random.default_rng(2).standard_normal(rnn.state_size)
    arrays = (hidden.weights, outer.reshape(-1, *outer.shape[-2:])[0], patches.windows(state))
    weights, outer, window = (values.astype(rnn.precision) for values in arrays)
    return weights, outer, window


def _parts(rnn: SampledRNN) -> tuple[Patches, HiddenWeights, Array]:
    """What a fitted network on patches has."""
    if rnn.patches is None or rnn.hidden is None or rnn.outer is None:
        raise ValueError("not a fitted network on patches")
    return rnn.patches, rnn.hidden, rnn.outer
