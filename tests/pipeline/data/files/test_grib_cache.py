"""Test that a GRIB file is indexed once, and that a kept index is never trusted too much."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gfrnn.pipeline.data.files import grib_cache
from gfrnn.pipeline.data.files.grib_cache import grib_variables
from gfrnn_testing.archives import make, opened, same
from gfrnn_testing.grib_files import write_grib

pytest.importorskip("eccodes", reason="GRIB needs the extra grib")

EXPECTED = make(6).rename(z="geopotential", t2m="2m_temperature")


@pytest.fixture
def indexed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep the index of small files too, and list the files that are indexed."""
    paths: list[str] = []
    plain = grib_cache.index_file
    monkeypatch.setattr(grib_cache, "FEWEST", 1)
    monkeypatch.setattr(grib_cache, "index_file", lambda path: paths.append(path) or plain(path))
    return paths


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gfrnn" / "grib"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_grib(make(6), tmp_path / "a.grib")


def in_a_new_process(path: Path) -> None:
    """Open a file as a process does that has not opened it yet, and check its values."""
    grib_variables.cache_clear()
    same(opened(path), EXPECTED)


def test_a_file_is_indexed_once(indexed: list[str], home: Path, path: Path) -> None:
    for _ in range(3):
        in_a_new_process(path)
    assert indexed == [str(path)]
    (kept,) = home.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_file_that_has_changed_is_indexed_again(
    indexed: list[str], home: Path, path: Path
) -> None:
    in_a_new_process(path)
    path.unlink()
    write_grib(make(6).isel(time=slice(None, None, -1)), path)
    os.utime(path, (0, 0))
    in_a_new_process(path)
    assert len(indexed) == 2
    assert len(list(home.iterdir())) == 1  # the new index has the place of the old one


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "pickle"])
def test_a_damaged_index_is_made_again(
    indexed: list[str], home: Path, path: Path, tmp_path: Path, damage: str
) -> None:
    in_a_new_process(path)
    (kept,) = home.iterdir()
    content = kept.read_bytes()
    if damage == "other":
        other = write_grib(make(3), tmp_path / "b.grib")
        opened(other)
        content = next(each for each in home.iterdir() if each != kept).read_bytes()
        indexed.pop()
    elif damage == "pickle":
        content = b"\x80\x04N."
    else:
        content = content[: len(content) // 2 if damage == "cut" else 0]
    kept.write_bytes(content)
    in_a_new_process(path)
    in_a_new_process(path)
    assert len(indexed) == 2


def test_a_folder_that_cannot_be_written_is_no_error(
    indexed: list[str], home: Path, path: Path
) -> None:
    home.parent.parent.mkdir()
    home.parent.write_text("no folder")
    in_a_new_process(path)
    in_a_new_process(path)
    assert len(indexed) == 2


def test_small_files_leave_nothing(home: Path, path: Path) -> None:
    in_a_new_process(path)
    assert not home.exists()
