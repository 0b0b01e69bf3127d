"""Test virtual references, JSON and Parquet: read as the files are, and what they refer to gone."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest

from gfrnn.pipeline.data.files.references import reference_store
from gfrnn.pipeline.data.fingerprint import fingerprint
from gfrnn.pipeline.data.missing_chunks import missing_chunks
from gfrnn.pipeline.data.stored_chunks import stored_chunks
from gfrnn.pipeline.errors import DataError
from gfrnn_testing.archives import make, opened, same
from gfrnn_testing.reference_sets import write_parquet, write_references

EXPECTED = make(6).rename(z="geopotential", t2m="2m_temperature")


@pytest.fixture(params=["json", "parq"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "parq":
        pytest.importorskip("pyarrow", reason="references in Parquet need the extra references")
    return write_references(make(6), tmp_path / f"a.{request.param}")


def test_references_are_read_as_the_files(path: Path) -> None:
    found = opened(path)
    same(found, EXPECTED)
    some = {"time": [4, 1], "level": [1], "latitude": slice(None, None, 2)}
    same(pickle.loads(pickle.dumps(found)).isel(some), EXPECTED.isel(some))
    assert {each.file_times for each in stored_chunks(found)} == {1}
    assert fingerprint(found) == fingerprint(opened(path.with_suffix(".store")))


def test_files_that_are_gone_are_named(path: Path) -> None:
    (path.with_suffix(".store") / "z" / "3.0.0.0").unlink()
    with pytest.raises(DataError, match=r"1 of the 12 files that it refers to are gone: .*/z/3\.0"):
        opened(path)


def test_a_file_that_goes_while_it_is_in_use_is_no_missing_value(path: Path) -> None:
    found = opened(path)
    (path.with_suffix(".store") / "z" / "3.0.0.0").unlink()
    found["geopotential"].isel(time=2).load()
    with pytest.raises(DataError, match=r"z cannot be read \(Reference .*3\.0\.0\.0"):
        found["geopotential"].isel(time=3).load()


def test_chunks_without_a_reference_are_named(path: Path, tmp_path: Path) -> None:
    assert missing_chunks(opened(path)) == []
    refs = json.loads(write_references(make(6), tmp_path / "b.json").read_text())["refs"]
    del refs["z/4.0.0.0"]  # of which the fill value is NaN
    gappy = tmp_path / f"c{path.suffix}"
    if path.suffix == ".json":
        gappy.write_text(json.dumps({"version": 1, "refs": refs}))
    else:
        write_parquet(refs, gappy)
    ds = opened(gappy)
    (line,) = missing_chunks(ds)
    assert line.startswith(f"geopotential: {gappy}/z has no chunk (4, 0, 0, 0), times 2001-01-02")
    assert missing_chunks(ds, ds["time"].values < np.datetime64("2001-01-02")) == []
    filled = opened({"path": str(gappy), "fill": "value"})
    assert missing_chunks(filled) == []
    gap = filled["geopotential"].isel(time=slice(3, 6)).isnull().all(["latitude", "longitude"])
    assert gap.values.tolist() == [[False] * 2, [True] * 2, [False] * 2]


def test_files_at_urls(tmp_path: Path) -> None:
    write_references(make(6), tmp_path / "a.json", prefix="memory://")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "a.store"), str(tmp_path / "a.store"), recursive=True)
    memory.pipe(f"{tmp_path}/a.json", (tmp_path / "a.json").read_bytes())
    same(opened(tmp_path / "a.json"), EXPECTED)
    same(opened(f"memory://{tmp_path}/a.json"), EXPECTED)
    memory.rm(f"{tmp_path}/a.store/t2m/2.0.0")
    with pytest.raises(DataError, match=r"refers to are gone: memory://.*/t2m/2\.0\.0"):
        opened(tmp_path / "a.json")


@pytest.mark.parametrize(
    "change",
    [
        {"gen": [{"key": "z/{{i}}", "url": "x", "dimensions": {"i": {"stop": 2}}}]},
        {"templates": {"u": "{{ cycler.__init__.__globals__ }}"}},
    ],
    ids=["gen", "expression"],
)
def test_references_that_are_programs_are_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    path = write_references(make(6), tmp_path / "a.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=r"a\.json: references that are generated .* are not read"):
        opened(path)
    with pytest.raises(DataError, match="references that are generated"):
        reference_store(str(path), {})


def test_plain_templates_are_filled_in(tmp_path: Path) -> None:
    path = write_references(make(6), tmp_path / "a.json")
    text = path.read_text().replace(f"{tmp_path}/", "{{folder}}/")
    path.write_text(json.dumps(json.loads(text) | {"templates": {"folder": str(tmp_path)}}))
    same(opened(path), EXPECTED)


def test_parquet_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parq"
    (path / "z").mkdir(parents=True)
    (path / ".zmetadata").write_text('{"metadata": {}, "record_size": 5}')
    (path / "z" / "refs.0.parq").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"a\.parq: references in Parquet, .* pip install pyarrow"):
        opened(path)


def test_references_of_kerchunk_to_netcdf(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    hdf = pytest.importorskip("kerchunk.hdf", reason="kerchunk is not installed")
    combine = pytest.importorskip("kerchunk.combine")
    parts = []
    for number in range(2):
        file = tmp_path / f"{number}.nc"
        encoding = {"z": {"chunksizes": (1, 1, 4, 8), "zlib": True}, "time": {"units": UNITS}}
        part = make(6).isel(time=slice(3 * number, 3 * number + 3))
        part.to_netcdf(file, encoding=encoding, engine="h5netcdf")
        parts.append(hdf.SingleHdf5ToZarr(str(file), inline_threshold=0).translate())
    joined = combine.MultiZarrToZarr(parts, concat_dims=["time"], inline_threshold=0).translate()
    (tmp_path / "a.json").write_text(json.dumps(joined))
    write_parquet(joined["refs"], tmp_path / "a.parq")
    for name in ("a.json", "a.parq"):
        same(opened(tmp_path / name), EXPECTED)
    (tmp_path / "1.nc").unlink()
    with pytest.raises(DataError, match=r"1 of the 2 files that it refers to are gone: .*1\.nc"):
        opened(tmp_path / "a.json")


UNITS = "hours since 2001-01-01"
