"""Test the benchmark of the store's chunks, and the least work of forecast and verification."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.verification.scores import open_score_subsets
from gfrnn.workflows.benchmarks.stores import job_bounds, store_chunks, verification_speed
from gfrnn.workflows.benchmarks.stores.store_chunks import READS, StoreSize, accesses
from gfrnn.workflows.commands import bench
from gfrnn.workflows.commands.main import app
from gfrnn_testing.weather import experiment, finish, make_weather

SMALL = StoreSize(starts=2, leads=5, latitudes=8, longitudes=12)


def test_both_layouts_hold_and_read_the_same(tmp_path):
    functions = accesses(tmp_path, SMALL)
    assert len(functions) == 2 * (1 + len(READS))
    for name in SMALL.layouts():
        functions[f"write, {name}"]()
    values = store_chunks.smooth_fields(SMALL)
    assert values.shape == (2, 5, 2, 8, 12)
    for access, selection in READS.items():
        for name in SMALL.layouts():
            np.testing.assert_array_equal(functions[f"{access}, {name}"](), values[selection])


def test_chunks_of_4_mib_fields_are_those_of_the_past():
    layouts = [list(size.layouts()) for size in store_chunks.FULL]
    assert layouts == [["one field", "by size"], ["one field", "by size"], ["by size"]]


def test_the_command_prints_each_access(monkeypatch):
    monkeypatch.setattr(store_chunks, "QUICK", (SMALL,))
    result = CliRunner().invoke(app, ["bench", "store", "--quick", "--rounds", "1"])
    assert result.exit_code == 0, result.output
    for access in ("write", "all leads"):
        assert access in result.output


def test_scores_of_made_up_forecasts_are_finite(tmp_path):
    size = StoreSize(starts=12, leads=3, latitudes=8, longitudes=12)
    made = verification_speed.make_up(tmp_path, size)
    for work in verification_speed.works(tmp_path, made).values():
        work()
    scores = open_score_subsets(tmp_path / "scores.zarr")
    assert list(scores["region"].values) == ["all", "north", "east"]
    assert list(scores["system"].values) == ["forecast", "persistence", "climatology"]
    assert np.isfinite(scores["rmse"]).all()
    assert (scores["pairs"].sel(subset="all") == 12).all()


def test_the_command_compares_scoring_with_decoding(monkeypatch):
    monkeypatch.setattr(verification_speed, "QUICK", SMALL)
    result = CliRunner().invoke(app, ["bench", "verify", "--quick", "--rounds", "1"])
    assert result.exit_code == 0, result.output
    for text in ("decode", "with two regions", "statistics: seconds over decoding"):
        assert text in result.output


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    weather = make_weather(folder / "weather.zarr")
    return finish(Run(experiment(weather.path), folder / "run"))


def test_a_copy_of_the_store_is_equal(run, tmp_path):
    values = job_bounds.stored_values(run.forecast_store)
    job_bounds.write_once(values, run.forecast_store, tmp_path / "copy.zarr")
    copied, original = (zarr.open_group(path, mode="r") for path in
                        (tmp_path / "copy.zarr", run.forecast_store))  # fmt: skip
    assert set(copied) == {"geopotential", "temperature", "mean_sea_level_pressure"}
    for name, array in copied.arrays():
        assert (array.chunks, array.shards) == (original[name].chunks, original[name].shards)
        np.testing.assert_array_equal(array[...], original[name][...])


def test_everything_is_read_once(run, tmp_path, monkeypatch):
    names = {"geopotential", "temperature", "mean_sea_level_pressure"}
    truth = zarr.create_group(tmp_path / "truth.zarr")
    for name in names:
        truth.create_array(name, data=np.zeros((20, 5, 8)))
    counted: dict[tuple[str, str], int] = {}
    real = zarr.Array.__getitem__

    def counts(self, selection):
        values = real(self, selection)
        place = (Path(str(self.store_path.store.root)).name, self.name.strip("/"))
        counted[place] = counted.get(place, 0) + len(values)
        return values

    monkeypatch.setattr(zarr.Array, "__getitem__", counts)
    job_bounds.read_once(run.forecast_store)
    job_bounds.read_data_once(run.forecast_store, tmp_path / "truth.zarr", slice(3, 10))
    starts = zarr.open_group(run.forecast_store, mode="r")["geopotential"].shape[0]
    stored = {("forecast.zarr", name): starts for name in names}
    assert counted == stored | {("truth.zarr", name): 7 for name in names}


def test_rollouts_are_those_of_zonal_models_only(run):
    model = ForecastModel.load(run.model)
    with pytest.raises(TypeError, match="SampledRNN, not ZonalNetwork"):
        job_bounds.roll_out_once(model, 3, 2)


def test_the_job_says_how_to_make_its_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="gfrnn nature runs/nature.zarr --years 8"):
        bench.job(Path("runs/nature.zarr"))
