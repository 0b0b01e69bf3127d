"""Print the peak memory of one part of the pipeline, in a process that did nothing else.

Prints the bytes that a part projected and the bytes that resident memory rose by at its peak.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gfrnn.pipeline.reduction.reduce import reduce_stretches
from gfrnn.pipeline.reduction.tree import Stretch, Summary
from gfrnn.pipeline.states.climatology import Climatology, ClimatologySummary, Scaling
from gfrnn.pipeline.states.eof_states import EofSummary
from gfrnn_testing.reduction_toys import cut, fields_of, row_pieces, row_summary

LENGTH = 1500  # rows of a leaf: more than fill its buffer


def status(name: str) -> int:
    """Return a value of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = [line for line in lines if line.startswith(name + ":")]
    return int(found.split()[1]) * 1024


def rise(call: Callable[[], Any]) -> int:
    """Return the rise of resident memory at the peak of a call."""
    # Memory that was freed but is still resident would hide a part of the rise.
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is measured anew from here on
    before = status("VmRSS")
    call()
    return status("VmHWM") - before


def pass_over(folder: Path, rows: int) -> tuple[int, int]:
    """Run the whole row pass at a width of 300."""
    small = row_summary(folder / "small", 40, width=5)
    reduce_stretches(small, row_pieces(small, 20), key="k")  # loads what is loaded only once
    summary = row_summary(folder / "large", rows, width=300, modes=10)
    pieces = row_pieces(summary, LENGTH)
    assert min(p.stop - p.start for p in pieces[:-1]) > 2 * summary.columns
    return summary.leaf_bytes(pieces[0]), rise(lambda: reduce_stretches(summary, pieces, key="k"))


def summary_of(kind: str, folder: Path, times: int) -> Summary:
    if kind == "rows":
        return row_summary(folder / "large", times, width=1000, modes=10)
    rng = np.random.default_rng(0)
    values = rng.standard_normal((times, 3, 40, 120), dtype=np.float32)
    fields = fields_of(values, pd.date_range("2001-01-01", periods=times, freq="h").to_numpy())
    if kind == "climatology":
        return ClimatologySummary(fields, 2, 1)
    climatology = Climatology(0, 0, np.zeros((1, fields.grid.size)), np.ones(3))
    return EofSummary(fields, Scaling(fields.grid, climatology), 100)


def part_of(kind: str, part: str, folder: Path) -> tuple[int, int]:
    """Run one leaf, or one merge of two."""
    times = 7000 if kind == "rows" else 300
    summary = summary_of(kind, folder, times)
    first, second = cut(times - 100, (times - 99) // 2)
    first = Stretch("a", 3, first.stop)
    sides = [summary.leaf(first), summary.leaf(second)]
    summary.merge(*sides)  # once before, for the buffers that a BLAS gets and keeps
    if part == "leaf":
        return summary.leaf_bytes(first), rise(lambda: summary.leaf(first))
    held = sum(values.nbytes for side in sides for values in side.values())
    return summary.merge_bytes(), held + rise(lambda: summary.merge(*sides))


if __name__ == "__main__":
    kind, folder, argument = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    found = pass_over(folder, int(argument)) if kind == "pass" else part_of(kind, argument, folder)
    print(*found)
