"""Settings and fixtures of all tests."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from gfrnn_testing.paths import ROOT
from gfrnn_testing.slurm import Slurm, why_not

# Worker processes import test modules by their full names, `tests.pipeline...`, for which the top
# folder must be on the path. The bare names of the packages must not be importable from there: they
# are installed as parts of `gfrnn`.
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
for _bare in ("pipeline", "cluster", "workflows"):
    sys.modules[_bare] = None  # type: ignore[assignment]

# Shells have what runs in the background ignore these, and all that tests start would do so too.
for _number, _usual in (
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A real Slurm, which this process and those it starts find by themselves."""
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
