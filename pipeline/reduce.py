"""THE tree reduction: plan, check memory, schedule, checkpoint, resume.

A summary is a leaf (a stretch of time -> a few small arrays) and a merge (two of those -> one).
The tree depends on the stretches alone, never on the workers or on the order of arrival, so the
result is the same bit for bit however it is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from distributed import Client, Future, as_completed

from pipeline.checkpoints import Arrays, Checkpoints, content_key
from pipeline.errors import ResourceError
from pipeline.tasks import Progress, Tasks, current_client, raise_failure, single_threaded

# Of a worker's memory, what Dask lets a task use before it starts to spill and pause.
_USABLE = 0.7


@dataclass(frozen=True)
class Stretch:
    """Times ``start`` to ``stop - 1`` of the time axis, all in one fold and without a gap."""

    fold: str
    start: int
    stop: int


class Summary(Protocol):
    """What the reducer runs. It is pickled once and sent to each worker once."""

    @property
    def name(self) -> str:
        """What people read in progress and on the dashboard."""

    @property
    def remedy(self) -> str:
        """Which key of the experiment makes it smaller."""

    def leaf(self, stretch: Stretch) -> Arrays:
        """The summary of one stretch."""

    def merge(self, left: Arrays, right: Arrays) -> Arrays:
        """The summary of two stretches, ``left`` before ``right``."""

    def leaf_bytes(self, stretch: Stretch) -> int:
        """Peak working memory of a leaf, its result included."""

    def merge_bytes(self) -> int:
        """Peak working memory of a merge, both sides and the result included."""


@dataclass(frozen=True)
class Plan:
    """What a reduction will do, known before it starts."""

    name: str
    leaves: int
    merges: int
    leaf_bytes: int
    merge_bytes: int
    remedy: str

    def check(self, limit: int | None) -> None:
        """Refuse work that does not fit into a worker.

        Raises
        ------
        ResourceError
        """
        if limit is None:
            return
        for part, needed in (("leaf", self.leaf_bytes), ("merge", self.merge_bytes)):
            if needed > _USABLE * limit:
                raise ResourceError(
                    f"{self.name}: a {part} needs {needed / 2**20:.0f} MiB, but a worker's thread "
                    f"has {_USABLE * limit / 2**20:.0f} MiB for it ({_USABLE:.0%} of its memory "
                    f"limit); give the workers more (cluster.memory) or lower {self.remedy}"
                )


def plan_reduction(summary: Summary, stretches: Sequence[Stretch]) -> Plan:
    """Count the tasks and project the memory."""
    folds = len({stretch.fold for stretch in stretches})
    return Plan(
        name=summary.name,
        leaves=len(stretches),
        merges=len(stretches) - folds,
        leaf_bytes=max((summary.leaf_bytes(stretch) for stretch in stretches), default=0),
        merge_bytes=summary.merge_bytes(),
        remedy=summary.remedy,
    )


def check_memory(summary: Summary, stretches: Sequence[Stretch]) -> None:
    """Refuse a reduction that does not fit into the workers of the current client.

    Raises
    ------
    ResourceError
    """
    plan_reduction(summary, stretches).check(_memory_of_a_thread(current_client()))


def check_call(name: str, needed: int, remedy: str) -> None:
    """The same for calls of :func:`pipeline.tasks.run_tasks` that need so many bytes each.

    Raises
    ------
    ResourceError
    """
    plan = Plan(name, leaves=1, merges=0, leaf_bytes=needed, merge_bytes=0, remedy=remedy)
    plan.check(_memory_of_a_thread(current_client()))


def fold_keys(name: str, key: str, stretches: Sequence[Stretch]) -> dict[str, str]:
    """Under which key the summary of each fold is kept."""
    folds: dict[str, list[tuple[int, int]]] = {}
    for part in stretches:
        folds.setdefault(part.fold, []).append((part.start, part.stop))
    return {fold: content_key(name, key, parts) for fold, parts in folds.items()}


def reduce_stretches(
    summary: Summary,
    stretches: Sequence[Stretch],
    *,
    key: str,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> dict[str, Arrays]:
    """Summarise the stretches of each fold, on the current Dask client or else in this process.

    Parameters
    ----------
    summary : Summary
    stretches : sequence of Stretch
        Those of one fold follow each other.
    key : str
        Of everything but the stretches that decides the result: experiment and data.
    checkpoints : Checkpoints, optional
        Folds kept there are not computed again; every finished fold is kept.
    progress : callable, optional

    Returns
    -------
    dict
        fold: its summary, in the order of the stretches.

    Raises
    ------
    ResourceError
        Before anything runs, if a leaf or a merge cannot fit into a worker; or when workers died
        of a leaf again and again.
    """
    client = current_client()
    plan_reduction(summary, stretches).check(_memory_of_a_thread(client))
    folds: dict[str, list[Stretch]] = {}
    for stretch in stretches:
        folds.setdefault(stretch.fold, []).append(stretch)
    keys = fold_keys(summary.name, key, stretches)
    run = _Run(summary, len(stretches), progress)
    run.advance(0)
    found: dict[str, Arrays] = {}
    for fold, parts in folds.items():
        kept = checkpoints.load(summary.name, keys[fold]) if checkpoints else None
        if kept is not None:
            found[fold] = kept
            run.advance(len(parts))
    missing = {fold: parts for fold, parts in folds.items() if fold not in found}

    def finish(fold: str, value: Arrays) -> None:
        found[fold] = value
        if checkpoints:
            checkpoints.save(summary.name, keys[fold], value)

    if client is None:
        _in_process(run, missing, finish)
    else:
        _on_cluster(run, missing, finish, client, keys)
    return {fold: found[fold] for fold in folds}


@dataclass
class _Run:
    """One reduction under way."""

    summary: Summary
    total: int
    progress: Progress | None
    done: int = 0

    def advance(self, leaves: int = 1) -> None:
        self.done += leaves
        if self.progress:
            self.progress(self.summary.name, self.done, self.total)


@dataclass
class _Tree:
    """Leaves pushed in order merge like the carries of a binary counter.

    So the tree is a function of the number of leaves alone, and at most log2 of it is waiting.
    """

    merge: Callable[[Any, Any], Any]
    waiting: list[tuple[int, Any]] = field(default_factory=list)

    def push(self, node: Any) -> None:
        level = 0
        while self.waiting and self.waiting[-1][0] == level:
            node = self.merge(self.waiting.pop()[1], node)
            level += 1
        self.waiting.append((level, node))

    def root(self) -> Any:
        node = self.waiting.pop()[1]
        while self.waiting:
            node = self.merge(self.waiting.pop()[1], node)
        return node


def _in_process(
    run: _Run, folds: dict[str, list[Stretch]], finish: Callable[[str, Arrays], None]
) -> None:
    for fold, parts in folds.items():
        tree = _Tree(lambda left, right: _merge(run.summary, left, right))
        for stretch in parts:
            tree.push(_leaf(run.summary, stretch))
            run.advance()
        finish(fold, tree.root())


def _on_cluster(
    run: _Run,
    folds: dict[str, list[Stretch]],
    finish: Callable[[str, Arrays], None],
    client: Client,
    keys: dict[str, str],
) -> None:
    if not folds:
        return
    with Tasks(client) as tasks:
        _submit_and_receive(run, folds, finish, tasks, keys)


def _submit_and_receive(
    run: _Run,
    folds: dict[str, list[Stretch]],
    finish: Callable[[str, Arrays], None],
    tasks: Tasks,
    keys: dict[str, str],
) -> None:
    name = run.summary.name
    # The summary (with the opened data in it) is a task of its own, so that it travels to each
    # worker once and is made again if every worker that holds it dies.
    context = tasks.submit(f"{name}-summary", _identity, run.summary)
    arrived = as_completed()
    roots: dict[Future, str] = {}
    # Enough leaves under way to keep every thread busy, few enough that results never pile up.
    window = 2 * max(1, sum(tasks.client.nthreads().values()))
    under_way = 0

    def receive() -> int:
        future = next(arrived)
        if future.status != "finished":
            raise_failure(future, name)
        if future in roots:
            finish(roots.pop(future), future.result())
            return 0
        run.advance()
        return 1

    for fold, parts in folds.items():
        count = 0

        def merge(left: Future, right: Future, fold: str = fold) -> Future:
            nonlocal count
            count += 1
            return tasks.submit(
                f"{name}-merge-{keys[fold]}-{count}",
                _merge,
                context,
                left,
                right,
                priority=10,  # merges first: they free two results and leave one
            )

        tree = _Tree(merge)
        for stretch in parts:
            while under_way >= window:
                under_way -= receive()
            leaf = tasks.submit(
                f"{name}-leaf-{keys[fold]}-{stretch.start}", _leaf, context, stretch
            )
            arrived.add(leaf)
            under_way += 1
            tree.push(leaf)
        root = tree.root()
        if root is leaf:  # a fold of one leaf: its arrival is counted and its result fetched
            root = tasks.submit(f"{name}-root-{keys[fold]}", _identity, leaf)
        roots[root] = fold
        arrived.add(root)
        del root, leaf, tree
    while under_way or roots:
        under_way -= receive()


def _identity(value: Any) -> Any:
    return value


def _leaf(summary: Summary, stretch: Stretch) -> Arrays:
    return dict(single_threaded(summary.leaf, stretch))


def _merge(summary: Summary, left: Arrays, right: Arrays) -> Arrays:
    return dict(single_threaded(summary.merge, left, right))


def _memory_of_a_thread(client: Client | None) -> int | None:
    """The least memory that one thread of a worker may use, or None where nothing limits it."""
    if client is None:
        return None
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    shares = [w["memory_limit"] // w["nthreads"] for w in workers if w.get("memory_limit")]
    return min(shares, default=None)
