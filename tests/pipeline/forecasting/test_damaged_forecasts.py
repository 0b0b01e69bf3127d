"""Damage finished forecasts: no chunk that is lost or changed is scored without a word."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.forecasting import forecast as forecast_module
from gfrnn.pipeline.forecasting.netcdf_export import NetcdfExport
from gfrnn.pipeline.forecasting.store_sums import check_sums
from gfrnn.pipeline.reduction.run_tasks import run_tasks
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.verification import verify as verify_module
from gfrnn.pipeline.verification.stored_fields import StoredForecasts

PARTS: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-07-06"]},
    "model": {"width": 8},
    "fit": {"ridge": [1e-3]},
    "forecast": {"horizon": "3d", "batch": 3},
}
REMEDY = "is damaged, .*restore it from a copy, or remove it and run `gfrnn forecast` again"


@pytest.fixture(scope="module")
def run(fitted) -> Run:
    fitted.forecast()
    return fitted


@pytest.fixture
def copy(run, tmp_path) -> Run:
    shutil.copytree(run.folder, tmp_path / "run")
    return Run.reopen(tmp_path / "run")


def chunks(run: Run) -> list[Path]:
    return [path for path in sorted(run.forecast_store.rglob("c/**/*")) if path.is_file()]


def read(run: Run) -> list[np.ndarray]:
    check_sums(run.forecast_store)
    grid = ForecastModel.load(run.model).layout.scaling.grid
    return StoredForecasts(run.forecast_store, grid).read(slice(0, 6), slice(0, 3))


def test_a_missing_file_of_any_array_is_found_and_named(copy):
    files = chunks(copy)
    assert len(files) > 6 * 3
    for file in files:
        whole = file.read_bytes()
        file.unlink()
        name = file.relative_to(copy.forecast_store).parts[0]
        with pytest.raises(RunError, match=f"the array {name} .*{REMEDY[11:]}"):
            check_sums(copy.forecast_store)
        file.write_bytes(whole)
    check_sums(copy.forecast_store)


@pytest.mark.parametrize("array", ["limited", "geopotential"])
def test_files_of_a_killed_worker_are_removed_before_the_sums(copy, monkeypatch, array):
    """Zarr's temporary files of a worker that was killed stay beside those of its successor."""
    left: list[Path] = []

    def killed_once(name: str, *arguments: Any) -> list[Any]:
        results = run_tasks(name, *arguments)
        stores = {"forecast": copy.forecast_store / array, "verify": copy.statistics / "error"}
        left.append(stores[name] / "c" / "0.0123abcd.partial")
        left[-1].write_bytes(b"half")
        return results

    monkeypatch.setattr(forecast_module, "run_tasks", killed_once)
    monkeypatch.setattr(verify_module, "run_tasks", killed_once)
    copy.forecast(force=True)
    copy.verify()
    assert len(left) == 2
    assert not any(path.exists() for path in left)
    for path in left:  # those of a worker that was given up, and ends later
        path.write_bytes(b"half")
    check_sums(copy.forecast_store)
    check_sums(copy.statistics, whole=True)


def test_a_flipped_bit_in_any_array_is_found_when_it_is_read(copy):
    rng, before = np.random.default_rng(0), read(copy)
    for file in chunks(copy):
        whole = file.read_bytes()
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        file.write_bytes(damaged)
        with pytest.raises(RunError, match=REMEDY):
            read(copy)
        file.write_bytes(whole)
    for one, other in zip(before, read(copy), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["time", "prediction_timedelta", "latitude", "valid_time"])
def test_changed_coordinates_are_found(copy, name):
    (file,) = (path for path in (copy.forecast_store / name / "c").rglob("*") if path.is_file())
    whole = bytearray(file.read_bytes())
    whole[-1] ^= 1
    file.write_bytes(whole)
    with pytest.raises(RunError, match=f"files of the array {name}"):
        check_sums(copy.forecast_store)


def test_sums_of_earlier_versions_are_those_of_names_where_an_array_is_several_files(copy):
    folder = copy.forecast_store / "limited"
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    metadata = json.loads((folder / "zarr.json").read_text())
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    digest.update("\n".join(names).encode())
    group = zarr.open_group(copy.forecast_store, mode="r+", use_consolidated=False)
    sums = json.loads(group.attrs["sha256"])
    group.attrs["sha256"] = json.dumps(sums | {"limited": digest.hexdigest()})
    check_sums(copy.forecast_store)
    (folder / names[0]).unlink()
    with pytest.raises(RunError, match="files of the array limited"):
        check_sums(copy.forecast_store)


def test_damaged_forecasts_are_not_verified_and_made_again_once_removed(run, copy):
    file = copy.forecast_store / "geopotential" / "c"
    lost = next(path for path in sorted(file.rglob("*")) if path.is_file())
    lost.unlink()
    with pytest.raises(RunError, match="the array geopotential"):
        copy.verify()
    shutil.rmtree(copy.forecast_store)
    copy.forecast()
    copy.verify()
    for one, other in zip(read(copy), read(run), strict=True):
        np.testing.assert_array_equal(one, other)


def test_damaged_forecasts_are_not_exported(copy):
    fields = sorted(
        file for file in copy.forecast_store.glob("temperature/c/**/*") if file.is_file()
    )
    lost, flipped = fields[0], fields[-1]
    whole = flipped.read_bytes()
    flipped.write_bytes(whole[:-9] + bytes([whole[-9] ^ 4]) + whole[-8:])
    work = NetcdfExport.prepare(copy.folder)
    with pytest.raises(RunError, match=REMEDY):
        work.write()
    assert not list((copy.folder / "netcdf").glob(".*"))
    flipped.write_bytes(whole)
    whole = lost.read_bytes()
    lost.unlink()
    with pytest.raises(
        RunError, match=f"the array {lost.relative_to(copy.forecast_store).parts[0]} "
    ):
        NetcdfExport.prepare(copy.folder)
    lost.write_bytes(whole)
    NetcdfExport.prepare(copy.folder).write()
    assert len(list((copy.folder / "netcdf").glob("*.nc"))) == 6
