"""The estimated cost of a fit: tasks, reads, memory, disk and time of each stage."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from gfrnn.pipeline.planning.forecast_estimate import ForecastEstimate
from gfrnn.pipeline.planning.machine_rates import MachineRates
from gfrnn.pipeline.reduction.dask_client import current_client, thread_memory


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
class StageEstimate:
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
    leaf_seconds, merge_seconds : float
        Seconds of the longest leaf, without decoding, and of a merge of complete results.
    leaf_bytes, merge_bytes, driver_bytes : int
        Peak memory of a leaf and of a merge, and memory of the driver at the end.
    kept_bytes : int
        Size of the results on disk.
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
    leaf_seconds: float
    merge_seconds: float
    leaf_bytes: int
    merge_bytes: int
    driver_bytes: int
    kept_bytes: int
    seconds: float | None


@dataclass(frozen=True)
class FitEstimate:
    """The estimated cost of a fit.

    Attributes
    ----------
    stages : tuple of StageEstimate
        Stages in the order in which they run.
    refusal : str or None
        Why the fit exceeds the memory of the workers, and the remedy.
    advice : tuple of str
        Changes that would make the fit faster.
    workforce : Workforce
    rates : MachineRates
    forecasts : ForecastEstimate
        The forecasts that follow the fit.
    """

    stages: tuple[StageEstimate, ...]
    refusal: str | None
    advice: tuple[str, ...]
    workforce: Workforce
    rates: MachineRates
    forecasts: ForecastEstimate

    @property
    def seconds(self) -> float | None:
        """Run time of all stages; None where that of one is not known."""
        each = [stage.seconds for stage in self.stages]
        known = [seconds for seconds in each if seconds is not None]
        return sum(known) if len(known) == len(each) else None

    def as_dict(self) -> dict[str, Any]:
        """Return all values as plain types for JSON."""
        return dataclasses.asdict(self) | {"seconds": self.seconds}
