"""Flip a bit in each array of every store of a run: its readers notice it, or return the same."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gfrnn.pipeline.errors import RunError
from gfrnn.pipeline.forecasting.store_sums import naming_damage
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.ensembles.error_archive import SYSTEMS
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn.pipeline.verification.scores import open_score_subsets, open_scores
from gfrnn.pipeline.verification.statistics_store import open_statistics
from gfrnn_testing.weather import Weather, experiment, finish

PARTS: dict[str, Any] = {
    "periods": {"test": ["2002-07-01", "2002-07-06"]},
    "model": {"width": 8},
    "fit": {"ridge": [1e-3]},
    "forecast": {"horizon": "3d", "members": 2},
}


@pytest.fixture(scope="module")
def run(weather: Weather, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finish(
        Run(experiment(weather.path, **PARTS), tmp_path_factory.mktemp("flipped") / "run")
    )


def read_forecasts(run: Run) -> list[Any]:
    forecasts = run.forecasts()
    with naming_damage(run.forecast_store):
        return contents(forecasts.load())


def read_model(run: Run) -> list[Any]:
    model = ForecastModel.load(run.model)
    initial = np.array(["2002-07-01"], "M8[ns]")
    states = model.rollout(np.ones((1, model.delays, model.layout.size)), initial, 3)
    assert model.errors is not None
    every = np.arange(len(model.errors.usable)), slice(None), slice(None)
    errors = [model.errors.errors(system, *every) for system in SYSTEMS]
    values = [states, model.damping(1), *model.selection.values(), *errors]
    grid, linear = model.layout.scaling.grid, model.linear_walk(states[:, :1], initial, 2)
    values += [grid.latitude, grid.longitude, *(state for state, _ in linear)]
    return [str(model.notes.as_attributes()), repr(model), *(each.tobytes() for each in values)]


def read_scores(run: Run) -> list[Any]:
    return [contents(read(run.score_store)) for read in (open_scores, open_score_subsets)]


def read_statistics(run: Run) -> list[Any]:
    with open_statistics(run.statistics) as ds:
        return contents(ds.load())


def contents(ds: xr.Dataset) -> list[Any]:
    """Return names, dimensions, attributes and values of a Dataset."""
    own = [
        (str(name), each.dims, str(each.attrs), each.dtype.str, each.values.tolist())
        for name, each in sorted(ds.variables.items(), key=lambda item: str(item[0]))
    ]
    return [str(ds.attrs), repr(own)]


READERS: dict[str, Callable[[Run], list[Any]]] = {
    "model.zarr": read_model,
    "forecast.zarr": read_forecasts,
    "statistics.zarr": read_statistics,
    "scores.zarr": read_scores,
}


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_in_any_array_is_noticed_or_changes_nothing(
    run: Run, tmp_path: Path, name: str
) -> None:
    copy = Run.reopen(Path(shutil.copytree(run.folder, tmp_path / "run")))
    read, dice, noticed = READERS[name], random.Random(name), 0
    before = read(copy)
    every = [path for path in sorted((copy.folder / name).rglob("*")) if path.is_file()]
    dice.shuffle(every)
    # The metadata and one chunk of each array, and the metadata of each group.
    files = {str(path.relative_to(copy.folder)).split("/c")[0]: path for path in every}.values()
    for file in files:
        whole = file.read_bytes()
        damaged = bytearray(whole)
        damaged[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        file.write_bytes(damaged)
        try:
            after = read(copy)
        except RunError as error:
            noticed += str(copy.folder / name) in str(error)
        else:
            assert after == before, f"a flipped bit in {file.relative_to(copy.folder)}"
        file.write_bytes(whole)
    assert noticed > len(files) / 2
    assert read(copy) == before
