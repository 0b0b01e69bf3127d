"""Open models that somebody else made: each is read, or refused with our own reason."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_testing.models import make_model
from gfrnn_testing.strange_models import JUNK, places, strange_model


@pytest.fixture
def store(tmp_path) -> Path:
    """Save a model without sums, as whoever changes it can change these too."""
    path = tmp_path / "model.zarr"
    make_model().save(path)
    change(path / "zarr.json", lambda tree: tree["attributes"].pop("sha256"))
    return path


def change(file: Path, how: Any) -> None:
    tree = json.loads(file.read_text())
    how(tree)
    file.write_text(json.dumps(tree))


def refused(store: Path) -> str:
    with pytest.raises(RunError) as error:
        ForecastModel.load(store)
    return str(error.value)


def test_format_2_is_refused_at_any_depth(store, tmp_path):
    old = tmp_path / "old.zarr"
    zarr.create_group(old, zarr_format=2).create_array("latitude", data=np.arange(3.0))
    assert "zarr format 2, whose filters may run code" in refused(old)
    (store / "networks" / ".zarray").write_text("{}")
    assert "networks has zarr format 2" in refused(store)


@pytest.mark.parametrize("name", ["errors", "lagged/c", "layout/other"])
def test_links_are_refused(store, tmp_path, name):
    (tmp_path / "home").mkdir()
    place = store / name
    if place.exists():
        place.rename(tmp_path / "away")
    place.symlink_to(tmp_path / "home")
    assert f"{name} is a link" in refused(store)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("shape", [10**9, 10**9], "lagged has the shape"),
        ("shape", [-1], "lagged has the shape"),
        ("shape", "many", "lagged has the shape"),
        ("data_type", "r999999999", "lagged has the type"),
        ("data_type", {"name": "struct"}, "lagged has the type"),
        ("codecs", [{"name": "numcodecs.pickle"}], "lagged has the codec 'numcodecs.pickle'"),
        ("codecs", None, "lagged has no list of codecs"),
        ("chunk_grid", {"configuration": {"chunk_shape": [2**40]}}, "lagged has the chunks"),
        ("chunk_grid", {"configuration": {"chunk_shape": [0]}}, "lagged has the chunks"),
        ("storage_transformers", [{"name": "x"}], "lagged has storage transformers"),
    ],
)
def test_arrays_are_bounded_before_they_are_allocated(store, key, value, message):
    change(store / "lagged" / "zarr.json", lambda tree: tree.update({key: value}))
    assert message in refused(store)


def test_an_unknown_activation_is_refused(store):
    change(store / "zarr.json", lambda tree: tree["attributes"]["networks"][0].update(
        activation="exec"
    ))  # fmt: skip
    assert "activation: 'exec' is not one of tanh, relu" in refused(store)


def test_an_unknown_sampling_is_refused(store):
    change(store / "zarr.json", lambda tree: tree["attributes"]["networks"][0].update(
        sampling="exec"
    ))  # fmt: skip
    assert "sampling: 'exec' is not one of pairs, uniform_pairs, normal" in refused(store)


@pytest.mark.parametrize("step", ["0s", 0, "-6h", "inf"])
def test_a_step_that_is_no_duration_is_refused(store, step):
    change(store / "zarr.json", lambda tree: tree["attributes"].update(step=step))
    assert "is damaged" in refused(store)


@pytest.mark.parametrize("seed", range(4))
def test_changed_metadata_never_end_in_an_error_of_a_library(store, seed):
    """A changed value is refused with our own error, or the model is read; nothing else happens."""
    dice = random.Random(seed)
    files = sorted(store.rglob("zarr.json"))
    refusals = 0
    for _ in range(60):
        file = dice.choice([store / "zarr.json", *files])
        whole = file.read_text()
        tree = json.loads(whole)
        inside, key = dice.choice(places(tree))
        if dice.random() < 0.2 and isinstance(inside, dict):
            del inside[key]
        else:
            inside[key] = dice.choice(JUNK)
        file.write_text(json.dumps(tree))
        try:
            ForecastModel.load(store)
        except RunError as error:
            refusals += str(store) in str(error)
        file.write_text(whole)
    assert refusals > 20
    ForecastModel.load(store)


@pytest.mark.parametrize("seed", range(12))
def test_models_with_right_checksums_are_used_or_refused(tmp_path, seed):
    """Attributes, values, shapes and types of a model are changed, and its checksums with them."""
    path = tmp_path / "model.zarr"
    make_model().save(path)
    strange_model(path, random.Random(seed))
    try:
        model = ForecastModel.load(path)
    except RunError:
        assert str(path) in refused(path)
        return
    history = np.zeros((1, model.delays, model.layout.size))
    with np.errstate(all="ignore"):
        states = model.rollout(history, np.array(["2004-02-27"], "M8[ns]"), 4)
    assert states.shape == (1, 4, model.layout.size)
