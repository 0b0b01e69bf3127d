"""Test that digests of folds notice what changed in them, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.data import fingerprint as module
from gfrnn.pipeline.data.fingerprint import description_digest, fold_digests
from gfrnn_testing.archives import make, opened

# Tests write consolidated stores as other programs do.
pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata")

FOLDS = {"train/1": np.arange(0, 20), "train/2": np.arange(20, 40), "test/3": np.arange(40, 50)}


def digests(path: Path) -> dict[str, str]:
    return fold_digests(opened(path), FOLDS)


def write(path: Path, ds: xr.Dataset) -> Path:
    if path.is_dir():
        shutil.rmtree(path)
    if path.suffix == ".nc":
        path.unlink(missing_ok=True)
        ds.to_netcdf(path)
    else:
        ds.drop_encoding().chunk(time=5).to_zarr(path, zarr_format=3, consolidated=False)
    return path


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [fold for fold in FOLDS if before[fold] != after[fold]]


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
def test_a_changed_fold_is_found_and_no_other(tmp_path: Path, name: str) -> None:
    before = digests(write(tmp_path / name, make(50)))
    assert digests(write(tmp_path / name, make(50))) == before
    ds = make(50)
    ds["t2m"][{"time": slice(25, 29)}] += 0.5
    assert changed(before, digests(write(tmp_path / name, ds))) == ["train/2"]


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
def test_an_archive_may_grow_and_be_copied(tmp_path: Path, name: str) -> None:
    before = digests(write(tmp_path / name, make(50)))
    copy = (shutil.copytree if name == "a.zarr" else shutil.copy)(
        tmp_path / name, tmp_path / f"copy_{name}"
    )
    assert digests(Path(copy)) == before
    assert digests(write(tmp_path / name, make(52))) == before
    described = description_digest(opened(tmp_path / name))
    assert described == description_digest(opened(Path(copy)))


def test_one_changed_value_between_the_samples_changes_a_stored_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few times of a large archive are sampled, but compressed chunks have other sizes."""
    monkeypatch.setattr(module, "_DENSELY", 0)
    monkeypatch.setattr(module, "_IN_ALL", 2)
    before = digests(write(tmp_path / "a.zarr", make(50)))
    ds = make(50)
    ds["t2m"][26] += np.random.default_rng(0).normal(size=ds["t2m"].shape[1:]).astype("f4")
    assert changed(before, digests(write(tmp_path / "a.zarr", ds))) == ["train/2"]


def test_files_of_a_month_have_their_own_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DENSELY", 0)
    monkeypatch.setattr(module, "_IN_ALL", 2)
    for number in range(5):
        part = make(50).isel(time=slice(10 * number, 10 * number + 10))
        write(tmp_path / f"{number}.nc", part)
    before = fold_digests(opened(tmp_path / "*.nc"), FOLDS)
    part = make(50).isel(time=slice(20, 30)).assign_attrs(history="final")
    (tmp_path / "2.nc").unlink()
    part.to_netcdf(tmp_path / "2.nc", encoding={"z": {"zlib": True}}, engine="netcdf4")
    after = fold_digests(opened(tmp_path / "*.nc"), FOLDS)
    assert changed(before, after) == ["train/2"]
