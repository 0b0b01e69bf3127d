"""Checkpoints on disk: complete or missing."""

from __future__ import annotations

import errno
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.pipeline.reduction.checkpoints import Checkpoints
from gfrnn_core import RFactor


def test_a_partial_leftover_is_not_used(tmp_path):
    checkpoints = Checkpoints(tmp_path / "s")
    arrays = {"x": np.arange(3.0)}
    leftover = tmp_path / "s" / "n" / "k.npz.partial"
    checkpoints.save("n", "k", {"stale": np.zeros(2), **arrays})
    os.rename(tmp_path / "s" / "n" / "k.npz", leftover)
    assert checkpoints.load("n", "k") is None
    assert checkpoints.keys("n") == []
    checkpoints.save("n", "k", arrays)
    found = checkpoints.load("n", "k")
    assert found is not None
    assert list(found) == ["x"]
    assert not leftover.exists()


def test_a_failed_save_leaves_the_earlier_checkpoint_and_no_file(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "s")
    checkpoints.save("n", "k", {"x": np.arange(3.0)})

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", fail)
        with pytest.raises(OSError, match="no space"):
            checkpoints.save("n", "k", {"x": np.arange(4.0)})
    found = checkpoints.load("n", "k")
    assert found is not None
    assert len(found["x"]) == 3
    assert os.listdir(tmp_path / "s" / "n") == ["k.npz"]


def test_saving_again_replaces_the_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path / "s")
    checkpoints.save("n", "k", {"x": np.arange(3.0)})
    checkpoints.save("n", "k", {"y": np.arange(4)})
    found = checkpoints.load("n", "k")
    assert found is not None
    assert list(found) == ["y"]
    assert [p.name for p in (tmp_path / "s" / "n").iterdir()] == ["k.npz"]


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


def no_file(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def other_number(file: Path) -> None:
    """Flip a bit of a value of the triangle, which is still a number afterwards."""
    content = bytearray(file.read_bytes())
    place = content.index(TRIANGLE[0, 1].tobytes())
    content[place] ^= 1
    file.write_bytes(content)


def compressed(file: Path) -> None:
    np.savez_compressed(file, triangle=np.zeros((4, 4)), rows=np.array(20))


def pickled(file: Path) -> None:
    np.savez(file, triangle=np.array([{}], dtype=object))


def other_format(file: Path) -> None:
    with file.open("wb") as opened:
        np.save(opened, TRIANGLE)


def larger_than_the_file(file: Path) -> None:
    """State a shape of 8 PB in the header of an array."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }"
    text = header.ljust(117) + b"\n"
    with zipfile.ZipFile(file, "w") as archive:
        start = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little")
        archive.writestr("triangle.npy", start + text + bytes(64))


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def a_link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


TRIANGLE = RFactor.from_rows(np.random.default_rng(0).standard_normal((20, 4))).triangle


@pytest.mark.parametrize(
    "damage",
    [
        no_file,
        cut,
        empty,
        other_number,
        compressed,
        pickled,
        other_format,
        larger_than_the_file,
        a_folder,
        a_link,
    ],
)
def test_a_damaged_checkpoint_is_named_and_computed_again(tmp_path, damage, caplog):
    caplog.set_level("INFO")
    checkpoints = Checkpoints(tmp_path / "s")
    arrays = {"triangle": TRIANGLE, "rows": np.array(20)}
    checkpoints.save("n", "k", arrays)
    assert checkpoints.load("n", "k") is not None
    file = tmp_path / "s" / "n" / "k.npz"
    damage(file)
    assert checkpoints.load("n", "k") is None
    expected = [] if damage is no_file else [f"the checkpoint {file} is not used, as it is damaged"]
    assert [record.message.partition(" (")[0] for record in caplog.records] == expected
    if damage is a_folder:
        file.rmdir()
    checkpoints.save("n", "k", arrays)
    found = checkpoints.load("n", "k")
    assert found is not None
    np.testing.assert_array_equal(found["triangle"], TRIANGLE)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_changes_what_is_loaded(tmp_path_factory, place, bit):
    checkpoints = Checkpoints(tmp_path_factory.mktemp("flipped"))
    checkpoints.save("n", "k", {"triangle": TRIANGLE, "rows": np.array(20)})
    file = checkpoints.path / "n" / "k.npz"
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    file.write_bytes(content)
    found = checkpoints.load("n", "k")
    if found is not None:  # not all bytes of the format have a meaning
        np.testing.assert_array_equal(found["triangle"], TRIANGLE, strict=True)
        np.testing.assert_array_equal(found["rows"], np.array(20), strict=True)
        assert list(found) == ["triangle", "rows"]


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
