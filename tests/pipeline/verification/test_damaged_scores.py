"""Damage finished statistics and scores: none that are lost or changed are shown or compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.verification.compare import compare
from gfrnn.pipeline.verification.scores import open_score_subsets, open_scores
from gfrnn.pipeline.verification.statistics_store import open_statistics

PARTS: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-07-06"]},
    "model": {"width": 8},
    "fit": {"ridge": [1e-3]},
    "forecast": {"horizon": "3d", "batch": 3},
}
REMEDY = "is damaged, .*restore it from a copy, or remove it and run `gfrnn verify` again"
READERS: dict[str, list[Callable[[Path], xr.Dataset]]] = {
    "statistics.zarr": [open_statistics],
    "scores.zarr": [open_scores, open_score_subsets],
}


@pytest.fixture(scope="module")
def run(fitted: Run) -> Run:
    fitted.forecast()
    fitted.verify()
    return fitted


@pytest.fixture
def copy(run: Run, tmp_path: Path) -> Run:
    shutil.copytree(run.folder, tmp_path / "run")
    return Run.reopen(tmp_path / "run")


def refused(path: Path, named: str) -> None:
    for read in READERS[path.name]:
        with pytest.raises(RunError, match=REMEDY) as caught:
            read(path)
        assert named in str(caught.value)


@pytest.mark.parametrize("name", READERS)
def test_a_lost_or_changed_file_of_any_array_is_found_and_named(copy: Run, name: str) -> None:
    path, rng = copy.folder / name, np.random.default_rng(0)
    chunks = [
        file for file in sorted(path.rglob("*")) if file.is_file() and file.name != "zarr.json"
    ]
    # One file of each array.
    files = list(
        {file.relative_to(path).as_posix().split("/c")[0]: file for file in chunks}.values()
    )
    assert len(files) > 10
    for file in files:
        whole = file.read_bytes()
        named = f"the array {file.relative_to(path).as_posix().split('/c')[0]}"
        file.unlink()
        refused(path, named)
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        file.write_bytes(damaged)
        refused(path, named)
        file.write_bytes(whole)
    for read in READERS[name]:
        assert "sha256" not in read(path).attrs


def test_changed_attributes_are_found(copy: Run) -> None:
    file = copy.score_store / "zarr.json"
    tree = json.loads(file.read_text())
    tree["attributes"]["first"] = "1900-01-01"
    file.write_text(json.dumps(tree))
    refused(copy.score_store, "its attributes were changed")
    file.write_text("{")
    refused(copy.score_store, "the metadata of the top group are no JSON")


def test_damaged_statistics_are_not_compared_and_made_again_once_removed(
    run: Run, copy: Run
) -> None:
    file = next(each for each in sorted((copy.statistics / "squared_error").rglob("c/**/*"))
                if each.is_file())  # fmt: skip
    file.unlink()
    stores = {"one": run.statistics, "other": copy.statistics}
    with pytest.raises(RunError, match="the array squared_error"):
        compare(stores)
    shutil.rmtree(copy.statistics)
    copy.verify()
    for one, other in ((run.statistics, copy.statistics), (run.score_store, copy.score_store)):
        xr.testing.assert_identical(open_statistics(one).load(), open_statistics(other).load())


def test_stores_of_earlier_versions_have_no_sums_and_are_read(copy: Run) -> None:
    for path, readers in ((copy.statistics, READERS["statistics.zarr"]),
                          (copy.score_store, READERS["scores.zarr"])):  # fmt: skip
        file = path / "zarr.json"
        tree = json.loads(file.read_text())
        del tree["attributes"]["sha256"]
        file.write_text(json.dumps(tree))
        for read in readers:
            read(path)
