"""Set options and define fixtures of all tests."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import settings

from gfrnn_testing.paths import ROOT
from gfrnn_testing.slurm import Slurm, why_not

# Worker processes import test modules by full names such as `tests.pipeline...`, which needs the
# top folder on the path. The packages in it must not be importable by their bare names, since they
# are installed as parts of `gfrnn`.
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
for _bare in ("pipeline", "cluster", "workflows"):
    sys.modules[_bare] = None  # type: ignore[assignment]

# An example may take as long as it does on a machine that is busy with other work. Examples are the
# same each time, so that a failure is one of the change that is tested; `pytest
# --hypothesis-profile=random` looks for new ones.
settings.register_profile("same", settings(), deadline=None, derandomize=True)
settings.register_profile("random", settings(), deadline=None)
settings.load_profile("same")

# Shells let background processes ignore these signals, and all child processes of tests would
# inherit that.
for _number, _usual in (
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Start a real Slurm, and set the environment in which commands find it."""
    if reason := why_not():
        pytest.skip(reason)
    running = Slurm(tmp_path_factory.mktemp("slurm"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        try:
            yield running
        finally:
            running.stop()


_LONGEST = {"test_docs.py", "test_docs_code.py", "test_campaign.py"}

_SLOW_LEFT_OUT = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow the tests that start services of the machine, and exhaustive ones.

    The files that take longest come first, so that several processes end together.
    """
    items.sort(key=lambda item: item.path.name not in _LONGEST)
    for item in items:
        if item.get_closest_marker("slurm") or item.get_closest_marker("exhaustive"):
            item.add_marker(pytest.mark.slow)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count the slow tests that are left out by their marker."""
    if items:
        stash = items[0].config.stash
        slow = sum(item.get_closest_marker("slow") is not None for item in items)
        stash[_SLOW_LEFT_OUT] = stash.get(_SLOW_LEFT_OUT, 0) + slow


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Pass the count to the process that prints the summary, if tests run in several processes."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["slow_left_out"] = session.config.stash.get(_SLOW_LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Use the count of one test process, as each of them collects all tests."""
    found = getattr(node, "workeroutput", {}).get("slow_left_out", 0)
    node.config.stash[_SLOW_LEFT_OUT] = found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests were left out, and why."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        if isinstance(report.longrepr, tuple):
            reasons[str(report.longrepr[2]).removeprefix("Skipped: ")] += 1
    if slow := terminalreporter.config.stash.get(_SLOW_LEFT_OUT, 0):
        reasons["slow: run all with -m 'slow or not slow'"] += slow
    if reasons:
        terminalreporter.section("tests left out")
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count:5d}  {reason}")
