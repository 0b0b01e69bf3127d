"""Measurement of a comparison: each contender in turn, each piece of work in a fresh process."""

from __future__ import annotations

import platform
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np

from gfrnn.workflows.benchmarks.peers.comparison import Comparison, Contender
from gfrnn.workflows.benchmarks.peers.process import Job, JobResult, WorkError, run_in_process
from gfrnn.workflows.benchmarks.peers.results import (
    ComparisonResult,
    Cost,
    PeerResult,
    summarise_errors,
)

Report = Callable[[str], None]

MEAN = "mean of {} forecasts"


def measure(
    comparison: Comparison, quick: bool, rounds: int, report: Report, folder: Path
) -> ComparisonResult:
    """Measure all contenders of a comparison.

    The settings of all are searched first. Then all contenders are fitted in turn, with one seed
    after the other, so that disturbances affect all alike.

    Parameters
    ----------
    comparison : Comparison
    quick : bool
    rounds : int
        Least number of fits of each contender; with fewer seeds, seeds are repeated.
    report : callable
        Called with a line of text before each piece of work.
    folder : Path
        Empty folder for the data and the runs.
    """
    rows = list(_Work(comparison, quick, folder, report).rows(rounds))
    day = datetime.now(UTC).date().isoformat()
    return ComparisonResult(comparison.name, quick, _machine(), day, rows)


@dataclass
class _Work:
    """Measurements of one comparison, as far as they are done."""

    comparison: Comparison
    quick: bool
    folder: Path
    report: Report
    fits: dict[str, list[JobResult]] = field(default_factory=lambda: defaultdict(list))
    files: int = 0

    def rows(self, rounds: int) -> Iterator[PeerResult]:
        """Search, fit in turn, and yield the rows of the table."""
        found = {one.name: _installed(one) for one in self.comparison.contenders}
        made = self.comparison
        if made.prepare and any(not row.gap for row in found.values()):
            self.report(f"{made.name}: data")
            try:
                self._run(Job(made.prepare, "prepare", str(self.folder), self.quick, made.options))
            except WorkError as error:
                reason = f"the data could not be prepared: {error}"
                yield from (replace(row, gap=reason, failed=True) for row in found.values())
                return
        for one in self.comparison.contenders:
            found[one.name] = self._guarded(found[one.name], one, self._search, "search")
        counts = {one.name: self._seeds(one) for one in self.comparison.contenders}
        for turn in range(max(rounds, *counts.values())):
            for one in self.comparison.contenders:
                if turn < max(rounds, counts[one.name]):
                    seed = turn % counts[one.name]

                    def fit(row: PeerResult, one: Contender, seed: int = seed) -> PeerResult:
                        return self._fit(row, one, seed)

                    found[one.name] = self._guarded(found[one.name], one, fit, f"fit {turn + 1}")
        for one in self.comparison.contenders:
            row = found[one.name]
            yield row if row.gap else self._summary(row, one)
            if one.mean and not row.gap and self._seeds(one) > 1:
                yield self._guarded(row, one, self._mean, "mean")

    def _seeds(self, one: Contender) -> int:
        return min(one.seeds, 2) if self.quick else one.seeds

    def _guarded(
        self,
        row: PeerResult,
        one: Contender,
        work: Callable[[PeerResult, Contender], PeerResult],
        what: str,
    ) -> PeerResult:
        """Do some work for a contender without a gap; an error becomes its gap."""
        if row.gap or (what == "search" and not one.searches):
            return row
        self.report(f"{self.comparison.name}: {one.name}, {what}")
        try:
            return work(row, one)
        except WorkError as error:
            return replace(row, gap=f"{what} failed: {error}", failed=True)

    def _run(self, job: Job) -> JobResult:
        self.files += 1
        return run_in_process(job, self.folder / f"job{self.files}.json")

    def _job(self, one: Contender, row: PeerResult, task: str, seed: int = 0) -> Job:
        return Job(
            one.program,
            task,
            str(self.folder),
            self.quick,
            one.options,
            row.setting,
            seed,
            [str(self._array(one, seed))] if task == "fit" and one.mean else [],
        )

    def _array(self, one: Contender, seed: int) -> Path:
        place = self.comparison.contenders.index(one)
        return self.folder / f"forecast{place}_{seed}.npy"

    def _search(self, row: PeerResult, one: Contender) -> PeerResult:
        result = self._run(self._job(one, row, "search"))
        return replace(row, setting=result.setting, search_seconds=_cost(result).seconds)

    def _fit(self, row: PeerResult, one: Contender, seed: int) -> PeerResult:
        self.fits[one.name].append(self._run(self._job(one, row, "fit", seed)))
        return row

    def _summary(self, row: PeerResult, one: Contender) -> PeerResult:
        fits = self.fits[one.name]
        largest = max((_cost(fit) for fit in fits), key=lambda cost: cost.memory)
        mean, spread = summarise_errors([fit.errors for fit in fits[: self._seeds(one)]])
        return replace(
            row,
            fit_seconds=statistics.median(_cost(fit).seconds for fit in fits),
            memory=largest.memory,
            memory_before=largest.before,
            errors=mean,
            spread=spread,
        )

    def _mean(self, row: PeerResult, one: Contender) -> PeerResult:
        """Return the row of the mean of the forecasts of all seeds."""
        count = self._seeds(one)
        arrays = [str(self._array(one, seed)) for seed in range(count)]
        result = self._run(replace(self._job(one, row, "score"), arrays=arrays))
        single = self._summary(row, one)
        assert single.fit_seconds is not None
        return replace(
            single,
            name=f"{row.name}, {MEAN.format(count)}",
            fit_seconds=count * single.fit_seconds,
            errors=result.errors,
            spread={},
        )


def _cost(result: JobResult) -> Cost:
    assert result.cost is not None
    return result.cost


def _installed(one: Contender) -> PeerResult:
    """Return a row with the versions of the packages, or the gap where one is missing."""
    versions, missing = {}, []
    for package in one.packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            missing.append(package)
    gap = f"not installed: {', '.join(missing)}" if missing else ""
    setting = {} if one.searches else dict(one.setting)
    return PeerResult(one.name, one.standing, gap=gap, setting=setting, versions=versions)


def _machine() -> str:
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, Python {platform.python_version()}, NumPy {np.__version__}"
