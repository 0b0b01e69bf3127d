"""Checkpoints on disk: complete or missing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn_core import RFactor


def test_a_partial_leftover_is_not_used(tmp_path):
    checkpoints = Checkpoints(tmp_path / "s")
    arrays = {"x": np.arange(3.0)}
    leftover = tmp_path / "s" / "n" / "k.partial"
    checkpoints.save("n", "k", {"stale": np.zeros(2), **arrays})
    os.rename(tmp_path / "s" / "n" / "k", leftover)
    assert checkpoints.load("n", "k") is None
    checkpoints.save("n", "k", arrays)
    found = checkpoints.load("n", "k")
    assert found is not None
    assert list(found) == ["x"]
    assert not leftover.exists()


def test_saving_again_replaces_the_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path / "s")
    checkpoints.save("n", "k", {"x": np.arange(3.0)})
    checkpoints.save("n", "k", {"y": np.arange(4)})
    found = checkpoints.load("n", "k")
    assert found is not None
    assert list(found) == ["y"]
    assert [p.name for p in (tmp_path / "s" / "n").iterdir()] == ["k"]


@pytest.mark.parametrize(
    "values",
    [
        np.arange(5),
        np.zeros((4, 3)),
        np.full((4, 3), -0.0),
        np.array(7),
        np.zeros((0, 4)),
        np.asfortranarray(np.eye(3, 2)),
    ],
    ids=["whole", "zeros", "negative zeros", "scalar", "empty", "fortran"],
)
def test_arrays_of_every_shape_are_kept(tmp_path, values):
    checkpoints = Checkpoints(tmp_path / "s")
    checkpoints.save("n", "k", {"x": values})
    found = checkpoints.load("n", "k")
    assert found is not None
    assert found["x"].dtype == values.dtype
    np.testing.assert_array_equal(found["x"], values, strict=True)
    assert found["x"].tobytes() == values.tobytes()


def no_chunk(place: Path) -> None:
    (place / "triangle" / "c" / "0" / "0").unlink()


def cut_chunk(place: Path) -> None:
    chunk = place / "triangle" / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-20])


def other_chunk(place: Path) -> None:
    """Replace a chunk by a complete one of other numbers, which a crash may leave."""
    array = zarr.open_array(place / "triangle", mode="r+")
    array[0, 0] = array[0, 0] + 1.0


def no_array_file(place: Path) -> None:
    (place / "triangle" / "zarr.json").unlink()


def no_array(place: Path) -> None:
    shutil.rmtree(place / "rows")


def no_json(place: Path) -> None:
    (place / "zarr.json").write_text('{"zarr_format"')


def no_group(place: Path) -> None:
    (place / "zarr.json").unlink()


def other_attributes(place: Path) -> None:
    """Remove the hashes from the attributes."""
    tree = json.loads((place / "zarr.json").read_text())
    tree["attributes"] = {}
    (place / "zarr.json").write_text(json.dumps(tree))


@pytest.mark.parametrize(
    "damage",
    [
        no_chunk,
        cut_chunk,
        other_chunk,
        no_array_file,
        no_array,
        no_json,
        no_group,
        other_attributes,
    ],
)
def test_a_damaged_checkpoint_is_named_and_computed_again(tmp_path, damage, caplog):
    caplog.set_level("INFO")
    checkpoints = Checkpoints(tmp_path / "s")
    triangle = RFactor.from_rows(np.random.default_rng(0).standard_normal((20, 4))).triangle
    checkpoints.save("n", "k", {"triangle": triangle, "rows": np.array(20)})
    assert checkpoints.load("n", "k") is not None
    damage(tmp_path / "s" / "n" / "k")
    assert checkpoints.load("n", "k") is None
    expected = [] if damage is no_group else [f"the checkpoint {tmp_path}/s/n/k is not used"]
    assert [record.message.partition(" (")[0] for record in caplog.records] == expected
    checkpoints.save("n", "k", {"triangle": triangle, "rows": np.array(20)})
    found = checkpoints.load("n", "k")
    assert found is not None
    np.testing.assert_array_equal(found["triangle"], triangle)


def test_clear_removes_all_checkpoints(tmp_path):
    checkpoints = Checkpoints(tmp_path / "s")
    checkpoints.save("n", "k", {"x": np.arange(3.0)})
    checkpoints.clear()
    assert checkpoints.load("n", "k") is None
    checkpoints.clear()


def test_one_key_or_all_of_a_name_are_removed(tmp_path):
    checkpoints = Checkpoints(tmp_path / "s")
    assert checkpoints.keys("n") == []
    for name, key in (("n", "b"), ("n", "a"), ("m", "a")):
        checkpoints.save(name, key, {"x": np.arange(3.0)})
    assert checkpoints.keys("n") == ["a", "b"]
    checkpoints.remove("n", "a")
    checkpoints.remove("n", "never there")
    assert checkpoints.keys("n") == ["b"]
    checkpoints.remove("n")
    assert checkpoints.keys("n") == []
    assert checkpoints.load("m", "a") is not None
