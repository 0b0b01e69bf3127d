"""Estimate the stages of a fit before it starts: tasks, reads, memory, operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfrnn.pipeline.config.fit_config import FitConfig
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.rechunking.fields_copy import FieldsCopy
from gfrnn.pipeline.reduction.flops import (
    Work,
    eigenvector_flops,
    merge_flops,
    svd_flops,
    total,
)
from gfrnn.pipeline.reduction.task_memory import TaskPlan, check_memory, plan_calls, plan_reduction
from gfrnn.pipeline.reduction.tree import CostedSummary, Stretch
from gfrnn.pipeline.training.rows import RowSummary
from gfrnn.pipeline.training.triangles import solve_bytes, tried_widths
from gfrnn_core.normal_equations import LEAST_RIDGE

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
    work : dict
        Operations of all tasks, by kind of work.
    chain : dict
        Operations on the critical path: the longest chain of dependent tasks, and the driver's.
    driver_bytes : int
        Memory of the driver at the end.
    kept_bytes : int
        Size of the results on disk before compression.
    kept_by_workers : bool
        Whether the workers write them, and not the driver.
    subject : Any
        The summary or other object whose speed can be measured on a small piece of its work.
    """

    plan: TaskPlan
    windows: Array
    work: Work
    chain: Work
    driver_bytes: int = 0
    kept_bytes: int = 0
    kept_by_workers: bool = False
    subject: Any = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Name of the stage."""
        return self.plan.name


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
    lengths = Counter(length for own in folds.values() for length in own)
    parts = [total([summary.leaf_work(times)], count) for times, count in lengths.items()]
    chains = []
    for own in folds.values():
        levels = _levels(len(own), sum(own) / len(own))
        works = [summary.merge_work(round(times)) for _, times in levels]
        parts += [total([work], count) for work, (count, _) in zip(works, levels, strict=True)]
        chains.append(total([summary.leaf_work(max(own)), *works]))
    results = [summary.result_bytes(sum(own)) for own in folds.values()]
    plan = plan_reduction(summary, stretches)
    return PassCost(
        plan=plan,
        windows=windows,
        work=total(parts),
        chain=max(chains, key=lambda work: sum(work.values())),
        driver_bytes=sum(results),
        kept_bytes=sum(results),
        subject=summary,
    )


def _levels(leaves: int, times: float) -> list[tuple[int, float]]:
    """Return number of merges and times of a side by level, for leaves of ``times`` times each."""
    height = leaves.bit_length() - 1
    even = [(leaves >> level + 1, times * 2**level) for level in range(height)]
    # Remaining blocks merge at the end, from the smallest up; together they are below the next.
    waiting = [level for level in range(height + 1) if leaves >> level & 1]
    return even + [(1, times * (leaves % 2**level)) for level in waiting[1:]]


def call_cost(
    name: str,
    count: int,
    needed: int,
    remedy: str,
    work: Work,
    windows: Array = NO_READS,
    subject: Any = None,
) -> PassCost:
    """Estimate calls that need ``needed`` bytes and ``work`` operations each."""
    return PassCost(
        plan=plan_calls(name, count, needed, remedy),
        windows=windows,
        work=total([work], count),
        chain=work,
        subject=subject,
    )


def copy_cost(copy: FieldsCopy) -> PassCost:
    """Estimate the copying of fields, in which each stored chunk is decoded once."""
    remedy = "the size of the store's chunks, or set data.rechunk: false"
    return PassCost(
        plan=plan_calls("rechunk", len(copy.tasks), copy.task_bytes, remedy),
        windows=copy.windows,
        work={},
        chain={},
        kept_bytes=copy.kept_bytes,
        kept_by_workers=True,
    )


def read_windows(stretches: Sequence[Stretch]) -> Array:
    """Return the windows of leaves that read no times other than their own."""
    return np.array([(part.start, part.stop) for part in stretches]).reshape(-1, 2)


def solve_cost(
    rows: Sequence[RowSummary],
    fit: FitConfig,
    sizes: Sequence[int],
    left_out: int = 0,
    name: str = "solve",
) -> PassCost:
    """Estimate the choice of ridge, balance and width of all candidates from their triangles.

    Parameters
    ----------
    sizes : sequence of int
        Number of values that a row predicts at each lead, by candidate.
    left_out : int
        Number of folds of which each is left out once; 0 where a validation period decides.
    name : str
        Name of the stage.
    """
    works = [_solve_work(part, fit, size, left_out) for part, size in zip(rows, sizes, strict=True)]
    widest = max(rows, key=lambda part: part.groups * part.columns**2)
    return PassCost(
        plan=plan_calls(
            name, len(rows), solve_bytes(widest.groups, widest.columns, left_out), widest.remedy
        ),
        windows=NO_READS,
        work=total(works),
        chain=max(works, key=lambda work: sum(work.values())),
    )


def final_solve_cost(rows: Sequence[RowSummary]) -> PassCost:
    """Estimate the solve of the chosen networks from all their rows, as if all were chosen."""
    works = [{"eigenvectors": part.groups * eigenvector_flops(part.features)} for part in rows]
    widest = max(rows, key=lambda part: part.groups * part.columns**2)
    needed = solve_bytes(widest.groups, widest.columns)
    return PassCost(
        plan=plan_calls("final solve", len(rows), needed, widest.remedy),
        windows=NO_READS,
        work=total(works),
        chain=max(works, key=lambda work: sum(work.values())),
    )


def precision_cost(rows: Sequence[RowSummary], leaf: Stretch, windows: Array) -> PassCost:
    """Estimate the measurement of the rows' precision on a leaf of the widest candidate."""
    widest = max(rows, key=lambda part: part.groups * part.columns**2)
    times, columns = leaf.stop - leaf.start, widest.columns
    # Rows are made in both precisions, of which float32 takes half the time of float64.
    often = 1.5 if widest.network.precision == "float64" else 3.0
    solving = {"eigenvectors": 2 * widest.groups * eigenvector_flops(columns)}
    if widest.rows_of(times) < widest.features:  # too few rows to solve: it ends early
        often, solving = 1.0, {}
    work = total([total([widest.factors_work(times)], often), solving])
    work = total([work, widest.states.read_work(times)])
    read = widest.states.read_bytes(times + widest.network.overlap)
    needed = max(widest.leaf_bytes(leaf), read + solve_bytes(widest.groups, widest.columns))
    return call_cost("precision", 1, needed, widest.remedy, work, windows)


def _solve_work(rows: RowSummary, fit: FitConfig, size: int, left_out: int) -> Work:
    columns, targets = rows.columns, len(rows.network.leads) * size
    always = columns - targets - rows.network.width
    widths = tried_widths(rows.network, fit.widths)
    flops = 0.0
    quick = max(fit.ridge) >= LEAST_RIDGE  # assumes data with noise, whose ridges are large
    for count in [always, *(always + width for width in widths for _ in fit.balance)]:
        # The decomposition, its products with triangles and targets, and the errors of each ridge:
        # a quadratic form, or a product with all targets.
        flops += eigenvector_flops(count) if quick else svd_flops(count, count)
        flops += 2 * count**2 * (columns + targets)
        if quick:
            flops += count**2 * (count + 2 * targets + 2 * len(fit.ridge) * len(rows.network.leads))
        else:
            flops += len(fit.ridge) * 2 * columns * count * targets
    flops *= max(1, left_out)
    if quick:
        return {"eigenvectors": rows.groups * flops}
    work = {"solving": rows.groups * flops}
    if left_out:  # three merges a fold
        merging = merge_flops(columns, columns, columns)
        work[f"merging {columns}"] = rows.groups * 3 * left_out * merging
    return work


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
