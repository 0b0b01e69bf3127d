"""Test the store of the nature run, opened as users do."""

import numpy as np
import pytest
import xarray as xr
import zarr

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.workflows.nature_run import reference_profile, write_nature
from gfrnn_core.systems import TwoLayerQG

DAYS = 20


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Write a short run whose length is not a multiple of its chunks, and record its progress."""
    calls = []
    path = write_nature(
        tmp_path_factory.mktemp("nature") / "deep" / "nature.zarr",
        days=DAYS, seed=7, start="2004-02-20", spinup_days=30, chunk_times=60,
        progress=calls.append,
    )  # fmt: skip
    return path, calls


@pytest.fixture(scope="module")
def store(run):
    with xr.open_zarr(run[0], consolidated=True) as dataset:
        yield dataset.load()


def short(path, **options):
    return write_nature(path, **({"days": 1, "spinup_days": 0} | options))


def test_layout_is_that_of_the_archives(store):
    assert set(store.data_vars) == {"geopotential", "temperature"}
    for name in store.data_vars:
        assert store[name].dims == ("time", "level", "latitude", "longitude")
        assert store[name].shape == (4 * DAYS, 3, 32, 64)
        assert store[name].dtype == np.float32
        assert np.isfinite(store[name]).all()
    np.testing.assert_array_equal(store.level, [250, 500, 750])
    for name in ("latitude", "longitude", "time", "level"):
        assert store.indexes[name].is_monotonic_increasing
    assert store.longitude[0] == 0
    assert store.longitude[-1] < 360
    assert 0 < store.latitude[0] < store.latitude[-1] < 90


def test_time_is_six_hourly_through_the_leap_day(run, store):
    expected = np.datetime64("2004-02-20", "h") + 6 * np.arange(4 * DAYS)
    np.testing.assert_array_equal(store.time.values.astype("datetime64[h]"), expected)
    assert np.datetime64("2004-02-29T18") in store.time.values
    raw = zarr.open_group(run[0], mode="r")["time"]
    assert raw.dtype == np.int64
    assert raw.attrs["units"] == "hours since 1900-01-01"


def test_attributes_follow_cf_and_say_that_it_is_a_model(store):
    units = {"geopotential": "m2 s-2", "temperature": "K", "level": "hPa"}
    units |= {"latitude": "degrees_north", "longitude": "degrees_east"}
    for name, unit in units.items():
        assert store[name].attrs["units"] == unit
        assert store[name].attrs["standard_name"]
        assert store[name].attrs["long_name"]
    assert "not the real one" in store.attrs["comment"]
    assert "quasi-geostrophic" in store.attrs["title"]
    assert store.attrs["seed"] == 7
    assert all(isinstance(value, str | int | float) for value in store.attrs.values())
    assert store.attrs["model_deformation_radius"] == TwoLayerQG().deformation_radius


def test_format_and_chunks(run):
    group = zarr.open_group(run[0], mode="r")
    assert group.metadata.zarr_format == 3
    assert group.metadata.consolidated_metadata is not None
    assert group["geopotential"].chunks == (60, 3, 32, 64)


def test_progress_counts_to_the_end(run):
    assert run[1] == [ProgressUpdate("nature run", done, 80) for done in (60, 80)]


def test_geopotential_is_linear_between_the_layers_and_temperature_hydrostatic(store):
    geopotential, temperature = reference_profile(store.level.values)
    anomaly = store.geopotential - geopotential[:, None, None]
    middle = (anomaly.sel(level=250) + anomaly.sel(level=750)) / 2
    np.testing.assert_allclose(anomaly.sel(level=500), middle, atol=0.05)
    thickness = anomaly.sel(level=250) - anomaly.sel(level=750)
    warmth = store.temperature.sel(level=500) - temperature[1]
    np.testing.assert_allclose(warmth, thickness / 287.05, atol=1e-3)
    assert store.temperature.sel(level=500).isel(latitude=0).mean() > (
        store.temperature.sel(level=500).isel(latitude=-1).mean()
    )


def test_reference_profile_is_the_standard_atmosphere():
    # ISO 2533: 500 hPa at 5574 m and 252.0 K, 250 hPa at 10363 m and 220.8 K.
    geopotential, temperature = reference_profile(np.array([250.0, 500.0]))
    np.testing.assert_allclose(geopotential / 9.80665, [10363, 5574], atol=2)
    np.testing.assert_allclose(temperature, [220.8, 251.9], atol=0.1)


def test_fields_are_the_models_own_at_their_times(store):
    model = TwoLayerQG()
    state = model.step(model.initial(7), 30 * 12)
    state = model.step(state, 61 * 3)
    expected = model.geopotential(state)[0] + reference_profile(np.array([250.0]))[0]
    np.testing.assert_allclose(store.geopotential[61, 0], expected, atol=0.05)


def test_same_seed_same_store_other_seed_other_weather(tmp_path):
    fields = [
        xr.open_zarr(short(tmp_path / f"{i}.zarr", seed=seed)).geopotential.values
        for i, seed in enumerate((1, 1, 2))
    ]
    np.testing.assert_array_equal(fields[0], fields[1])
    assert np.abs(fields[2] - fields[0]).max() > 1


def test_years_are_calendar_years(tmp_path):
    coarse = TwoLayerQG(modes_x=2, modes_y=2, longitudes=7, latitudes=2, dt=21600.0)
    path = write_nature(
        tmp_path / "a.zarr", years=2, start="2003-07-01", spinup_days=0, model=coarse
    )
    time = xr.open_zarr(path).time.values
    assert time.size == 4 * (366 + 365)
    assert time[-1] == np.datetime64("2005-06-30T18")


def test_an_existing_path_is_refused_and_kept(tmp_path):
    path = short(tmp_path / "a.zarr", seed=1)
    before = xr.open_zarr(path).geopotential.values
    with pytest.raises(RunError, match="overwrite"):
        short(path, seed=2)
    np.testing.assert_array_equal(xr.open_zarr(path).geopotential.values, before)
    short(path, seed=2, overwrite=True)
    assert np.abs(xr.open_zarr(path).geopotential.values - before).max() > 1


def test_overwrite_deletes_only_stores(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="no zarr 3 store"):
        short(tmp_path / "results", overwrite=True)
    assert (tmp_path / "results" / "thesis.txt").exists()


def test_an_interrupted_run_leaves_the_old_store_and_nothing_else(tmp_path):
    path = short(tmp_path / "a.zarr", seed=1)
    before = xr.open_zarr(path).geopotential.values

    def stop(advance):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        short(path, seed=2, overwrite=True, progress=stop)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]
    np.testing.assert_array_equal(xr.open_zarr(path).geopotential.values, before)


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / "a.zarr.partial" / "geopotential").mkdir(parents=True)
    short(tmp_path / "a.zarr")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zarr"]


def test_infinite_time_scales_are_written_as_text(tmp_path):
    path = short(tmp_path / "a.zarr", model=TwoLayerQG(drag_days=np.inf))
    assert xr.open_zarr(path).attrs["model_drag_days"] == "inf"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"days": 0}, "days"),
        ({"days": None, "years": 0}, "years"),
        ({"spinup_days": -1}, "spinup_days"),
        ({"chunk_times": 0}, "chunk_times"),
        ({"levels": (500.0, 250.0)}, "levels"),
        ({"levels": (100.0, 500.0)}, "levels"),
        ({"levels": ()}, "levels"),
        ({"start": "yesterday"}, "start"),
        ({"start": "NaT"}, "start"),
        ({"model": TwoLayerQG(dt=5000.0)}, "model"),
    ],
)
def test_bad_arguments_are_named_and_leave_nothing(tmp_path, change, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        short(tmp_path / "a.zarr", **change)
    assert not list(tmp_path.iterdir())
