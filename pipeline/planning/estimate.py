"""Estimate the cost of a fit before it starts: tasks, reads, memory, disk, time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.stored_chunks import ChunkReads
from gfrnn.pipeline.errors import ResourceError
from gfrnn.pipeline.planning.machine_rates import Rates, calibrate
from gfrnn.pipeline.reduction.dask_client import current_client, thread_memory
from gfrnn.pipeline.training.pass_costs import PassCost, check_costs
from gfrnn.pipeline.training.training import Training

# Overhead of scheduler and driver in seconds per task, measured with a pass of empty leaves on two
# workers of one machine (`gfrnn bench plan` measures it again).
TASK_SECONDS = 3.8e-3

# Advice is given where stored chunks are decoded more often than this on average.
_OFTEN = 1.5


@dataclass(frozen=True)
class Workforce:
    """The threads and the memory that a fit will run on.

    Attributes
    ----------
    threads : int
        Number of threads of all workers.
    memory : int or None
        Bytes that one thread of a worker has; None where nothing limits it.
    """

    threads: int = 1
    memory: int | None = None

    @classmethod
    def current(cls) -> Workforce:
        """Return the workforce of the current Dask client, or this process where there is none."""
        client = current_client()
        threads = sum(client.nthreads().values()) if client else 1
        return cls(threads, thread_memory())


@dataclass(frozen=True)
class StageProjection:
    """The estimated cost of one stage, or of all stages that share a name.

    Attributes
    ----------
    name : str
    parts : int
        Number of stages: one for each candidate.
    leaves, merges : int
        Number of tasks of each kind.
    chunks, different : int
        Number of times that a stored chunk is decoded, and number of different chunks.
    decoded_bytes : int
        Size of all decoded chunks together.
    operations : float
        Floating point operations.
    leaf_bytes, merge_bytes, driver_bytes : int
        Peak memory of a leaf and of a merge, and memory of the driver at the end.
    kept_bytes : int
        Size of the results on disk before compression.
    seconds : float or None
        Run time; None where the rate of reading is not known.
    """

    name: str
    parts: int
    leaves: int
    merges: int
    chunks: int
    different: int
    decoded_bytes: int
    operations: float
    leaf_bytes: int
    merge_bytes: int
    driver_bytes: int
    kept_bytes: int
    seconds: float | None


@dataclass(frozen=True)
class Projection:
    """The estimated cost of a fit.

    Attributes
    ----------
    stages : tuple of StageProjection
        Stages in the order in which they run.
    refusal : str or None
        Why the fit exceeds the memory of the workers, and the remedy.
    advice : tuple of str
        Changes that would make the fit faster.
    workforce : Workforce
    rates : Rates
    """

    stages: tuple[StageProjection, ...]
    refusal: str | None
    advice: tuple[str, ...]
    workforce: Workforce
    rates: Rates

    @property
    def seconds(self) -> float | None:
        """Run time of all stages; None where that of one is not known."""
        each = [stage.seconds for stage in self.stages]
        known = [seconds for seconds in each if seconds is not None]
        return sum(known) if len(known) == len(each) else None

    def as_dict(self) -> dict[str, Any]:
        """Return all values as plain types for JSON."""
        return dataclasses.asdict(self) | {"seconds": self.seconds}


def project(training: Training, workforce: Workforce, rates: Rates | None = None) -> Projection:
    """Estimate the cost of a fit; nothing is written, and no cluster is needed.

    Parameters
    ----------
    training : Training
        As :func:`gfrnn.pipeline.training.fit.prepare` gives it.
    workforce : Workforce
    rates : Rates, optional
        Speed of a worker; by default that of this machine, measured now.
    """
    stages, fields = training.costs(), training.fields
    rates = rates or calibrate(stages, fields)
    groups = groupby(stages, key=lambda stage: stage.name)
    found = [_together(list(group), fields, workforce, rates) for _, group in groups]
    return Projection(
        stages=tuple(found),
        refusal=_refusal(stages, fields, workforce.memory),
        advice=tuple(_advice(found, fields)),
        workforce=workforce,
        rates=rates,
    )


def _together(
    stages: Sequence[PassCost], fields: Fields, workforce: Workforce, rates: Rates
) -> StageProjection:
    """Add up stages that share a name and run one after the other."""
    reads = [ChunkReads.count(fields.stored_chunks, stage.windows) for stage in stages]
    each = [
        _seconds(stage, read, workforce.threads, rates)
        for stage, read in zip(stages, reads, strict=True)
    ]
    return StageProjection(
        name=stages[0].name,
        parts=len(stages),
        leaves=sum(stage.plan.leaves for stage in stages),
        merges=sum(stage.plan.merges for stage in stages),
        chunks=sum(read.chunks for read in reads),
        different=max(read.distinct for read in reads),
        decoded_bytes=sum(read.decoded_bytes for read in reads),
        operations=sum(sum(stage.work.values()) for stage in stages),
        leaf_bytes=max(stage.plan.leaf_bytes for stage in stages),
        merge_bytes=max(stage.plan.merge_bytes for stage in stages),
        driver_bytes=max(stage.driver_bytes for stage in stages),
        kept_bytes=sum(stage.kept_bytes for stage in stages),
        seconds=None if None in each else sum(filter(None, each)),
    )


def _seconds(stage: PassCost, reads: ChunkReads, threads: int, rates: Rates) -> float | None:
    if reads.chunks and rates.reading is None:
        return None
    reading = reads.decoded_bytes / rates.reading if rates.reading else 0.0
    tasks = stage.plan.leaves + stage.plan.merges
    alone = rates.seconds(stage.work) + reading
    chain = rates.seconds(stage.chain) + reading / max(1, stage.plan.leaves)
    # Upper bound where no thread idles while a task is ready (Brent 1974).
    busy = max(chain + (alone - chain) / threads, tasks * TASK_SECONDS)
    return busy + stage.kept_bytes / rates.keeping


def _advice(stages: Sequence[StageProjection], fields: Fields) -> Iterator[str]:
    for stage in stages:
        often = stage.chunks / stage.parts / max(1, stage.different)
        if often > _OFTEN:
            longest = max(each.times for each in fields.stored_chunks)
            yield (
                f"{stage.name}: each stored chunk is decoded {often:.1f} times; raise data.chunk, "
                f"the times that a leaf reads (a stored chunk has {longest})"
            )


def _refusal(stages: Sequence[PassCost], fields: Fields, memory: int | None) -> str | None:
    try:
        check_costs(stages, fields, memory)
    except ResourceError as error:
        return str(error)
    return None
