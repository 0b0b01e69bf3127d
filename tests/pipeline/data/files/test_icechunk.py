"""Test reading of Icechunk repositories: versions, and chunks of other files."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.data.fingerprint import fingerprint
from gfrnn.pipeline.data.stored_chunks import stored_chunks
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import make, opened, same

EXPECTED = make(6).rename(z="geopotential", t2m="2m_temperature")


def test_a_repository_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "refs" / "branch.main").mkdir(parents=True)
    (tmp_path / "refs" / "branch.main" / "ref.json").write_text('{"snapshot": "A"}')
    monkeypatch.setitem(sys.modules, "icechunk", None)
    with pytest.raises(DataError, match="an Icechunk repository, .* pip install icechunk"):
        opened(tmp_path)


def test_versions_are_those_of_repositories_only(tmp_path: Path) -> None:
    make(6).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(DataError, match=r"sources\[0\]\.version: v1 is given, .* is no Icechunk"):
        opened({"path": str(tmp_path / "a.nc"), "version": "v1"})


@pytest.fixture
def repository(tmp_path: Path) -> Any:
    """Create a repository with two commits, the first of which has the tag v1."""
    icechunk = pytest.importorskip("icechunk", reason="Icechunk needs the extra icechunk")
    icechunk.set_logs_filter("error")
    made = icechunk.Repository.create(icechunk.local_filesystem_storage(str(tmp_path / "a")))
    for number in range(2):
        session = made.writable_session("main")
        mode = "w" if number else "w-"
        (make(6) + number).to_zarr(session.store, mode=mode, consolidated=False)
        commit = session.commit(f"commit {number}")
        if not number:
            made.create_tag("v1", snapshot_id=commit)
    return made


def test_branches_tags_and_snapshots_are_read(repository: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    same(opened(path), EXPECTED + 1)
    first = repository.lookup_tag("v1")
    for version in ("v1", first):
        found = opened({"path": path, "version": version})
        same(found, EXPECTED)
        some = {"time": [4, 1], "longitude": slice(2, 5)}
        same(pickle.loads(pickle.dumps(found)).isel(some), EXPECTED.isel(some))
    assert {each.file_times for each in stored_chunks(opened(path))} == {6}
    make(6).to_netcdf(tmp_path / "a.nc")
    assert fingerprint(found) == fingerprint(opened(tmp_path / "a.nc"))


def test_a_version_that_is_not_there(repository: Any, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="no branch, tag or snapshot 'v2'; branches: main; tags: v1"
    ):
        opened({"path": str(tmp_path / "a"), "version": "v2"})


def test_commits_do_not_change_opened_data(repository: Any, tmp_path: Path) -> None:
    found = opened(tmp_path / "a")
    session = repository.writable_session("main")
    (make(6) + 7).to_zarr(session.store, mode="w", consolidated=False)
    session.commit("later")
    same(pickle.loads(pickle.dumps(found)), EXPECTED + 1)
    same(opened(tmp_path / "a"), EXPECTED + 7)


def test_chunks_of_other_files_are_read(tmp_path: Path) -> None:
    icechunk = pytest.importorskip("icechunk", reason="Icechunk needs the extra icechunk")
    ds = make(6)[["t2m"]]
    fields = tmp_path / "files" / "fields"
    fields.parent.mkdir()
    fields.write_bytes(np.ascontiguousarray(ds["t2m"].values, "<f4").tobytes())
    place = f"file://{fields.parent}/"
    config = icechunk.RepositoryConfig.default()
    store = icechunk.local_filesystem_store(str(fields.parent))
    config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(place, store))
    repo = icechunk.Repository.create(
        icechunk.local_filesystem_storage(str(tmp_path / "a")), config=config
    )
    repo.save_config()
    session = repo.writable_session("main")
    plain = {"t2m": {"chunks": (1, 4, 8), "compressors": None, "filters": None}}
    empty = xr.full_like(ds, np.nan)
    empty.to_zarr(session.store, consolidated=False, encoding=plain, write_empty_chunks=False)
    size = 4 * 4 * 8
    for time in range(6):
        session.store.set_virtual_ref(
            f"t2m/c/{time}/0/0", f"{place}fields", offset=time * size, length=size
        )
    session.commit("references")
    same(opened(tmp_path / "a"), EXPECTED[["2m_temperature"]])
