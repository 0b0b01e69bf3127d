"""Work in processes of their own with one thread, and its processor time and memory.

As a program (``python -m gfrnn.workflows.benchmarks.peers.process JOB``) this module does the work
that the JSON file JOB names and writes its results beside it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gfrnn.workflows.benchmarks.peers.results import Cost

Value = TypeVar("Value")

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
"""Environment of the processes: numerical libraries read it when they are loaded."""


class WorkError(RuntimeError):
    """The process of some work ended with an error; the message is the last line of it."""


@dataclass(frozen=True)
class Job:
    """Work of one process.

    Attributes
    ----------
    target : str
        ``module:name`` of a function for the task "prepare", else of a program's class.
    task : {"prepare", "search", "fit", "score"}
    folder : str
        Folder of the prepared data.
    quick : bool
    options, setting : dict
    seed : int
    arrays : list of str
        Files of forecasts: the one that "fit" writes, or those whose mean "score" scores.
    """

    target: str
    task: str
    folder: str
    quick: bool
    options: dict[str, Any] = field(default_factory=dict)
    setting: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    arrays: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class JobResult:
    """Result of a process: a setting or errors, and the cost of the search or fit."""

    setting: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    cost: Cost | None = None


def run_in_process(job: Job, file: Path) -> JobResult:
    """Do the work in a new process with one thread.

    Parameters
    ----------
    job : Job
    file : Path
        Path of a JSON file for the job; the results are written beside it.

    Raises
    ------
    WorkError
        If the process ends with an error.
    """
    file.write_text(json.dumps(asdict(job)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-P", "-m", __name__, str(file)],
        env={**os.environ, **ONE_THREAD},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        last = lines[-1] if lines else f"the process ended with code {done.returncode}"
        raise WorkError(last if done.returncode > 0 else f"killed by signal {-done.returncode}")
    found = json.loads(_results_of(file).read_text(encoding="utf-8"))
    cost = found.pop("cost")
    return JobResult(**found, cost=Cost(**cost) if cost else None)


def measured(work: Callable[[], Value]) -> tuple[Value, Cost]:
    """Do some work in this process and measure it."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak, VmHWM
    before, begun = _resident("VmRSS"), _processor_seconds()
    value = work()
    return value, Cost(_processor_seconds() - begun, _resident("VmHWM"), before)


def _resident(name: str) -> int:
    """Return a value of this process's /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (found,) = [line for line in lines if line.startswith(name + ":")]
    return int(found.split()[1]) * 1024


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _results_of(file: Path) -> Path:
    return file.with_suffix(".results.json")


def _named(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def do(job: Job) -> JobResult:
    """Do the work of a job in this process."""
    target, folder = _named(job.target), Path(job.folder)
    if job.task == "prepare":
        target(folder, job.quick, **job.options)
        return JobResult()
    program = target(folder, job.quick, **job.options)
    program.load()
    if job.task == "search":
        setting, cost = measured(program.search)
        return JobResult(setting=setting, cost=cost)
    if job.task == "score":
        mean = np.mean([np.load(path) for path in job.arrays], axis=0)
        return JobResult(errors=program.score(mean))
    model, cost = measured(lambda: program.fit(job.setting, job.seed))
    forecast = program.forecast(model)
    if job.arrays:
        np.save(job.arrays[0], forecast)
    return JobResult(errors=program.score(forecast), cost=cost)


def main(file: Path) -> None:
    """Do the work of a JSON file and write its results."""
    result = do(Job(**json.loads(file.read_text(encoding="utf-8"))))
    _results_of(file).write_text(json.dumps(asdict(result)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
