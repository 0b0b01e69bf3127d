"""Files that a run of a case writes."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from gfrnn.workflows.reproduce import run_case as reproducing
from gfrnn_testing.case_toys import CASE, SILENT, loaded, result


@pytest.fixture
def folder(tmp_path):
    reproducing.reproduce(CASE, loaded(), [0, 1, 2], tmp_path / "out", SILENT, "gfrnn me & you")
    return tmp_path / "out"


def test_the_folder_has_the_files_of_the_result_only(folder):
    names = {"settings.yaml", "table.csv", "result.json", "figure.svg", "index.html"}
    assert {path.name for path in folder.iterdir()} == names
    record = json.loads((folder / "result.json").read_text())
    assert record["seeds"] == [0, 1, 2]
    assert record["versions"]["numpy"] == np.__version__
    assert record["machine"]["cores"] >= 1
    assert "openblas" in record["machine"]["blas"] or record["machine"]["blas"]
    assert yaml.safe_load((folder / "settings.yaml").read_text()) == loaded().values


def test_the_page_is_self_contained_and_escapes_text(folder):
    page = (folder / "index.html").read_text()
    assert "A &lt;toy&gt;" in page
    assert "<toy>" not in page
    assert "gfrnn me &amp; you" in page
    for text in (
        "Noted.",
        "reached",
        "1.50 to 2.50",
        "About it &amp; more.",
        "error &lt;&amp;&gt;",
    ):
        assert text in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    ElementTree.parse(folder / "figure.svg")


def test_a_failed_write_leaves_the_earlier_result(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "mine.txt").write_text("keep")
    monkeypatch.setattr(
        Path, "write_text", partial(_fail_at, Path.write_text, "index.html"), raising=True
    )
    with pytest.raises(OSError, match="no space"):
        reproducing.write_files(folder, dict.fromkeys(before, "new"))
    monkeypatch.undo()
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after == before | {"mine.txt": b"keep"}


def _fail_at(write, name, text, **options):
    raise OSError("no space left")


def test_equal_results_give_equal_figures():
    assert reproducing.draw(result()) == reproducing.draw(result())
