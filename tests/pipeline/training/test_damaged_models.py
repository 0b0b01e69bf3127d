"""Damage stored models in every array: the damage is named, never used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_testing.models import make_model


@pytest.fixture
def store(tmp_path) -> Path:
    make_model().save(tmp_path / "model.zarr")
    return tmp_path / "model.zarr"


def chunks(store: Path) -> list[Path]:
    return [path for path in store.rglob("c/**/*") if path.is_file()] + [
        path for path in store.rglob("c") if path.is_file()
    ]


def test_a_missing_chunk_of_any_array_is_found_and_named(store):
    files = chunks(store)
    assert len(files) > 15
    for file in files:
        whole = file.read_bytes()
        file.unlink()
        array = str(file.relative_to(store)).partition("/c")[0]
        with pytest.raises(RunError, match="is damaged, the array .* fit the model again") as error:
            ForecastModel.load(store)
        assert f"the array {array} " in str(error.value)
        file.write_bytes(whole)
    ForecastModel.load(store)


def test_a_flipped_bit_in_any_chunk_is_found(store):
    rng = np.random.default_rng(0)
    for file in chunks(store):
        whole = file.read_bytes()
        for place in rng.integers(0, len(whole), 2):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(rng.integers(8))
            file.write_bytes(damaged)
            with pytest.raises(RunError, match="is damaged"):
                ForecastModel.load(store)
        file.write_bytes(whole)


def test_a_missing_array_is_named(store):
    (store / "lagged" / "zarr.json").unlink()
    with pytest.raises(RunError, match="is damaged, the array lagged is missing"):
        ForecastModel.load(store)


@pytest.mark.parametrize("key", ["annual", "step", "channels", "linear", "notes", "networks"])
def test_changed_attributes_are_found(store, key):
    file = store / "zarr.json"
    tree = json.loads(file.read_text())
    tree["attributes"][key] = {"annual": 0, "step": "6h"}.get(key)
    file.write_text(json.dumps(tree))
    with pytest.raises(RunError, match="is damaged, its attributes were changed"):
        ForecastModel.load(store)


def test_a_model_of_an_earlier_version_has_no_sums_and_is_read(store):
    file = store / "zarr.json"
    tree = json.loads(file.read_text())
    del tree["attributes"]["sha256"]
    file.write_text(json.dumps(tree))
    ForecastModel.load(store)
