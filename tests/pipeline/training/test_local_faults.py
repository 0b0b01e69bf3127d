"""Local layouts that cannot work are refused before work, with the key and what to do."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gfrnn.pipeline.config.experiment import parse_experiment
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.errors import ConfigError, DataError, GfrnnError, ResourceError
from gfrnn.pipeline.forecasting.forecast import _forecast_bytes, load_model
from gfrnn.pipeline.reduction import dask_client
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.checks import training_fields
from gfrnn_testing.spheres import (
    DAYS,
    advected,
    latitudes,
    local_experiment,
    local_tree,
    longitudes,
    write_fields,
)
from gfrnn_testing.weather import refused as weather_refused

NORTH, EAST = latitudes(6, "between"), longitudes(12)
T2M, MSL = "2m_temperature", "mean_sea_level_pressure"


def drift(**fields: np.ndarray) -> dict[str, np.ndarray]:
    return {T2M: advected(6, 12, 1, DAYS), MSL: advected(6, 12, 1, DAYS, seed=1), **fields}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("drift") / "drift.zarr"
    return write_fields(path, drift(), NORTH, EAST)


def refused(kind: type[GfrnnError], folder: Path, source: Path, **sections: Any) -> str:
    """Return the message of a run that is refused before anything is computed."""
    return weather_refused(kind, Run(local_experiment(source, **sections), folder / "run"))


# The file alone


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"state": {"modes": 10}}, ["state.modes", "layout: eof", "is local", "leave the key out"]),
        ({"state": {"layout": "eof", "delays": 1}}, ["state.patch", "layout: local", "is eof"]),
        ({"state": {"inner": [2, 0]}}, ["state.inner: [2, 0]", "more than state.halo, [1, 1]"]),
        ({"state": {"halo": [-1, 0]}}, ["state.halo", "-1", "0 or more"]),
        ({"state": {"patch": [0, 3]}}, ["state.patch", "above 0"]),
        ({"state": {"patch": [2]}}, ["state.patch"]),
        ({"state": {"bands": 0}}, ["state.bands", "above 0"]),
        ({"state": {"weights": "each"}}, ["state.weights", "'shared', 'bands' or 'own'"]),
        ({"model": {"hidden_modes": 3}}, ["model.hidden_modes", "layout: eof", "state.inner"]),
        ({"search": {"state.modes": [3, 4]}}, ["state.modes", "layout: eof"]),
        ({"search": {"state.halo": [[1, 1], [0, -1]]}}, ["halo"]),
        ({"search": {"state.patch": [[1, 1]]}}, ["search.state.patch: cannot be searched"]),
    ],
)
def test_keys_that_do_not_go_together_are_refused(sections, words):
    tree = local_tree("x.zarr", **sections)
    with pytest.raises(ConfigError) as caught:
        parse_experiment(yaml.safe_dump(tree), "my.yaml")
    message = str(caught.value)
    assert message.startswith("my.yaml: ")
    for word in words:
        assert word in message


def test_an_unsearched_key_of_the_other_layout_may_be_written_out_with_its_default():
    """The experiment file in a run's folder holds every default."""
    tree = local_tree("x.zarr", state={"modes": 80})
    assert parse_experiment(yaml.safe_dump(tree)).state.layout == "local"


# The file against the data


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"patch": [7, 3]}, ["state.patch: [7, 3]", "6 latitudes", "at most 6 along latitude"]),
        ({"halo": [1, 5]}, ["state.halo", "13 longitudes", "the globe has 12", "choose a smaller"]),
        ({"halo": [6, 1]}, ["state.halo: 6 latitudes", "6 latitudes", "at most 5"]),
        ({"weights": "bands", "bands": 4}, ["state.bands: 4", "3 rows of patches", "at most 3"]),
        (
            {"weights": "own", "halo": [2, 4], "delays": 4},
            ["state.weights: own", "356 rows", "529 linear terms", "shared weights"],
        ),
        (
            {"weights": "bands", "bands": 3, "patch": [2, 12], "halo": [5, 0], "delays": 2},
            ["state.weights: bands", "358 rows", "577 linear terms", "state.bands"],
        ),
        ({"static": ["latitud"]}, ["latitud: no such static field", "did you mean latitude?"]),
        ({"static": ["land_sea_mask"]}, ["land_sea_mask: no such static field", "data.static"]),
        (
            {"static": ["latitude"], "patch": [6, 3]},
            ["latitude", "at all 4 places", "leave it out"],
        ),
    ],
)
def test_what_does_not_fit_the_data_is_refused_before_work(store, tmp_path, state, words):
    kind = DataError if "static" in state else ConfigError
    message = refused(kind, tmp_path, store, state=state)
    for word in words:
        assert word in message


def test_more_features_than_rows_name_the_width(store, tmp_path):
    message = refused(ConfigError, tmp_path, store, model={"width": 5000})
    assert "model.width: 5000 hidden and 41 other features" in message
    assert "the 4308 rows" in message  # 359 days of 12 patches
    assert "at most 4267" in message


