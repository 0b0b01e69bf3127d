"""Test that relative paths of data are found beside the experiment file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gfrnn.pipeline.config.experiment import load_experiment

PERIODS = {"train": ["2001", "2002"], "validation": ["2003", "2003"], "test": ["2004", "2004"]}


def paths(file: Path, *sources: object) -> list[object]:
    data = {"sources": list(sources), "static": ["static.nc"]}
    file.write_text(yaml.safe_dump({"name": "a", "data": data, "periods": PERIODS}))
    loaded = load_experiment(file).data
    assert [source.path for source in loaded.static] == ["static.nc"]
    return [source.path for source in loaded.sources]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work/own").mkdir(parents=True)
    (tmp_path / "files/data").mkdir(parents=True)
    for name in ("files/data/a_1.nc", "files/data/b_1.nc", "work/own/a.nc", "files/data/c [1].nc"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "files"


@pytest.mark.parametrize(
    "path",
    ["data/a_1.nc", "data/*.nc", "data/{a,b}_1.nc", "data/a_*.nc/group", "data/c [1].nc", "./data"],
)
def test_paths_beside_the_file(folder: Path, path: str) -> None:
    assert paths(folder / "experiment.yaml", path) == [str(folder / path)]
    assert paths(folder / "experiment.yaml", {"path": [path, path]}) == [[str(folder / path)] * 2]


@pytest.mark.parametrize(
    "path", ["own/a.nc", "own/*.nc", "elsewhere/a.nc", "/data/a_1.nc", "~/data", "s3://data/a.zarr"]
)
def test_other_paths_stay(folder: Path, path: str) -> None:
    (folder / "own").mkdir()
    (folder / "own/a.nc").touch()
    assert paths(folder / "experiment.yaml", path) == [path]
