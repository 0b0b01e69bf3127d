"""Test that other tools read the forecast store as it is, and what users do next with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.forecasting import forecast_chunks
from gfrnn.pipeline.forecasting.forecast import forecast
from gfrnn.pipeline.runs.run import Run

PARTS: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-07-12"]},
    "model": {"width": 20},
    "forecast": {"horizon": "4d", "batch": 5},
}
VARIABLE = "mean_sea_level_pressure"
PLACES = ["latitude", "longitude"]
LEAD = "prediction_timedelta"

# Warnings of the packages that are tried here concern their own dependencies.
pytestmark = pytest.mark.filterwarnings("ignore")


def package(name: str, origin: str = "the extra interop") -> Any:
    """Import a package, or skip the test."""
    return pytest.importorskip(name, reason=f"needs {name} of {origin}")


@pytest.fixture(scope="module")
def run(fitted) -> Run:
    fitted.forecast()
    return fitted


@pytest.fixture
def store(run) -> xr.Dataset:
    """Open the store as every user does, without any option."""
    return xr.open_zarr(run.forecast_store)


@pytest.fixture
def analysis(run) -> xr.Dataset:
    return open_source(run.experiment.data).load()


@pytest.fixture
def truth(store, analysis) -> xr.DataArray:
    """Return the truth of each pair of initial time and lead."""
    found = analysis[VARIABLE].sel(time=store["valid_time"].load())
    return found.drop_vars("time").assign_coords(time=store["time"])


@pytest.fixture
def rmse(store, truth) -> np.ndarray:
    """Compute the error of each lead by hand."""
    return np.sqrt(((store[VARIABLE].values - truth.values) ** 2).mean(axis=(0, 2, 3)))


# Readers


def test_leads_and_times_decode_without_options(store):
    assert store[LEAD].dtype.kind == "m"
    assert store["valid_time"].dtype.kind == store["time"].dtype.kind == "M"


def test_cf_xarray_finds_axes_and_coordinates(store):
    package("cf_xarray")
    axes = {"X": "longitude", "Y": "latitude", "Z": "level", "T": "valid_time"}
    assert {key: store.cf[key].name for key in axes} == axes
    names = {
        "forecast_reference_time": "time", "forecast_period": LEAD, "time": "valid_time",
        "latitude": "latitude", "longitude": "longitude", "vertical": "level",
        "air_temperature": "temperature", "air_pressure_at_mean_sea_level": VARIABLE,
    }  # fmt: skip
    assert {key: store.cf[key].name for key in names} == names


def test_scores_reads_it(store, truth, rmse):
    continuous = package("scores.continuous", "the extra test")
    found = continuous.rmse(store[VARIABLE], truth, preserve_dims=LEAD)
    np.testing.assert_allclose(found.values, rmse, rtol=1e-5)


def test_xskillscore_reads_it(store, truth, rmse):
    metrics = package("xskillscore")
    # It wants the dimensions of a mean in one chunk.
    found = metrics.rmse(store[VARIABLE].load(), truth, dim=["time", *PLACES])
    np.testing.assert_allclose(found.values, rmse, rtol=1e-5)


@pytest.mark.slow
def test_climpred_reads_it(store, analysis, rmse, monkeypatch):
    climpred = package("climpred")
    accessor = package("cf_xarray.accessor").CFDatasetAccessor
    # It would look up attributes of standard names in a table on the web.
    monkeypatch.setattr(accessor, "add_canonical_attributes", lambda self, **_: self._obj)
    hindcast = climpred.HindcastEnsemble(store[[VARIABLE]].load())
    initialized = hindcast.get_initialized()
    assert {"init", "lead"} <= set(initialized.dims)
    assert initialized["lead"].attrs["units"] == "days"
    hindcast = hindcast.add_observations(analysis[[VARIABLE]])
    found = hindcast.verify(
        metric="mse", comparison="e2o", dim="init", alignment="same_inits", reference=None
    )
    np.testing.assert_allclose(np.sqrt(found[VARIABLE].mean(PLACES).values), rmse, rtol=1e-5)


TIMES = np.array(["2002-07-03", "2002-07-05"], "datetime64[ns]")
LEADS = np.array([24, 72], "timedelta64[h]")


def test_names_are_those_of_weatherbench(store, analysis, truth):
    """Its loaders rename these dimensions, and select times and leads by value."""
    renamed = store.rename({"time": "init_time", LEAD: "lead_time"})
    chunk = renamed.sel(init_time=TIMES, lead_time=LEADS)
    assert chunk["geopotential"].dims == ("init_time", "lead_time", "level", *PLACES)
    np.testing.assert_array_equal(
        chunk["geopotential"].values, store["geopotential"].values[[2, 4]][:, [0, 2]]
    )
    # The targets of a pair are found by the sum of both, under the names of the analysis.
    valid = chunk["init_time"] + chunk["lead_time"]
    targets = analysis[VARIABLE].sel(time=valid)
    np.testing.assert_array_equal(targets.values, truth.values[[2, 4]][:, [0, 2]])
    assert {"geopotential", "temperature", VARIABLE} < set(store.data_vars)
    assert store["level"].values.tolist() == [500, 850]


def test_loader_of_weatherbench_x_reads_it(run, store):
    loaders = package("weatherbenchX.data_loaders.xarray_loaders", "its repository")
    loader = loaders.PredictionsFromXarray(
        path=str(run.forecast_store), variables=["geopotential", VARIABLE]
    )
    chunk = loader.load_chunk(TIMES, LEADS)
    np.testing.assert_array_equal(chunk[VARIABLE].values, store[VARIABLE].values[[2, 4]][:, [0, 2]])


# What users do next


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf"])
def test_to_netcdf(store, tmp_path, engine):
    store.to_netcdf(tmp_path / "out.nc", engine=engine)
    with xr.open_dataset(tmp_path / "out.nc", decode_timedelta=True) as ds:
        xr.testing.assert_equal(ds.load(), store.load())
        assert ds.attrs == store.attrs


SUBSETS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "all": lambda ds: ds,
    "some initial times": lambda ds: ds.isel(time=slice(3, 10)),
    "single initial times": lambda ds: ds.isel(time=[1, 2, 7, 11]),
    "one initial time": lambda ds: ds.isel(time=3),
    "leads": lambda ds: ds.isel(prediction_timedelta=slice(1, 3)),
    "level": lambda ds: ds.sel(level=500),
    "region": lambda ds: ds.sel(latitude=slice(40, 60), longitude=slice(0, 20)),
    "variable": lambda ds: ds[[VARIABLE]],
}


@pytest.mark.parametrize("part", SUBSETS)
def test_to_zarr_of_a_subset(store, tmp_path, part):
    chosen = SUBSETS[part](store)
    chosen.to_zarr(tmp_path / "out.zarr", consolidated=False)
    found = xr.open_zarr(tmp_path / "out.zarr", consolidated=False)
    xr.testing.assert_identical(found.load(), chosen.load())


@pytest.mark.parametrize("chunks", [{"time": 5}, {"prediction_timedelta": 1}, {"latitude": 3}])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_to_zarr_in_other_chunks_and_as_format_2(store, tmp_path, chunks, zarr_format):
    """Encodings hold chunks and codecs of the store; xarray wants them dropped for other ones."""
    chosen = store.isel(time=slice(1, 9)).drop_encoding().chunk(chunks)
    chosen.to_zarr(tmp_path / "out.zarr", zarr_format=zarr_format, consolidated=False)
    found = xr.open_zarr(tmp_path / "out.zarr", consolidated=False)
    xr.testing.assert_identical(found.load(), chosen.load())


def test_to_zarr_of_a_store_with_shards(run, tmp_path, monkeypatch):
    field = 4 * 5 * 8
    monkeypatch.setattr(forecast_chunks, "_CHUNK_BYTES", 4 * field)
    forecast(run.experiment, run.ds, run.model, tmp_path / "forecast.zarr")
    store = xr.open_zarr(tmp_path / "forecast.zarr")
    assert store["geopotential"].encoding["shards"] == (1, 4, 2, 5, 8)
    assert store["geopotential"].encoding["chunks"] == (1, 2, 2, 5, 8)
    store.drop_encoding().to_zarr(tmp_path / "out.zarr", consolidated=False)
    found = xr.open_zarr(tmp_path / "out.zarr", consolidated=False)
    xr.testing.assert_identical(found.load(), store.load())


def test_coordinates_have_no_fill_values(store):
    for array in store.coords.values():
        assert "_FillValue" not in array.encoding
