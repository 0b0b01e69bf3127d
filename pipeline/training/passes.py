"""The passes of a fit: each is written down once, and estimated, checked and run from that.

A layout yields its passes one after the other and is sent the result of each. A fit runs them; a
plan sends placeholders of the same shapes instead, so that it knows all costs before anything is
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
        Stands for the result while a fit is only planned; of the same shapes.
    """

    @property
    def placeholder(self) -> Any: ...

    def cost(self) -> PassCost | None:
        """Estimate tasks, reads, memory and operations; None where these are negligible."""

    def run(self, checkpoints: Checkpoints, progress: Progress | None) -> Any:
        """Compute the result."""


Passes = Generator[Pass, Any, Result]
"""Passes in their order; each ``yield`` gives the result of the pass, or its placeholder."""


@dataclass(frozen=True)
class ReductionPass:
    """A tree reduction.

    Attributes
    ----------
    summary : Costed
    stretches : sequence of Stretch
        Leaves.
    key : callable
        Gives the key of everything but the stretches that decides the result.
    windows : ndarray of int, shape (leaves, 2)
        Times of the archive that the leaves read.
    finish : callable
        Makes the result of the arrays of each fold, or of all folds together.
    placeholder : Any
    joined : bool
        The driver merges the folds, and ``finish`` gets the arrays of all together.
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
    """Tasks without a merge, such as the solves of the candidates.

    Attributes
    ----------
    cost : callable
        Estimates the pass.
    work : callable
        Computes the result, of checkpoints and progress.
    placeholder : Any
    """

    cost: Callable[[], PassCost]
    work: Callable[[Checkpoints, Progress | None], Any]
    placeholder: Any = None

    def run(self, checkpoints: Checkpoints, progress: Progress | None) -> Any:
        return self.work(checkpoints, progress)


@dataclass(frozen=True)
class DriverStep:
    """Work of the driver between two passes, too little to be estimated.

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
    """Run all passes in their order and return what they lead to."""
    return _follow(passes, lambda each: each.run(checkpoints, progress))


def cost_of_passes(passes: Passes[Any]) -> list[PassCost]:
    """Estimate all passes in their order; nothing is read."""
    costs = []

    def estimate(each: Pass) -> Any:
        if cost := each.cost():
            costs.append(cost)
        return each.placeholder

    _follow(passes, estimate)
    return costs


def _follow(passes: Passes[Result], step: Callable[[Pass], Any]) -> Result:
    """Send each pass what ``step`` makes of it; return what the generator returns."""
    result = None
    while True:
        try:
            each = passes.send(result)
        except StopIteration as end:
            found: Result = end.value
            return found
        result = step(each)
