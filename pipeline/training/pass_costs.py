"""Estimate the stages of a fit before it starts: tasks, reads, memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.fit_config import FitConfig
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.rechunking.fields_copy import FieldsCopy
from gfrnn.pipeline.reduction.task_memory import TaskPlan, check_memory, plan_calls, plan_reduction
from gfrnn.pipeline.reduction.tree import CostedSummary, Stretch
from gfrnn.pipeline.training.rows import RowSummary, States
from gfrnn.pipeline.training.triangles import solve_bytes, tried_widths

Array = NDArray[Any]

NO_READS = np.zeros((0, 2), dtype=int)
"""The windows of tasks that read no fields."""


@dataclass(frozen=True)
class PassCost:
    """The estimated cost of one stage of a fit.

    Attributes
    ----------
    plan : TaskPlan
        Number of tasks, and their peak memory.
    windows : ndarray of int, shape (reads, 2)
        Times of the archive that each task reads: the first, and the one after the last.
    sizes : sequence of float
        Size of each leaf: its times, or the number that the subject defines.
    levels : sequence of int
        Number of merges of all folds at each level of their trees, from the leaves up. The longest
        chain of dependent tasks is one leaf and one merge of each level.
    driver_bytes : int
        Memory of the driver at the end.
    kept_bytes : int
        Size of the results on disk before compression.
    kept_by_workers : bool
        Whether the workers write them, and not the driver.
    subject : Any
        The summary, or an object of this module, of which one task can be timed; None where tasks
        only read.
    sample : Stretch or None
        The longest leaf of a reduction.
    """

    plan: TaskPlan
    windows: Array
    sizes: Sequence[float]
    levels: Sequence[int] = ()
    driver_bytes: int = 0
    kept_bytes: int = 0
    kept_by_workers: bool = False
    subject: Any = field(default=None, repr=False)
    sample: Stretch | None = None

    @property
    def name(self) -> str:
        """Name of the stage."""
        return self.plan.name


@dataclass(frozen=True)
class StateCall:
    """A call of a function on states that it reads; a size of 1 is one call.

    Attributes
    ----------
    function : callable
        Takes the source of the states and the arguments.
    states : States
    arguments : tuple
    """

    function: Callable[..., Any]
    states: States
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class RidgeSolve:
    """The choice of ridge, balance and width from triangles; sizes are those of :meth:`size`.

    Attributes
    ----------
    rows : RowSummary
        Rows of the triangles.
    fit : FitConfig
        Settings.
    targets : int
        Number of values that a row predicts at each lead.
    folds : int
        Number of triangles, one for each year.
    """

    rows: RowSummary
    fit: FitConfig
    targets: int
    folds: int

    @property
    def linear_features(self) -> int:
        """Number of features that are not hidden."""
        return self.rows.features - self.rows.network.width

    def size(self, left_out: int = 0) -> float:
        """Return the sum of the cubes of the numbers of features of all decompositions.

        Parameters
        ----------
        left_out : int
            Number of folds of which each is left out once; 0 where a validation period decides.
        """
        widths = tried_widths(self.rows.network, self.fit.widths)
        tried = [width for width in widths if width for _ in self.fit.balance]
        cubes = sum((self.linear_features + width) ** 3 for width in (0, *tried))
        return float(self.rows.groups * cubes * max(1, left_out))


@dataclass(frozen=True)
class PrecisionRows:
    """The rows of a leaf made in either precision, and a solve with each; a size of 1 is all.

    Attributes
    ----------
    rows : RowSummary
    leaf : Stretch
    often : float
        Number of times that rows are made, as if all had the precision of the network.
    solve : RidgeSolve
    solves : float
        Size of the solves.
    """

    rows: RowSummary
    leaf: Stretch
    often: float
    solve: RidgeSolve
    solves: float


def reduction_cost(
    summary: CostedSummary, stretches: Sequence[Stretch], windows: Array
) -> PassCost:
    """Estimate a tree reduction.

    Parameters
    ----------
    windows
        Times that each leaf reads, as in :class:`PassCost`.
    """
    folds: dict[str, list[int]] = {}
    for part in stretches:
        folds.setdefault(part.fold, []).append(part.stop - part.start)
    trees = [merges_by_level(len(own)) for own in folds.values()]
    results = [summary.result_bytes(sum(own)) for own in folds.values()]
    plan = plan_reduction(summary, stretches)
    return PassCost(
        plan=plan,
        windows=windows,
        sizes=[part.stop - part.start for part in stretches],
        levels=[sum(counts) for counts in zip_longest(*trees, fillvalue=0)],
        driver_bytes=sum(results),
        kept_bytes=sum(results),
        subject=summary,
        sample=max(stretches, key=lambda part: part.stop - part.start, default=None),
    )


def merges_by_level(leaves: int) -> list[int]:
    """Return the number of merges at each level of a tree, from the leaves up."""
    counts = []
    while leaves > 1:
        counts.append(leaves // 2)
        leaves -= leaves // 2
    return counts


def call_cost(
    name: str,
    count: int,
    needed: int,
    remedy: str,
    windows: Array = NO_READS,
    subject: Any = None,
) -> PassCost:
    """Estimate equal calls that need ``needed`` bytes each."""
    plan = plan_calls(name, count, needed, remedy)
    return PassCost(plan, windows, sizes=[1.0] * count, subject=subject)


def copy_cost(copy: FieldsCopy) -> PassCost:
    """Estimate the copying of fields, in which each stored chunk is decoded once."""
    remedy = "the size of the store's chunks, or set data.rechunk: false"
    return PassCost(
        plan=plan_calls("rechunk", len(copy.tasks), copy.task_bytes, remedy),
        windows=copy.windows,
        sizes=[1.0] * len(copy.tasks),
        kept_bytes=copy.kept_bytes,
        kept_by_workers=True,
    )


def read_windows(stretches: Sequence[Stretch]) -> Array:
    """Return the windows of leaves that read no times other than their own."""
    return np.array([(part.start, part.stop) for part in stretches]).reshape(-1, 2)


def solve_cost(
    rows: Sequence[RowSummary],
    fit: FitConfig,
    targets: Sequence[int],
    folds: int,
    left_out: int = 0,
    name: str = "solve",
) -> PassCost:
    """Estimate the choice of ridge, balance and width of all candidates from their triangles.

    Parameters
    ----------
    targets : sequence of int
        Number of values that a row predicts at each lead, by candidate.
    folds : int
        Number of triangles of each candidate.
    left_out : int
        Number of folds of which each is left out once; 0 where a validation period decides.
    name : str
        Name of the stage.
    """
    pairs = zip(rows, targets, strict=True)
    solves = [RidgeSolve(part, fit, count, folds) for part, count in pairs]
    widest = max(solves, key=lambda each: each.rows.groups * each.rows.columns**2)
    own = widest.rows
    return PassCost(
        plan=plan_calls(
            name, len(rows), solve_bytes(own.groups, own.columns, left_out), own.remedy
        ),
        windows=NO_READS,
        sizes=[each.size(left_out) for each in solves],
        subject=widest,
    )


def final_solve_cost(
    rows: Sequence[RowSummary], targets: Sequence[int], fit: FitConfig, folds: int
) -> PassCost:
    """Estimate the solve of the chosen networks from all their rows, as if all were chosen."""
    chosen = fit.model_copy(update={"widths": [], "balance": fit.balance[:1]})
    cost = solve_cost(rows, chosen, targets, folds, name="final solve")
    return replace(cost, sizes=[float(part.groups * part.features**3) for part in rows])


def precision_cost(
    rows: Sequence[RowSummary],
    targets: Sequence[int],
    fit: FitConfig,
    leaf: Stretch,
    windows: Array,
) -> PassCost:
    """Estimate the measurement of the rows' precision on a leaf of the widest candidate."""
    pairs = zip(rows, targets, strict=True)
    widest, count = max(pairs, key=lambda pair: pair[0].groups * pair[0].columns ** 2)
    times = leaf.stop - leaf.start
    # Rows are made in both precisions, of which float32 takes half the time of float64.
    often = 1.5 if widest.network.precision == "float64" else 3.0
    solves = 2.0 * widest.groups * widest.features**3
    if widest.rows_of(times) < widest.features:  # too few rows to solve: it ends early
        often, solves = 1.0, 0.0
    read = widest.states.read_bytes(times + widest.network.overlap)
    needed = max(widest.leaf_bytes(leaf), read + solve_bytes(widest.groups, widest.columns))
    subject = PrecisionRows(widest, leaf, often, RidgeSolve(widest, fit, count, 1), solves)
    return call_cost("precision", 1, needed, widest.remedy, windows, subject)


def check_pass_memory(costs: Iterable[PassCost], fields: Fields, limit: int | None) -> None:
    """Refuse stages that exceed the memory of a worker's thread.

    Raises
    ------
    ResourceError
        Naming the first such stage and the key to change.
    """
    largest = max((each.chunk_bytes for each in fields.stored_chunks), default=0)
    check_memory(
        fields.read_bytes(1),
        limit,
        "data: one time",
        "choose fewer data.variables or store smaller chunks "
        f"(the largest has {largest / 2**20:.0f} MiB)",
    )
    for cost in costs:
        cost.plan.check(limit)
