"""Test that a model does not depend on the format of its data, nor on who reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from dask.distributed import Client, LocalCluster

from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.archives import opened
from gfrnn_testing.grib_files import write_grib
from gfrnn_testing.reference_sets import write_references
from gfrnn_testing.waves import make_run


def write_icechunk(ds: xr.Dataset, path: Path) -> Path:
    icechunk = pytest.importorskip("icechunk", reason="Icechunk needs the extra icechunk")
    icechunk.set_logs_filter("error")
    made = icechunk.Repository.create(icechunk.local_filesystem_storage(str(path)))
    session = made.writable_session("main")
    ds.to_zarr(session.store, consolidated=False)
    session.commit("all")
    return path


def write_parquet(ds: xr.Dataset, path: Path) -> Path:
    pytest.importorskip("pyarrow", reason="references in Parquet need the extra references")
    return write_references(ds, path)


def write_messages(ds: xr.Dataset, path: Path) -> Path:
    pytest.importorskip("eccodes", reason="GRIB needs the extra grib")
    # The columns of a message are evenly spaced, also across Greenwich.
    degrees = (ds["longitude"] + 180) % 360 - 180
    return write_grib(ds.assign_coords(longitude=degrees).sortby("longitude"), path)


WRITERS: dict[str, Callable[[xr.Dataset, Path], Path]] = {
    "grib": write_messages,
    "json": write_references,
    "parq": write_parquet,
    "icechunk": write_icechunk,
}


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Fit waves in float32 from netCDF."""
    run = make_run(tmp_path_factory.mktemp("waves"))
    path = Path(run.experiment.data.sources[0].path)
    single = xr.load_dataset(path).astype("f4")
    single.to_netcdf(path)
    run.fit()
    return run


@pytest.mark.parametrize(
    "form", [pytest.param(form, marks=[pytest.mark.slow] * (form == "grib")) for form in WRITERS]
)
def test_a_fit_is_the_same(waves: Run, tmp_path: Path, form: str) -> None:
    source = waves.experiment.data.sources[0]
    path = WRITERS[form](xr.load_dataset(source.path), tmp_path / f"a.{form}")
    data = waves.experiment.data.model_copy(
        update={"sources": [source.model_copy(update={"path": str(path)})]}
    )
    run = Run(waves.experiment.model_copy(update={"data": data}), tmp_path / "run")
    run.fit()
    ours, theirs = (zarr.open_group(each.model, mode="r") for each in (run, waves))
    names = [name for name, found in theirs.members(None) if isinstance(found, zarr.Array)]
    assert len(names) > 10
    for name in names:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.cluster
def test_workers_read_all_formats(waves: Run, tmp_path: Path) -> None:
    plain = xr.load_dataset(waves.experiment.data.sources[0].path)
    expected = opened(waves.experiment.data.sources[0].path).load()
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        for form, write in WRITERS.items():
            (tmp_path / form).mkdir()
            ds = opened(write(plain, tmp_path / form / f"a.{form}"))
            found = client.submit(lambda some: some.isel(time=[3, 50]).load(), ds).result()
            xr.testing.assert_equal(found, expected.isel(time=[3, 50]))
