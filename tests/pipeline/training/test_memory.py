"""Peak memory is independent of the length of the archive, and never above the estimate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gfrnn_testing import peak
from gfrnn_testing.paths import ROOT, with_support

MIB = 2**20
SLACK = 3 * MIB  # Python's own and the allocator's

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc"
)


def output_of(program: str, *arguments: object) -> str:
    """Return the output of a program, run in a fresh process."""
    # Large arrays go back to the system at once, so that the peak is that of what is held.
    environment = with_support() | {"MALLOC_MMAP_THRESHOLD_": "65536", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", f"gfrnn_testing.{program}", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def measured(kind: str, folder: Path, argument: object) -> tuple[int, int]:
    """Return estimated and needed bytes."""
    projected, needed = map(int, output_of("peak", kind, folder, argument).split())
    return projected, needed


@pytest.mark.slow
def test_the_row_pass_needs_no_more_memory_for_four_times_the_rows(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    projected, short = measured("pass", tmp_path / "a", 8 * peak.LENGTH)
    _, long = measured("pass", tmp_path / "b", 32 * peak.LENGTH)
    # Two more triangles wait in a tree that is two levels deeper.
    triangle = 8 * 340**2
    assert long <= 1.1 * short + 2 * triangle
    assert short >= projected / 2  # something was measured


@pytest.mark.slow
@pytest.mark.parametrize("part", ["leaf", "merge"])
@pytest.mark.parametrize("kind", ["rows", "climatology", "eofs"])
def test_memory_is_not_above_the_estimate(tmp_path, kind, part):
    projected, needed = measured(kind, tmp_path, part)
    assert needed <= projected + SLACK
    assert projected <= 4 * needed  # and the projection refuses nothing that would fit


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [
        "eof",
        "local",
        pytest.param("products", marks=pytest.mark.exhaustive),
        pytest.param("zonal", marks=pytest.mark.exhaustive),
    ],
)
def test_no_task_of_a_fit_needs_more_memory_than_planned_and_none_a_third_of_it(tmp_path, layout):
    lines = output_of("peak_stages", layout, tmp_path).splitlines()
    tasks = {}
    for line in lines:
        name, part, planned, needed = line.split()
        tasks[name, part] = int(planned), int(needed)
    names = {
        "eof": ("eofs", "states", "precision"),
        "local": ("pool", "precision"),
        "products": ("scales", "pool", "precision"),
        "zonal": ("states",),
    }[layout]
    assert {name for name, _ in tasks} == {"climatology", *names, "rows", "solve", "rollouts"}
    for task, (planned, needed) in tasks.items():
        assert needed <= planned + SLACK, task
        # A chunk is counted as if it were stored hardly smaller, and twice.
        assert planned <= 3 * needed + 4 * SLACK, task
