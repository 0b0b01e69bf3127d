"""The passes of a fit, each defined once for estimating, checking and running.

A generator yields the passes one after the other and is sent the result of each. A fit runs them; a
plan sends placeholders of the same shapes instead, so that all costs are known before anything is
read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn.pipeline.reduction.progress import Progress
from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn.pipeline.reduction.tree import CostedSummary, Stretch
from gfrnn.pipeline.training.pass_costs import Array, PassCost, reduction_cost

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
        """Estimate tasks, reads and memory; return None where these are negligible."""

    def run(self, checkpoints: Checkpoints, progress: Progress | None) -> Any:
        """Compute the result."""


Passes = Generator[Pass, Any, Result]
"""Generator of passes in order; each ``yield`` gives the pass's result or placeholder."""


@dataclass(frozen=True)
class ReductionPass:
    """A pass that is a tree reduction.

    Attributes
    ----------
    summary : CostedSummary
    stretches : sequence of Stretch
        Leaves.
    key : callable
        Returns the key of everything but the stretches that determines the result.
    windows : ndarray of int, shape (leaves, 2)
        Times of the archive that the leaves read.
    finish : callable
        Makes the result from the arrays by fold, or from those of all stretches.
    placeholder : Any
    data : callable
        Returns the digest of the data of each fold, where the key contains none: blocks of a pass
        that did not end are then kept where data of another fold were repaired.
    joined : bool
        Whether all stretches are merged as one fold, so that ``finish`` receives one set of arrays
        and the driver holds no other.
    part : str
        What the pass is one of, where several have summaries of the same name.
    """

    summary: CostedSummary
    stretches: Sequence[Stretch]
    key: Callable[[], str]
    windows: Array
    finish: Callable[[Any], Any]
    placeholder: Any = None
    joined: bool = False
    data: Callable[[], Mapping[str, str]] = dict
    part: str = "candidate"

    @property
    def leaves(self) -> list[Stretch]:
        """The stretches, in one fold if they are joined."""
        return self._joined(self.stretches)

    def _joined(self, stretches: Sequence[Stretch]) -> list[Stretch]:
        if not self.joined:
            return list(stretches)
        return [replace(part, fold=self.summary.name) for part in stretches]

    def cost(self) -> PassCost:
        cost = reduction_cost(self.summary, self.leaves, self.windows)
        if not self.joined:
            return cost
        # The summary of all stretches and what is made of it.
        return replace(cost, driver_bytes=2 * cost.driver_bytes)

    def run(self, checkpoints: Checkpoints, progress: Progress | None) -> Any:
        data = self.data()
        known = [replace(part, data=data.get(part.fold, "")) for part in self.stretches]
        folds = reduce_stretches(
            self.summary,
            self._joined(known),
            key=self.key(),
            checkpoints=checkpoints,
            progress=progress,
        )
        if not self.joined:
            return self.finish(folds)
        (root,) = folds.values()
        return self.finish(root)


@dataclass(frozen=True)
class FunctionPass:
    """A pass without a merge, such as the solves of the candidates.

    Attributes
    ----------
    run : callable
        Computes the result, given checkpoints and progress.
    cost : callable
        Estimates the pass; by default its cost is negligible.
    placeholder : Any
    """

    run: Callable[[Checkpoints, Progress | None], Any]
    cost: Callable[[], PassCost | None] = lambda: None
    placeholder: Any = None


def run_passes(
    passes: Passes[Result],
    checkpoints: Checkpoints,
    progress: Progress | None,
    planned: Sequence[PassCost] = (),
) -> Result:
    """Run all passes in order and return the generator's return value.

    Parameters
    ----------
    passes : Passes
    checkpoints : Checkpoints
    progress : callable, optional
    planned : sequence of PassCost
        Costs of all passes, so that reports of progress can number those of the same name.
    """
    result: Any = None
    of_name, begun = Counter(cost.name for cost in planned), Counter[str]()
    while True:
        try:
            each = passes.send(result)
        except StopIteration as end:
            found: Result = end.value
            return found
        report = progress
        if progress and isinstance(each, ReductionPass):
            name = each.summary.name
            begun[name] += 1
            if of_name[name] > 1:
                report = _numbered(progress, f"{each.part} {begun[name]} of {of_name[name]}")
        result = each.run(checkpoints, report)


def _numbered(progress: Progress, part: str) -> Progress:
    return lambda update: progress(replace(update, part=part))


def cost_of_passes(passes: Passes[Any]) -> list[PassCost]:
    """Estimate all passes in order; nothing is read."""
    costs: list[PassCost] = []
    placeholder: Any = None
    while True:
        try:
            each = passes.send(placeholder)
        except StopIteration:
            return costs
        if cost := each.cost():
            costs.append(cost)
        placeholder = each.placeholder
