"""A campaign of random faults: each end is compared with that of the same command without one."""

from __future__ import annotations

import math
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from gfrnn.pipeline.storage import check_writable
from gfrnn.workflows.benchmarks.benchmark_tables import plain_table
from gfrnn.workflows.chaos.command_process import (
    CommandProcess,
    EndedCommand,
    kill,
    kill_workers,
    send_signal,
)
from gfrnn.workflows.chaos.comparable_contents import contents, finished_stages
from gfrnn.workflows.chaos.faults import (
    DAMAGES,
    KINDS,
    Fault,
    UndisturbedCommand,
    damage,
    draw_fault,
)
from gfrnn.workflows.chaos.file_faults import FileFault, write_startup
from gfrnn.workflows.chaos.small_runs import (
    SmallCommand,
    command_named,
    copy_begin,
    copy_end,
    remove_runs,
    write_inputs,
)

_REPEATS = 2

GOOD = ("went on", "repeated", "made anew")
BAD = ("lost", "dead end", "unnoticed", "hung", "traceback")
"""Ends of trials; none of the second may occur."""


@dataclass(frozen=True)
class Trial:
    """End of a trial.

    Attributes
    ----------
    fault : Fault
    end : str
        One of :data:`GOOD` and :data:`BAD`.
    detail : str
        What was found, for an end that may not occur.
    seconds : float
    printed : str
        What all its commands have printed.
    """

    fault: Fault
    end: str
    detail: str
    seconds: float
    printed: str

    @property
    def failed(self) -> bool:
        """Whether the end may not occur."""
        return self.end in BAD


