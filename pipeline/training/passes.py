"""The passes of a fit, each defined once for estimating, checking and running.

A generator yields the passes one after the other and is sent the result of each. A fit runs them; a
plan sends placeholders of the same shapes instead, so that all costs are known before anything is
read.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from gfrnn.pipeline.reduction.checkpoints import Arrays, Checkpoints
from gfrnn.pipeline.reduction.reduce import Stretch, reduce_stretches
from gfrnn.pipeline.reduction.tasks import Progress
from gfrnn.pipeline.reduction.tree import Costed
from gfrnn.pipeline.training.pass_costs import Array, PassCost, reduction

Result = TypeVar("Result")


class Pass(Protocol):
    """One pass of a fit.

    Attributes
    ----------
    placeholder : Any
        Value of the same shapes that replaces the result while a fit is only planned.
    """

    @property
    def placeholder(self) -> Any: ...

    def cost(self) -> PassCost | None:
        """Estimate tasks, reads, memory and operations; return None where these are negligible."""

    def run(self, checkpoints: Checkpoints, progress: Progress | None) -> Any:
        """Compute the result."""


Passes = Generator[Pass, Any, Result]
"""Generator of passes in order; each ``yield`` gives the pass's result or placeholder."""


@dataclass(frozen=True)
class ReductionPass:
    """A pass that is a tree reduction.

    Attributes
    ----------
    summary : Costed
    stretches : sequence of Stretch
        Leaves.
    key : callable
        Returns the key of everything but the stretches that determines the result.
    windows : ndarray of int, shape (leaves, 2)
        Times of the archive that the leaves read.
    finish : callable
        Makes the result from the arrays by fold, or from those of all folds merged.
    placeholder : Any
    joined : bool
        Whether the driver merges the folds, so that ``finish`` receives one set of arrays.
    """

    summary: Costed
    stretches: Sequence[Stretch]
    key: Callable[[], str]
    windows: Array
    finish: Callable[[Any], Any]
    placeholder: Any = None
    joined: bool = False

    def cost(self) -> PassCost:
        return reduction(self.summary, self.stretches, self.windows, joined=self.joined)

    def run(self, checkpoints: Checkpoints, progress: Progress | None) -> Any:
        folds = reduce_stretches(
            self.summary,
            self.stretches,
            key=self.key(),
            checkpoints=checkpoints,
            progress=progress,
        )
        return self.finish(self._merged(folds) if self.joined else folds)

    def _merged(self, folds: dict[str, Arrays]) -> Arrays:
        root, *others = folds.values()
        for fold in others:
            root = self.summary.merge(root, fold)
        return root


@dataclass(frozen=True)
class TaskPass:
    """A pass of tasks without a merge, such as the solves of the candidates.

    Attributes
    ----------
    cost : callable
        Estimates the pass.
    work : callable
        Computes the result, given checkpoints and progress.
    placeholder : Any
    """

    cost: Callable[[], PassCost]
    work: Callable[[Checkpoints, Progress | None], Any]
    placeholder: Any = None

    def run(self, checkpoints: Checkpoints, progress: Progress | None) -> Any:
        return self.work(checkpoints, progress)


@dataclass(frozen=True)
class DriverStep:
    """A pass of the driver alone, whose cost is too small to be estimated.

    Attributes
    ----------
    work : callable
        Computes the result.
    placeholder : Any
    """

    work: Callable[[], Any]
    placeholder: Any = None

    def cost(self) -> None:
        return None

    def run(self, checkpoints: Checkpoints, progress: Progress | None) -> Any:
        return self.work()


def run_passes(
    passes: Passes[Result], checkpoints: Checkpoints, progress: Progress | None
) -> Result:
    """Run all passes in order and return the generator's return value."""
    return _follow(passes, lambda each: each.run(checkpoints, progress))


def cost_of_passes(passes: Passes[Any]) -> list[PassCost]:
    """Estimate all passes in order; nothing is read."""
    costs = []

    def estimate(each: Pass) -> Any:
        if cost := each.cost():
            costs.append(cost)
        return each.placeholder

    _follow(passes, estimate)
    return costs


def _follow(passes: Passes[Result], step: Callable[[Pass], Any]) -> Result:
    """Apply ``step`` to each pass, send the result back, and return the generator's value."""
    result = None
    while True:
        try:
            each = passes.send(result)
        except StopIteration as end:
            found: Result = end.value
            return found
        result = step(each)
