"""Estimates of a fit from given times of tasks, which are the same on every machine."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from gfrnn.pipeline import open_source
from gfrnn.pipeline.config.experiment import Experiment
from gfrnn.pipeline.config.section import checked
from gfrnn.pipeline.errors import ConfigError, ResourceError
from gfrnn.pipeline.forecasting.forecast_store import open_forecasts
from gfrnn.pipeline.planning.fit_estimate import Workforce
from gfrnn.pipeline.planning.plan_fit import TASK_SECONDS, plan_fit
from gfrnn.pipeline.reduction.progress import ProgressUpdate
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.verification import verify as verification
from gfrnn_testing.fixed_times import FixedTimer, rates_of
from gfrnn_testing.reduction_toys import row_summary
from gfrnn_testing.weather import experiment, make_weather, tree
from gfrnn_testing.zonal_weather import write_zonal_weather, zonal_experiment

MIB = 2**20
LOCAL = {"layout": "local", "patch": [2, 2], "halo": [1, 1], "delays": 1}


@pytest.fixture(scope="module")
def weather(tmp_path_factory):
    """Write 800 days of weather in chunks of 100 days."""
    return make_weather(tmp_path_factory.mktemp("weather") / "store.zarr")


def local_experiment(path, **sections):
    return checked(Experiment, tree(path, **sections) | {"state": LOCAL}, "test")


def planned(experiment, workforce=None, rates=None, timer=None):
    workforce, rates, timer = workforce or Workforce(), rates or rates_of(), timer or FixedTimer()
    found = plan_fit(experiment, open_source(experiment.data), workforce, rates, timer)
    return found, {stage.name: stage for stage in found.stages}


def test_the_tasks_are_those_that_a_fit_reports(weather, tmp_path):
    seen: dict[str, int] = {}

    def progress(advance: ProgressUpdate) -> None:
        assert seen.setdefault(advance.name, advance.total) == advance.total

    for config in (experiment(weather.path), local_experiment(weather.path)):
        seen.clear()
        run = Run(config, tmp_path / config.state.layout, progress)
        run.fit()
        _, stages = planned(config)
        assert {name: stage.leaves for name, stage in stages.items()} == seen


def test_kept_bytes_are_those_of_the_triangles_on_disk(weather, tmp_path):
    for config in (experiment(weather.path), local_experiment(weather.path)):
        run = Run(config, tmp_path / config.state.layout)
        run.fit()
        _, stages = planned(config)
        kept = 0
        for file in (run.folder / "summaries.zarr").glob("rows/*.npz"):
            with np.load(file) as fold:
                kept += sum(values.nbytes for name, values in fold.items() if "triangle" in name)
        assert stages["rows"].kept_bytes == kept


def test_every_chunk_of_the_training_period_is_decoded_once_for_the_climatology(weather):
    _, stages = planned(experiment(weather.path))
    # 455 days, cut at the year: chunks of 100 days, of which that with the new year twice.
    assert stages["climatology"].different == 3 * 5
    assert stages["climatology"].chunks == 3 * 6


def test_small_leaves_decode_a_chunk_again_and_again_and_the_key_is_named(weather):
    found, stages = planned(experiment(weather.path, data={"chunk": 10}))
    assert stages["climatology"].chunks >= 9 * stages["climatology"].different
    assert any(
        line.startswith("climatology: each stored chunk is decoded") and "data.chunk" in line
        for line in found.advice
    )
    found, _ = planned(experiment(weather.path, data={"chunk": 100}))
    assert found.advice == ()


def test_time_is_that_of_all_tasks_and_bytes_over_the_rate_of_reading(weather):
    config = experiment(weather.path, data={"chunk": 20})
    _, stages = planned(config, rates=rates_of(1e5), timer=FixedTimer(unit=0.1, merge=7.0))
    for name, times in {"climatology": 455, "eofs": 455}.items():
        stage = stages[name]
        expected = 0.1 * times + 7.0 * stage.merges + stage.decoded_bytes / 1e5
        assert stage.seconds == pytest.approx(expected, rel=1e-6), name
        assert stage.leaf_seconds == pytest.approx(0.1 * 20)
        assert stage.merge_seconds == 7.0


def test_bytes_on_disk_take_the_time_to_write_them(weather):
    config = experiment(weather.path)
    quick, slow = (planned(config, rates=rates_of(keeping=rate))[1] for rate in (1e12, 1e3))
    more = slow["rows"].seconds - quick["rows"].seconds
    assert more == pytest.approx(slow["rows"].kept_bytes / 1e3, rel=1e-6)


def test_more_threads_take_less_time_down_to_the_longest_chain_of_tasks(weather):
    config = experiment(weather.path, data={"chunk": 20})
    stages = [
        planned(config, Workforce(threads), rates_of(1e5), FixedTimer(0.01, 0.1))[1]["climatology"]
        for threads in (1, 2, 4, 10**6)
    ]
    seconds = [stage.seconds for stage in stages]
    assert seconds[0] > seconds[1] > seconds[2] > seconds[3]
    assert seconds[0] / 2 <= seconds[1] < 0.7 * seconds[0]
    assert seconds[3] > seconds[0] / stages[0].leaves  # one leaf, and merges


def test_the_scheduler_limits_the_speed_of_any_number_of_threads(weather):
    _, stages = planned(
        experiment(weather.path, data={"chunk": 1}), Workforce(10**6), rates_of(1e15)
    )
    stage = stages["climatology"]
    assert stage.seconds == pytest.approx(TASK_SECONDS * (stage.leaves + stage.merges), rel=0.1)


def test_candidates_are_counted_together(weather):
    config = experiment(weather.path, search={"model.scale": [0.1, 0.2, 0.3]})
    alone, three = planned(experiment(weather.path))[1], planned(config)[1]
    assert three["rows"].parts == 3
    assert three["rows"].leaves == 3 * alone["rows"].leaves
    assert three["rows"].kept_bytes == 3 * alone["rows"].kept_bytes
    assert three["rows"].leaf_bytes == alone["rows"].leaf_bytes
    assert three["solve"].leaves == 3


def test_the_local_layout_reads_fields_once_for_all_candidates(weather):
    pairs = {"model": {"sampling": "pairs"}}
    config = local_experiment(weather.path, search={"model.seed": [0, 1]}, **pairs)
    alone, two = planned(local_experiment(weather.path, **pairs))[1], planned(config)[1]
    assert two["rows"].chunks == alone["rows"].chunks > 0
    assert two["pool"].parts == 2
    assert two["pool"].decoded_bytes == 2 * alone["pool"].decoded_bytes > 0


@pytest.mark.slow
def test_rows_of_the_local_layout_read_the_times_of_their_targets_too(tmp_path):
    path = make_weather(tmp_path / "store.zarr", chunk=1).path
    _, stages = planned(local_experiment(path, data={"chunk": 50}))
    # The last row of a period is three days before its end, the first of the validation one day
    # before its beginning; each leaf reads three days beyond its rows, of 3 variables.
    rows, moments = stages["rows"], stages["climatology"]
    assert moments.chunks == 3 * 455
    assert rows.chunks == 3 * (455 - 3 + 91 - 2 + 3 * rows.leaves)


def test_noise_needs_memory_for_all_random_numbers_that_are_drawn_together(tmp_path):
    quiet = row_summary(tmp_path, 400)
    noisy = replace(quiet, network=replace(quiet.network, noise=0.1))
    drawn = 2 * 256 * quiet.states.size
    assert noisy.factors_bytes(200) - quiet.factors_bytes(200) >= 8 * drawn


def test_a_plan_that_does_not_fit_is_refused_with_the_message_of_the_fit(weather, tmp_path):
    config = experiment(weather.path, model={"width": 400})
    found, _ = planned(config, Workforce(1, 4 * MIB))
    assert found.refusal is not None
    assert "cluster.memory" in found.refusal
    assert planned(config, Workforce(1, 2**40))[0].refusal is None


def test_a_chunk_that_no_worker_can_decode_is_refused_before_anything_else(weather):
    found, _ = planned(experiment(weather.path), Workforce(1, MIB // 16))
    assert found.refusal is not None
    assert found.refusal.startswith("data: one time needs")
    assert "store smaller chunks" in found.refusal


def test_a_fit_refuses_what_the_plan_refuses(weather, tmp_path, monkeypatch):
    config = experiment(weather.path)
    monkeypatch.setattr(
        "gfrnn.pipeline.reduction.dask_client._memory_of_a_thread", lambda client: MIB // 16
    )
    with pytest.raises(ResourceError) as caught:
        Run(config, tmp_path / "run").fit()
    found, _ = planned(config, Workforce(1, MIB // 16))
    assert found.refusal == str(caught.value)


def test_errors_in_the_experiment_are_those_of_a_fit(weather):
    with pytest.raises(ConfigError, match="model.width"):
        planned(experiment(weather.path, model={"width": 10_000}))


def test_the_size_of_the_forecasts_is_planned(weather, tmp_path):
    """Fields on disk are those of the store before compression."""
    parts = {"forecast": {"members": 3, "batch": 8, "horizon": "4d"}}
    found, _ = planned(experiment(weather.path, **parts))
    run = Run(experiment(weather.path), tmp_path / "run")
    run.fit(), run.forecast()
    store = open_forecasts(run.forecast_store)
    starts, plane = store.sizes["time"], store.sizes["latitude"] * store.sizes["longitude"]
    assert found.forecasts.starts == starts
    assert found.forecasts.leads == 4
    assert found.forecasts.field_bytes == starts * 4 * 3 * 4 * plane * 4
    assert found.forecasts.kept_bytes == found.forecasts.field_bytes
    parts["forecast"]["store"] = False
    online, _ = planned(experiment(weather.path, **parts))
    assert online.forecasts.kept_bytes == 0
    assert online.forecasts.field_bytes == found.forecasts.field_bytes
    assert online.forecasts.task_bytes > 0
    box = {"latitude": [40, 60], "longitude": [0, 40]}
    parts["verification"] = {
        "regions": {f"region{number}": box for number in range(40)},
        "indices": {"east": {"variable": "mean_sea_level_pressure", **box}},
    }
    regions, _ = planned(experiment(weather.path, **parts))
    assert regions.forecasts.task_bytes > online.forecasts.task_bytes


def test_memory_of_scoring_does_not_grow_with_starts_or_members(weather):
    """A task has fewer initial times, the more members there are."""

    def task(**keys):
        own = {"store": False, "batch": 1, "members": 50, **keys}
        config = experiment(weather.path, forecast=own)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(verification, "_TASK_BYTES", MIB)
            return planned(config)[0].forecasts.task_bytes

    usual = task()
    assert task(every="1d") == usual
    assert task(every="3d") <= 1.5 * usual  # other truth for each initial time
    assert task(members=400) <= 1.5 * usual


def test_a_plan_is_plain_values(weather):
    found, _ = planned(experiment(weather.path), rates=rates_of(None))
    whole = json.loads(json.dumps(found.as_dict()))
    assert whole["seconds"] is None
    assert whole["stages"][0]["name"] == "climatology"
    assert whole["forecasts"]["members"] is None


@pytest.mark.parametrize("layout", ["eof", "local", "zonal"])
def test_tasks_of_every_stage_are_timed(weather, tmp_path, layout):
    config = experiment(weather.path)
    if layout == "local":
        config = local_experiment(weather.path, model={"width": 8, "sampling": "pairs"})
    elif layout == "zonal":
        path = write_zonal_weather(tmp_path / "zonal.zarr")
        config = zonal_experiment(path, model={"stages": 2, "noise": "residual"})
    found = plan_fit(config, open_source(config.data), Workforce(2))
    assert found.rates.reading > 0
    for stage in found.stages:
        assert stage.leaf_seconds > 0, stage.name
        assert stage.merge_seconds > 0 or not stage.merges, stage.name


@pytest.mark.parametrize("fill_value", ["NaN", 0.0])
def test_an_archive_of_metadata_alone_is_planned_without_a_rate_of_reading(
    tmp_path, weather, fill_value
):
    store = tmp_path / "empty.zarr"
    make_weather(store)
    for array in ("z", "t", "msl"):
        shutil.rmtree(store / array / "c")
        metadata = store / array / "zarr.json"
        metadata.write_text(
            json.dumps(json.loads(metadata.read_text()) | {"fill_value": fill_value})
        )
    ds, timer = open_source(experiment(store).data), FixedTimer()
    found = plan_fit(experiment(store), ds, Workforce(2), timer=timer)
    assert found.rates.reading is None
    assert found.seconds is None
    full, _ = planned(experiment(weather.path))
    assert [replace(s, seconds=0) for s in found.stages] == [
        replace(s, seconds=0) for s in full.stages
    ]
