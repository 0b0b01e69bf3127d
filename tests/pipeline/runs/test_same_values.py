"""Test that the model depends on the values of the data, not on how they are stored."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from gfrnn.pipeline.data import dataset
from gfrnn.pipeline.data.variables.names import QUANTITIES
from gfrnn.pipeline.errors import DataError
from gfrnn.pipeline.runs.new_data import check_matches_model
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_testing.weather import contents, experiment, make_weather

# Tests write consolidated stores as other programs do.
pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata")

NAMES = {
    "geopotential": ("z", "geopotential", "phi"),
    "temperature": ("t", "ta", "air"),
    "mean_sea_level_pressure": ("msl", "psl", "prmsl"),
    "time": ("time", "valid_time"),
    "level": ("level", "plev", "isobaricInhPa"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon"),
}
FORMATS = ("zarr2", "zarr3", "sharded", "NETCDF4", "NETCDF3_64BIT", "yearly files")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, dict[str, str]]:
    """Return data whose values are multiples of 1/8, and the model that they give."""
    folder = tmp_path_factory.mktemp("plain")
    ds = make_weather(folder / "weather.zarr", times=470).ds
    # Packed integers hold such values exactly.
    for name, unit in (("geopotential", 2.0), ("temperature", 0.125)):
        ds[name] = (np.round(ds[name] / unit) * unit).astype("f4").assign_attrs(ds[name].attrs)
    name = "mean_sea_level_pressure"
    ds[name] = (np.round(ds[name] / 2.0) * 2.0).astype("f4").assign_attrs(ds[name].attrs)
    ds.drop_encoding().to_netcdf(folder / "plain.nc")
    return ds, model_of(folder / "plain.nc", folder / "run")


def model_of(source: Path, folder: Path) -> dict[str, str]:
    periods = {
        "train": ["2001-01-01", "2002-01-31"],
        "validation": ["2002-02-01", "2002-03-31"],
        "test": ["2002-04-01", "2002-04-05"],
    }
    run = Run(experiment(source, periods=periods), folder)
    run.fit()
    return contents(run.model)


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, Any]:
    dims = draw(st.permutations(["time", "level", "latitude", "longitude"]))
    return {
        "dims": dims,
        "descending": draw(st.sets(st.sampled_from(["level", "latitude"]))),
        "west": draw(st.booleans()),
        "roll": draw(st.integers(0, 7)),
        "order": draw(
            st.permutations(sorted(set(NAMES) - {"time", "level", "latitude", "longitude"}))
        ),
        "names": {name: draw(st.sampled_from(names)) for name, names in NAMES.items()},
        "format": draw(st.sampled_from(FORMATS)),
        "chunk": draw(st.sampled_from([1, 7, 100, 800])),
        "packed": draw(st.booleans()),
        "pascals": draw(st.booleans()),
    }


def written(ds: xr.Dataset, layout: dict[str, Any], folder: Path) -> Path:
    """Write data in some layout; return the path to give as the source."""
    ds = ds[list(layout["order"])].copy(deep=True)
    for dim in layout["descending"]:
        ds = ds.isel({dim: slice(None, None, -1)})
    if layout["west"]:
        ds = ds.assign_coords(longitude=(ds["longitude"] + 180) % 360 - 180).sortby("longitude")
    else:
        ds = ds.roll(longitude=layout["roll"], roll_coords=True).sortby("longitude")
    if layout["pascals"]:
        ds["level"] = ds["level"].assign_attrs(units="Pa") * 100
        ds["level"].attrs["units"] = "Pa"
    ds = ds.transpose(*layout["dims"]).drop_encoding()
    packing = {
        "geopotential": {"scale_factor": 2.0, "add_offset": 4e4},
        "temperature": {"scale_factor": 0.125, "add_offset": 280.0},
        "mean_sea_level_pressure": {"scale_factor": 2.0, "add_offset": 1e5},
    }
    keys = {
        name: {"dtype": "i2", "_FillValue": -32767, **packing[name]} if layout["packed"] else {}
        for name in packing
    }
    names = layout["names"]
    ds = ds.rename(names)
    encoding: dict[str, dict[str, Any]] = {names[name]: own for name, own in keys.items()}
    kind, chunk = layout["format"], layout["chunk"]
    if kind == "yearly files":
        for year, part in ds.groupby(f"{names['time']}.year"):
            part.to_netcdf(folder / f"{year}.nc", encoding=encoding)
        return folder / "*.nc"
    if kind.startswith("NETCDF"):
        ds.to_netcdf(folder / "a.nc", format=kind, encoding=encoding)
        return folder / "a.nc"
    for name, own in encoding.items():
        sizes = tuple(
            min(chunk, size) if dim == names["time"] else size
            for dim, size in ds[name].sizes.items()
        )
        own["chunks"] = sizes
        if kind == "sharded":
            own["shards"] = tuple(
                2 * size if dim == names["time"] else size
                for dim, size in zip(ds[name].dims, sizes, strict=True)
            )
    ds.to_zarr(folder / "a.zarr", zarr_format=2 if kind == "zarr2" else 3, encoding=encoding)
    return folder / "a.zarr"


def check(plain: tuple[xr.Dataset, dict[str, str]], layout: dict[str, Any]) -> None:
    ds, expected = plain
    folder = Path(tempfile.mkdtemp())
    try:
        assert model_of(written(ds, layout, folder), folder / "run") == expected
    finally:
        shutil.rmtree(folder)


@settings(max_examples=4)
@given(layout=layouts())
def test_the_model_does_not_depend_on_the_layout(
    plain: tuple[xr.Dataset, dict[str, str]], layout: dict[str, Any]
) -> None:
    check(plain, layout)


@pytest.mark.exhaustive
@settings(max_examples=30)
@given(layout=layouts())
def test_the_model_does_not_depend_on_many_layouts(
    plain: tuple[xr.Dataset, dict[str, str]], layout: dict[str, Any]
) -> None:
    check(plain, layout)


def test_checkpoints_of_another_order_of_variables_are_not_used(tmp_path, monkeypatch) -> None:
    """Without ``data.variables``, versions of this program may differ in the order."""
    source = make_weather(tmp_path / "w.zarr", damping=0.95, noise=0.3, times=640).path
    parts = {"data": {"variables": None}, "periods": {"test": ["2002-07-01", "2002-07-10"]}}
    first = Run(experiment(source, **parts), tmp_path / "run")
    first.fit()
    monkeypatch.setattr(dataset, "QUANTITIES", dict(reversed(QUANTITIES.items())))
    other = Run(first.experiment, first.folder)
    assert list(other.ds.data_vars) != list(first.ds.data_vars)
    with pytest.raises(DataError, match="the model has .*, in another order; write data.variables"):
        check_matches_model(other.ds, ForecastModel.load(first.model))
    other.record_file.unlink()
    other.fit()
    fresh = Run(first.experiment, tmp_path / "fresh")
    fresh.fit()
    assert contents(other.model) == contents(fresh.model)