def test_insolation_of_patches_that_surround_the_globe_is_refused(store, tmp_path):
    message = refused(
        DataError, tmp_path, store, model={"inputs": ["insolation"]},
        state={"patch": [2, 12], "halo": [1, 0]},
    )  # fmt: skip
    assert "insolation" in message
    assert "surround the globe" in message


def test_a_candidate_of_a_search_that_does_not_fit_is_refused(store, tmp_path):
    message = refused(ConfigError, tmp_path, store, search={"state.halo": [[1, 1], [1, 5]]})
    assert "state.halo" in message


# The data


def test_a_mask_may_leave_too_few_rows_for_bands(tmp_path):
    """The mask is known once the first and last training time have been read."""
    fields = drift()
    for values in fields.values():
        values[:, :2, 3:] = np.nan  # of the southernmost row of patches only one is left
    source = write_fields(tmp_path / "masked.zarr", fields, NORTH, EAST)
    keys = local_experiment(
        source, state={"weights": "bands", "bands": 3, "halo": [2, 4], "delays": 4}
    )
    run = Run(keys, tmp_path / "run")
    run.check()
    with pytest.raises(ConfigError, match=r"state.weights: bands .* 356 rows"):
        training_fields(keys, run.ds)
    with pytest.raises(ConfigError, match=r"state.weights: bands"):
        run.fit()


def test_a_mask_that_changes_in_time_is_refused_with_its_place(tmp_path):
    fields = drift()
    fields[T2M][:, 3, 4] = np.nan
    fields[T2M][100, 3, 4] = 1.0
    source = write_fields(tmp_path / "changing.zarr", fields, NORTH, EAST)
    run = Run(local_experiment(source), tmp_path / "run")
    with pytest.raises(DataError, match=r"2m_temperature: the mask changes in time: .*2001-04-11"):
        run.fit()
    assert not run.model.exists()


def test_a_missing_value_is_named_and_reaches_no_triangle(tmp_path):
    fields = drift()
    fields[MSL][200, 1, 7] = np.nan
    source = write_fields(tmp_path / "hole.zarr", fields, NORTH, EAST)
    run = Run(local_experiment(source), tmp_path / "run")
    with pytest.raises(DataError, match=r"mean_sea_level_pressure: nan at 2001-07-20.* 210"):
        run.fit()


def test_a_variable_that_never_changes_anywhere_is_refused(tmp_path):
    still = np.broadcast_to(np.arange(12.0), (DAYS, 6, 12))
    source = write_fields(tmp_path / "still.zarr", drift(**{MSL: still}), NORTH, EAST)
    run = Run(local_experiment(source), tmp_path / "run")
    with pytest.raises(DataError, match=r"mean_sea_level_pressure: does not vary.*leave it out"):
        run.fit()


# Memory


@pytest.fixture
def limit(monkeypatch):
    """Return a function that sets the memory of the workers' threads in MiB."""

    def set_limit(mebibytes: float) -> None:
        monkeypatch.setattr(
            dask_client, "_memory_of_a_thread", lambda client: int(2**20 * mebibytes)
        )

    return set_limit


@pytest.mark.parametrize(
    ("sections", "mebibytes", "words"),
    [
        # 360 times of 144 values, three times over.
        ({"data": {"chunk": 400}}, 1.0, ["climatology: a leaf", "lower data.chunk"]),
        # A leaf of a day reads two months more.
        ({"model": {"leads": ["60d"]}, "data": {"chunk": 1}}, 0.3, ["rows: a leaf", "data.chunk"]),
        ({"model": {"width": 900}}, 30.0, ["rows: a", "model.width"]),
        ({"model": {"width": 300}}, 9.0, ["model.width"]),
    ],
)
def test_what_does_not_fit_into_a_worker_names_the_keys_to_change(
    store, tmp_path, limit, sections, mebibytes, words
):
    sections = {**sections, "data": {"sources": [str(store)], **sections.get("data", {})}}
    run = Run(local_experiment(store, **sections), tmp_path / "run")
    limit(mebibytes)
    with pytest.raises(ResourceError) as caught:
        run.fit()
    for word in (*words, "cluster.memory", "MiB"):
        assert word in str(caught.value)
    assert not (run.folder / "summaries.zarr").exists()


def test_a_batch_of_forecasts_that_does_not_fit_names_its_key(store, tmp_path, limit):
    run = Run(local_experiment(store, forecast={"batch": 500}), tmp_path / "run")
    fewer = Run(local_experiment(store, forecast={"batch": 5}), tmp_path / "fewer")
    run.fit(), fewer.fit()
    limit(1.0)
    with pytest.raises(ResourceError, match=r"forecast: .* lower forecast.batch"):
        run.forecast()
    assert not run.forecast_store.exists()
    fewer.forecast()


def test_projected_memory_of_a_batch_is_not_less_than_what_it_takes(store, tmp_path):
    keys = local_experiment(store, model={"leads": ["1d", "4d"]}, forecast={"batch": 20})
    run = Run(keys, tmp_path / "run")
    run.fit()
    projected = 20 * _forecast_bytes(keys, Fields(run.ds))
    load_model(str(run.model))  # once a process
    tracemalloc.start()
    try:
        run.forecast()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < projected + 2**21  # besides, metadata of stores and codecs