class Campaign:
    """Small runs without faults, and trials with one fault each.

    Parameters
    ----------
    folder : Path
        Scratch folder; it must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._work = folder / "work"
        # Ends of two undisturbed runs of each command; trials begin from the second.
        self._ends = [folder / "first", folder / "second"]
        self._startup = folder / "startup"
        self._log = folder / "operations"
        self._undisturbed: dict[str, UndisturbedCommand] = {}
        self._expected: dict[str, dict[str, Any]] = {}
        write_startup(self._startup)
        self._work.mkdir()
        write_inputs(self._work)

    def undisturbed(self, command: SmallCommand) -> UndisturbedCommand:
        """Run a command, and those before it, twice without a fault, if that is not done yet.

        What differs between the two ends is not compared after faults.

        Raises
        ------
        RuntimeError
            If a command fails.
        """
        if command.name not in self._undisturbed:
            if command.after is not None:
                self.undisturbed(command_named(command.after))
            first, second = (self._run_undisturbed(command, ends) for ends in self._ends)
            self._expected[command.name] = {
                key: value if value == first.get(key) else None for key, value in second.items()
            }
        return self._undisturbed[command.name]

    def _run_undisturbed(self, command: SmallCommand, ends: Path) -> dict[str, Any]:
        """Run a command without a fault, keep its end and return the contents of the end."""
        copy_begin(ends, command, self._work)
        counting = self._file_fault("count")
        begin = time.monotonic()
        ended = self._run(command, counting.environment())
        seconds = time.monotonic() - begin
        if ended.code != 0:
            raise RuntimeError(f"{command.name} failed without a fault: {ended.output}")
        self._undisturbed[command.name] = UndisturbedCommand(seconds, *counting.counts())
        copy_end(self._work, ends, command)
        return self._contents(command)

    def trial(self, seed: int) -> Trial:
        """Cause one fault, repeat the command as its user would, and judge the end."""
        fault = draw_fault(seed, self.undisturbed)
        begin = time.monotonic()
        command = fault.command
        copy_begin(self._ends[-1], command, self._work)
        before = self._finished(command)
        damaged = damage(fault, self._work / "run") if fault.kind in DAMAGES else None
        attempts = [self._with_fault(fault)]
        # A damaged record is no record; other faults leave the finished stages finished.
        gone = set() if damaged else before - self._finished(command)
        while attempts[-1].code != 0 and len(attempts) <= _REPEATS:
            attempts.append(self._run(command))
        anew = self._make_anew(command) if damaged and attempts[-1].code != 0 else []
        end, detail = judge(attempts, anew, gone, self._difference(command))
        if damaged and detail:
            detail = f"{damaged.relative_to(self._work)}: {detail}"
        printed = "\n".join(each.output for each in [*attempts, *anew])
        return Trial(fault, end, detail, time.monotonic() - begin, printed)

    def _make_anew(self, command: SmallCommand) -> list[EndedCommand]:
        """Compute what a damaged file belongs to again, and then the command."""
        chain: list[SmallCommand] = []
        name = command.after
        while name is not None:
            chain.insert(0, command_named(name))
            name = chain[0].after
        ended = [self._run(earlier, force=True) for earlier in chain]
        if command.product != "run":
            remove_runs(self._work, keep="run")
        return [*ended, self._run(command)]

    def _with_fault(self, fault: Fault) -> EndedCommand:
        command = fault.command
        match fault.kind:
            case "kill at a file operation" | "kill a worker at a file operation":
                return self._run(command, self._of_files(fault, "kill").environment())
            case "full disk" | "read-only disk":
                return self._run(command, self._of_files(fault, "error").environment())
            case "slow disk":
                return self._run(command, self._of_files(fault, "delay").environment())
            case "clock jump":
                return self._run(command, self._of_files(fault, "clock").environment())
            case "limit of file sizes":
                return self._run(command, largest_file=fault.number)
            case "kill at a moment":
                return self._disturbed(fault, kill)
            case "stop by a signal":
                return self._disturbed(fault, partial(send_signal, fault.number))
            case "kill workers":
                return self._disturbed(fault, partial(kill_workers, fault.number))
            case "two commands at once":
                with self._start(command) as other:
                    time.sleep(fault.moment)
                    both = [self._run(command), other.wait()]
                return next((each for each in both if each.code != 0), both[0])
            case _:
                return self._run(command)

    def _disturbed(self, fault: Fault, act: Callable[[psutil.Process], None]) -> EndedCommand:
        with self._start(fault.command) as process:
            process.disturb(fault.moment, act)
            return process.wait()

    def _of_files(self, fault: Fault, action: str) -> FileFault:
        seconds = fault.seconds if action == "clock" else fault.delay
        return self._file_fault(
            action,
            workers=fault.in_worker,
            operation=fault.operation,
            number=fault.error_number,
            seconds=seconds,
        )

    def _file_fault(self, action: str, **options: Any) -> FileFault:
        shutil.rmtree(self._log, ignore_errors=True)
        self._log.mkdir()
        return FileFault(action, str(self._work), str(self._log), **options)

    def _run(
        self,
        command: SmallCommand,
        environment: Mapping[str, str] | None = None,
        *,
        force: bool = False,
        largest_file: int | None = None,
    ) -> EndedCommand:
        with self._start(command, environment, force=force, largest_file=largest_file) as process:
            return process.wait()

    def _start(
        self,
        command: SmallCommand,
        environment: Mapping[str, str] | None = None,
        *,
        force: bool = False,
        largest_file: int | None = None,
    ) -> CommandProcess:
        arguments = [*command.arguments, *(["--force"] if force else [])]
        return CommandProcess(arguments, self._work, self._startup, environment, largest_file)

    def _contents(self, command: SmallCommand) -> dict[str, Any]:
        return contents([self._work / name for name in command.folders])

    def _difference(self, command: SmallCommand) -> str:
        """Describe the first difference from the end without a fault; empty if there is none."""
        found, expected = self._contents(command), self._expected[command.name]
        for key in sorted(found.keys() | expected.keys()):
            if key not in found:
                return f"{key} is missing"
            if key not in expected:
                return f"{key} is there and should not be"
            if expected[key] is not None and found[key] != expected[key]:
                return f"{key} differs"
        return ""

    def _finished(self, command: SmallCommand) -> set[str]:
        return {
            f"{name}: {stage}"
            for name in command.folders
            for stage in finished_stages(self._work / name)
        }


def judge(
    attempts: Sequence[EndedCommand],
    anew: Sequence[EndedCommand],
    gone: Collection[str],
    difference: str,
) -> tuple[str, str]:
    """Return the end of a trial, one of :data:`GOOD` and :data:`BAD`, and what is wrong with it.

    Parameters
    ----------
    attempts : sequence of EndedCommand
        The command with the fault, and its repetitions.
    anew : sequence of EndedCommand
        Commands that have computed what was damaged again, and the command after them.
    gone : collection of str
        Stages that were finished before the fault and not after it.
    difference : str
        First difference from the end without a fault; empty if there is none.
    """
    every = [*attempts, *anew]
    if gone:
        return "lost", f"finished before and not after: {', '.join(sorted(gone))}"
    if every[-1].code != 0:
        return "dead end", every[-1].last_line
    if difference:
        return "unnoticed", difference
    if hung := [each.last_line for each in every if each.code is None]:
        return "hung", hung[0]
    if traced := [each.last_line for each in every if each.has_traceback]:
        return "traceback", traced[0]
    if anew:
        return "made anew", ""
    return ("went on" if len(attempts) == 1 else "repeated"), ""


def run_campaign(
    minutes: float,
    seed: int | None,
    trials: int | None,
    report: Callable[[str], None],
    folder: Path | None = None,
) -> tuple[Table, bool]:
    """Cause random faults until the time is over.

    Parameters
    ----------
    minutes : float
        Time of the trials, without that of commands that run without a fault; the last one is
        finished.
    seed : int or None
        Seed of the first trial, the next ones follow it; None draws one.
    trials : int or None
        Most trials.
    report : callable
        Receives a line for each trial.
    folder : Path, optional
        Folder for temporary files, which is made if it does not exist; by default that of the
        system. If it is given, what the commands of a trial with an end that may not occur have
        printed is kept there, as ``seed-N.txt``.

    Returns
    -------
    Table
        Ends by kind of fault.
    bool
        Whether an end occurred that may not occur.

    Raises
    ------
    RunError
        If the folder cannot be made or written.
    """
    if folder is not None:
        check_writable(folder, "--folder")
        folder.mkdir(parents=True, exist_ok=True)
    first = random.SystemRandom().randrange(10**6) if seed is None else seed
    done: list[Trial] = []
    with tempfile.TemporaryDirectory(prefix="gfrnn-chaos-", dir=folder) as scratch:
        campaign = Campaign(Path(scratch))
        report("before its first fault, each command runs twice without one")
        most = math.inf if trials is None else trials
        while sum(trial.seconds for trial in done) < 60 * minutes and len(done) < most:
            trial = campaign.trial(first + len(done))
            done.append(trial)
            if trial.failed and folder is not None:
                (folder / f"seed-{trial.fault.seed}.txt").write_text(trial.printed, "utf-8")
            report(
                f"seed {trial.fault.seed}: {trial.fault.describe()}: {trial.end}"
                + (f": {trial.detail}" if trial.detail else "")
                + f" ({trial.seconds:.0f} s)"
            )
    return _table(done), any(trial.failed for trial in done)


def _table(done: list[Trial]) -> Table:
    counts = Counter(trial.end for trial in done)
    failures = ", ".join(f"{counts[end]} {end}" for end in BAD)
    table = plain_table(
        f"{len(done)} random faults: {failures}",
        *("fault", "trials", *GOOD, "failed"),
        text=("fault",),
    )
    for kind in (*KINDS, "all"):
        trials = [trial for trial in done if kind in (trial.fault.kind, "all")]
        ends = Counter(trial.end for trial in trials)
        failed = sum(trial.failed for trial in trials)
        table.add_row(kind, str(len(trials)), *(str(ends[end]) for end in GOOD), str(failed))
    return table
