"""Test the lines of progress in a log."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.workflows.session.progress_display import show_progress


def test_the_time_left_is_that_of_leaves_which_were_computed(monkeypatch: pytest.MonkeyPatch):
    clock, text = [0.0], io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with show_progress(Console(file=text, width=100)) as show:
        show(ProgressUpdate("rows", 0, 1000))
        show(ProgressUpdate("rows", 900, 1000, found=900))
        clock[0] = 30.0
        show(ProgressUpdate("rows", 903, 1000, found=900))
    assert text.getvalue() == "rows: 903 of 1000, 30.0 s, 16m 10s left\n"


def test_rates_in_a_terminal_are_those_of_computed_rows():
    clock, text = [0.0], io.StringIO()
    terminal = Console(file=text, width=120, force_terminal=True, get_time=lambda: clock[0])
    with show_progress(terminal) as show:
        for now, done, found, rows in ((0, 0, 0, 0.0), (10, 1, 0, 1e3), (20, 3, 2, 1e3)):
            clock[0] = now
            show(ProgressUpdate("rows", done, 9, rows=rows, found=found))
        clock[0] = 30.0
        show(ProgressUpdate("rows", 4, 9, rows=2e3, found=2))
    assert "100 rows/s" in text.getvalue()
