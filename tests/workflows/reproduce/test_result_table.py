"""Tables of results in the terminal, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import re

from rich.console import Console

from gfrnn.workflows.reproduce.result_table import (
    csv_text,
    json_tree,
    terminal_table,
)
from gfrnn_testing.case_toys import result


def test_the_csv_has_every_value_once():
    rows = list(csv.DictReader(io.StringIO(csv_text(result(), [4, 5, 6]))))
    found = {(row["entry"], row["score"], row["seed"]): float(row["value"]) for row in rows}
    assert found["mine", "long", "5"] == 1.0
    assert found["theirs", "error", "6"] == math.inf
    assert found["mine", "training", "6"] == 9.0
    assert found["plain", "error", ""] == 0.7
    assert len(rows) == len(found) == 6 + 6 + 1 + 6


def test_the_json_is_json():
    tree = json.loads(json.dumps(json_tree(result()), allow_nan=False))
    assert tree["entries"][0]["scores"]["long"] == {"median": 2.0, "quartiles": [1.5, 2.5]}
    assert tree["entries"][1]["scores"]["error"]["median"] == "inf"
    assert "long" not in tree["entries"][2]["scores"]
    assert [bar["verdict"] for bar in tree["bars"]] == ["reached", "reached"]


def test_the_terminal_table_fits_a_narrow_terminal():
    console = Console(width=70, record=True, file=io.StringIO())
    console.print(terminal_table(result()))
    text = console.export_text()
    assert re.search(r"mine +│ +2\.00 │ +1\.50 to 2\.50", text)
    assert "∞" in text
    assert text.count("plain") == 1  # only where it was measured
