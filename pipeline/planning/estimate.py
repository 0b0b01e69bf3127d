"""What a fit will take, said before it starts: tasks, reads, memory, disk, time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.data.stored_chunks import Reads
from gfrnn.pipeline.errors import ResourceError
from gfrnn.pipeline.planning.machine_rates import Rates, calibrate
from gfrnn.pipeline.reduction.reduce import thread_memory
from gfrnn.pipeline.reduction.tasks import current_client
from gfrnn.pipeline.training.pass_costs import PassCost, check_costs
from gfrnn.pipeline.training.training import Training

# Seconds that scheduler and driver need for each task, whatever it does: what a pass of empty
# leaves takes two workers of one machine, a task (`gfrnn bench plan` prints it anew).
TASK_SECONDS = 3.8e-3

# How often chunks may be decoded before it is worth a word.
_OFTEN = 1.5


@dataclass(frozen=True)
class Workforce:
    """What a fit will run on.

    Attributes
    ----------
    threads : int
        Of all workers.
    memory : int or None
        Bytes that one thread of a worker has; None where nothing limits it.
    """

    threads: int = 1
    memory: int | None = None

    @classmethod
    def current(cls) -> Workforce:
        """That of the current Dask client, or this process where there is none."""
        client = current_client()
        threads = sum(client.nthreads().values()) if client else 1
        return cls(threads, thread_memory())


@dataclass(frozen=True)
class StageProjection:
    """What one stage will take; stages of one name are together.

    Attributes
    ----------
    name : str
    parts : int
        How many stages these are: one a candidate.
    leaves, merges : int
        Tasks.
    chunks, different : int
        Stored chunks that are decoded, and how many of them are not the same.
    decoded_bytes : int
        All that is decoded, as stored.
    operations : float
    leaf_bytes, merge_bytes, driver_bytes : int
        Peak memory of a task, and what the driver holds at the end.
    kept_bytes : int
        What is kept on disk, before it is compressed.
    seconds : float or None
        None where the rate of reading is not known.
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
    """What a fit will take.

    Attributes
    ----------
    stages : tuple of StageProjection
        In their order.
    refusal : str or None
        Why it does not fit into the workers, and what to do.
    advice : tuple of str
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
        """Of all stages."""
        each = [stage.seconds for stage in self.stages]
        known = [seconds for seconds in each if seconds is not None]
        return sum(known) if len(known) == len(each) else None

    def as_dict(self) -> dict[str, Any]:
        """Everything in plain values."""
        return dataclasses.asdict(self) | {"seconds": self.seconds}


def project(training: Training, workforce: Workforce, rates: Rates | None = None) -> Projection:
    """Say what a fit will take; nothing is written, and no cluster is needed.

    Parameters
    ----------
    training : Training
        As :func:`gfrnn.pipeline.training.fit.prepare` gives it.
    workforce : Workforce
    rates : Rates, optional
        By default this machine's, measured now.
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
    """Stages of one name, which run one after the other."""
    reads = [Reads.of(fields.stored, stage.windows) for stage in stages]
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
        different=max(read.different for read in reads),
        decoded_bytes=sum(read.decoded_bytes for read in reads),
        operations=sum(sum(stage.work.values()) for stage in stages),
        leaf_bytes=max(stage.plan.leaf_bytes for stage in stages),
        merge_bytes=max(stage.plan.merge_bytes for stage in stages),
        driver_bytes=max(stage.driver_bytes for stage in stages),
        kept_bytes=sum(stage.kept_bytes for stage in stages),
        seconds=None if None in each else sum(filter(None, each)),
    )


def _seconds(stage: PassCost, reads: Reads, threads: int, rates: Rates) -> float | None:
    if reads.chunks and rates.reading is None:
        return None
    reading = reads.decoded_bytes / rates.reading if rates.reading else 0.0
    tasks = stage.plan.leaves + stage.plan.merges
    alone = rates.seconds(stage.work) + reading
    chain = rates.seconds(stage.chain) + reading / max(1, stage.plan.leaves)
    # Never slower than this where no thread idles while a task is ready (Brent 1974).
    busy = max(chain + (alone - chain) / threads, tasks * TASK_SECONDS)
    return busy + stage.kept_bytes / rates.keeping


def _advice(stages: Sequence[StageProjection], fields: Fields) -> Iterator[str]:
    for stage in stages:
        often = stage.chunks / stage.parts / max(1, stage.different)
        if often > _OFTEN:
            longest = max(each.times for each in fields.stored)
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
