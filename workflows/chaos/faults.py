"""Kinds of faults of a campaign, and one of them drawn at random for a command."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gfrnn.workflows.chaos.small_runs import COMMANDS, SmallCommand

KINDS = (
    "kill at a file operation",
    "kill a worker at a file operation",
    "kill at a moment",
    "kill workers",
    "stop by a signal",
    "full disk",
    "limit of file sizes",
    "read-only disk",
    "slow disk",
    "clock jump",
    "flipped byte",
    "file cut short",
    "file removed",
    "two commands at once",
)
"""Each is drawn equally often."""

DAMAGES = ("flipped byte", "file cut short", "file removed")
"""Kinds that damage a file before the command starts."""

_SLOWEST = 60.0
"""Most seconds by which a slow disk delays a command."""

_RECORDS = ("run.json", "experiment.yaml")


@dataclass(frozen=True)
class UndisturbedCommand:
    """Duration and file operations of a command without a fault.

    Attributes
    ----------
    seconds : float
        Wall time.
    operations, worker_operations : int
        File operations of its process, and the most of one worker.
    """

    seconds: float
    operations: int
    worker_operations: int


@dataclass(frozen=True)
class Fault:
    """A fault in one command.

    Attributes
    ----------
    seed : int
        Seed that repeats it.
    kind : str
        One of :data:`KINDS`.
    command : SmallCommand
    moment : float
        Seconds after the start of the command.
    operation : int
        File operation, counted from 1.
    in_worker : bool
        Whether the file operation is one of a worker.
    number : int
        Signal, size of files in bytes, or number of workers, as the kind needs it.
    share : float
        Place of the damage in the list of files and within a file, from 0 to 1.
    delay : float
        Seconds by which a slow disk delays a file operation.
    """

    seed: int
    kind: str
    command: SmallCommand
    moment: float
    operation: int
    in_worker: bool
    number: int
    share: float
    delay: float

    def describe(self) -> str:
        """Return the fault in words."""
        process = "a worker" if self.in_worker else "the command"
        detail = {
            "kill at a file operation": f"operation {self.operation}",
            "kill a worker at a file operation": f"operation {self.operation}",
            "kill at a moment": f"after {self.moment:.1f} s",
            "kill workers": f"{self.number} after {self.moment:.1f} s",
            "stop by a signal": f"{self.number} after {self.moment:.1f} s",
            "full disk": f"from operation {self.operation} of {process}",
            "limit of file sizes": f"{self.number} bytes",
            "read-only disk": f"from operation {self.operation} of {process}",
            "slow disk": f"{1e3 * self.delay:.0f} ms an operation of {process}",
            "clock jump": f"{self.seconds:+.0f} s at operation {self.operation} of {process}",
            "two commands at once": f"the second after {self.moment:.1f} s",
        }.get(self.kind, f"at {self.share:.3f}")
        return f"{self.kind} ({detail}) in {self.command.name}"

    @property
    def seconds(self) -> float:
        """Jump of the clock, from a minute to about a year, back or forward."""
        size = 60.0 * 2.0 ** (19 * self.share)
        return size if self.number % 2 else -size

    @property
    def error_number(self) -> int:
        """Error number of the operating system at file operations."""
        return errno.EROFS if self.kind == "read-only disk" else errno.ENOSPC


def draw_fault(seed: int, undisturbed: Callable[[SmallCommand], UndisturbedCommand]) -> Fault:
    """Draw a fault at random.

    Parameters
    ----------
    seed : int
    undisturbed : callable
        Returns the measurements of a command.
    """
    rng = random.Random(seed)
    kind = rng.choice(KINDS)
    damaging = kind in DAMAGES
    command = rng.choice([each for each in COMMANDS if each.reads or not damaging])
    normal = undisturbed(command)
    in_worker = kind == "kill a worker at a file operation" or (
        kind != "kill at a file operation" and rng.random() < 0.4
    )
    if not normal.worker_operations:
        in_worker = False
    operations = normal.worker_operations if in_worker else normal.operations
    number = {
        "kill workers": rng.randint(1, 2),
        "stop by a signal": rng.choice((2, 15)),
        "limit of file sizes": int(2 ** rng.uniform(6, 15)),
    }.get(kind, rng.randint(0, 1))
    moment = rng.uniform(0.0, normal.seconds)
    operation, share = rng.randint(1, max(operations, 1)), rng.random()
    return Fault(
        seed,
        "kill at a file operation"
        if kind == "kill a worker at a file operation" and not in_worker
        else kind,
        command,
        moment=moment,
        operation=operation,
        in_worker=in_worker,
        number=number,
        share=share,
        delay=_SLOWEST * share / max(operations, 1),
    )


def damage(fault: Fault, run: Path) -> Path:
    """Damage a file of a run and return its path.

    Parameters
    ----------
    fault : Fault
        One of the kinds :data:`DAMAGES`.
    run : Path
        Folder of the run that the command reads.
    """
    files = [run / name for name in _RECORDS]
    for store in fault.command.reads:
        files += sorted(path for path in (run / store).rglob("*") if path.is_file())
    place = fault.share * len(files)
    path = files[int(place)]
    within = place - int(place)
    data = bytearray(path.read_bytes())
    if fault.kind == "file removed":
        path.unlink()
    elif fault.kind == "file cut short":
        path.write_bytes(data[: int(within * len(data))])
    else:
        data[int(within * len(data))] ^= 1 << (fault.operation % 8)
        path.write_bytes(data)
    return path
