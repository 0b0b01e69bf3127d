"""Checkpoints on disk: complete or missing."""

from __future__ import annotations

import errno
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gfrnn.pipeline.reduction.checkpoints import Checkpoints, content_digest
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


def other_values(file: Path) -> None:
    """Write other numbers in the same shape, with right checksums of the format."""
    with np.load(file) as stored:
        arrays = dict(stored)
    np.savez(file, **arrays | {"triangle": arrays["triangle"] + 1})


def compressed(file: Path) -> None:
    """Compress a million zeros, which then are larger than the file."""
    np.savez_compressed(file, **with_digests(zeros=np.zeros((1000, 1000))))


def without_digests(file: Path) -> None:
    np.savez(file, triangle=TRIANGLE, rows=np.array(20))


def overlapping(file: Path) -> None:
    """Let two entries of the directory of the archive lead to the same bytes."""
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
    with zipfile.ZipFile(file, "a") as archive:
        archive.filelist += parts
        archive.writestr("more.npy", b"")


def of_bytes(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("sha256.npy", b"hello")


def of_strings(file: Path) -> None:
    np.savez(file, **with_digests(names=np.array(["a"])))


class Harmful:
    """Unpickling leaves a mark."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(Path(os.environ["MARK"])),))


def with_digests(**arrays: Any) -> dict[str, Any]:
    """Return the arrays with one that states their digests, as a stranger can write it."""
    text = json.dumps({name: content_digest(values) for name, values in arrays.items()})
    return arrays | {"sha256": np.frombuffer(text.encode(), np.uint8)}


def pickled(file: Path) -> None:
    np.savez(file, **with_digests(triangle=np.array([Harmful()], dtype=object)))


def other_format(file: Path) -> None:
    with file.open("wb") as opened:
        np.save(opened, TRIANGLE)


def larger_than_the_file(file: Path) -> None:
    """State a shape of 8 PB in the header of an array of 64 bytes."""
    np.savez(file, **with_digests(triangle=np.zeros(8)))
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    honest = parts["triangle.npy"]
    parts["triangle.npy"] = honest.replace(b"(8,), }" + b" " * 15, b"(1000000000000000,), }")
    assert parts["triangle.npy"] != honest
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


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
        other_values,
        compressed,
        without_digests,
        overlapping,
        of_bytes,
        of_strings,
        pickled,
        other_format,
        larger_than_the_file,
        a_folder,
        a_link,
    ],
)
def test_a_damaged_checkpoint_is_named_and_computed_again(tmp_path, damage, caplog, monkeypatch):
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    caplog.set_level("INFO")
    checkpoints = Checkpoints(tmp_path / "s")
    arrays = {"triangle": TRIANGLE, "rows": np.array(20)}
    checkpoints.save("n", "k", arrays)
    assert checkpoints.load("n", "k") is not None
    file = tmp_path / "s" / "n" / "k.npz"
    damage(file)
    assert checkpoints.load("n", "k") is None
    expected = [] if damage is no_file else [f"the checkpoint {file} is not used"]
    assert [record.message.partition(" (")[0] for record in caplog.records] == expected
    assert not (tmp_path / "mark").exists()
    if damage is a_folder:
        file.rmdir()
    checkpoints.save("n", "k", arrays)
    found = checkpoints.load("n", "k")
    assert found is not None
    np.testing.assert_array_equal(found["triangle"], TRIANGLE)


@pytest.mark.slow
def test_no_flipped_bit_changes_what_is_loaded(tmp_path):
    """All bits but those of the values, of which some are flipped."""
    checkpoints = Checkpoints(tmp_path / "s")
    # More than zipfile reads at once, so that it compares the checksum of a part only at its end.
    triangle = np.random.default_rng(0).standard_normal((80, 80))
    checkpoints.save("n", "k", {"triangle": triangle, "rows": np.array(20)})
    file = tmp_path / "s" / "n" / "k.npz"
    whole = file.read_bytes()
    first = whole.index(triangle.tobytes())
    values = range(first, first + triangle.nbytes)
    places = [*range(first), *values[::1000], *range(values.stop, len(whole))]
    for place in places:
        for bit in range(8):
            content = bytearray(whole)
            content[place] ^= 1 << bit
            file.write_bytes(content)
            found = checkpoints.load("n", "k")
            if found is not None:  # not all bits of the format have a meaning
                assert list(found) == ["triangle", "rows"]
                np.testing.assert_array_equal(found["triangle"], triangle, strict=True)
                np.testing.assert_array_equal(found["rows"], np.array(20), strict=True)


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    checkpoints = Checkpoints(tmp_path / "s")
    checkpoints.save("n", "k", {"x": np.arange(3.0)})

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(np, "load", fail)
        assert checkpoints.load("n", "k") is None
    assert "is not used ([Errno 5] Input/output error)" in caplog.text


def test_too_little_memory_is_no_damage(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "s")
    checkpoints.save("n", "k", {"x": np.arange(3.0)})

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(MemoryError):
        checkpoints.load("n", "k")


@pytest.mark.parametrize(
    "values", [np.array([{}], dtype=object), np.array(["a"], np.dtypes.StringDType())]
)
def test_arrays_that_would_be_pickled_are_not_saved(tmp_path, values):
    checkpoints = Checkpoints(tmp_path / "s")
    with pytest.raises(TypeError, match="the array x has the type"):
        checkpoints.save("n", "k", {"x": values})
    assert checkpoints.keys("n") == []


def test_only_what_looks_like_a_checkpoint_is_removed(tmp_path):
    checkpoints = Checkpoints(tmp_path / "s")
    for key in ("kept", "old"):
        checkpoints.save("n", key, {"x": np.arange(3.0)})
    folder, elsewhere = tmp_path / "s" / "n", tmp_path / "elsewhere"
    (folder / "left.npz.partial").touch()
    (folder / "old.blocks").mkdir()
    (folder / "series").mkdir()
    (folder / "notes.txt").touch()
    elsewhere.mkdir()
    (elsewhere / "mine").touch()
    (folder / "linked.blocks").symlink_to(elsewhere)
    (folder / "linked.npz").symlink_to(elsewhere / "mine")
    checkpoints.keep_only([("n", "kept")])
    names = {"kept.npz", "series", "notes.txt", "linked.blocks", "linked.npz"}
    assert set(os.listdir(folder)) == names
    assert os.listdir(elsewhere) == ["mine"]


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
