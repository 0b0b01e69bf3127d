"""Test how the states before forecasts are read."""

from __future__ import annotations

import numpy as np
import pytest

from gfrnn.pipeline.data.dataset import open_source
from gfrnn.pipeline.data.fields import Fields
from gfrnn.pipeline.forecasting import initial_states
from gfrnn.pipeline.forecasting.initial_states import history_bytes, read_history
from gfrnn.pipeline.runs.run import Run
from gfrnn.pipeline.training.model import ForecastModel
from gfrnn_testing.weather import experiment, make_weather


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Fields, ForecastModel]:
    """Return data in chunks of 50 days, and a model that sees two of them."""
    folder = tmp_path_factory.mktemp("weather")
    weather = make_weather(folder / "w.zarr", chunk=50, damping=0.95, noise=0.3)
    run = Run(experiment(weather.path, state={"delays": 2, "modes": 5}), folder / "run")
    run.fit()
    model = ForecastModel.load(run.model)
    return model.fields(open_source(run.experiment.data)), model


STARTS = {
    "successive": np.arange(520, 545),
    "spaced": np.arange(500, 590, 3),
    "far apart": np.array([100, 101, 290, 500, 501, 503]),
    "one": np.array([7]),
}


def windows(fields: Fields, model: ForecastModel, starts: np.ndarray) -> np.ndarray:
    """Return the states before forecasts, each read by itself."""
    parts = [slice(start - 1, start + 1) for start in starts.tolist()]
    return np.stack([
        model.layout.encode(fields.read(part.start, part.stop), fields.time[part])
        for part in parts
    ])  # fmt: skip


@pytest.mark.parametrize("limit", [2**26, 8 * 160 * 7, 1])
@pytest.mark.parametrize("case", STARTS)
def test_states_are_those_of_each_window(trained, monkeypatch, case, limit):
    fields, model = trained
    monkeypatch.setattr(initial_states, "_READ_BYTES", limit)
    found = read_history(fields, model, STARTS[case])
    expected = windows(fields, model, STARTS[case])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def count_reads(monkeypatch) -> list[int]:
    """Return a list that receives the number of times of each read."""
    lengths: list[int] = []
    real = Fields.read

    def counts(self, start, stop, *arguments):
        lengths.append(stop - start)
        return real(self, start, stop, *arguments)

    monkeypatch.setattr(Fields, "read", counts)
    return lengths


def test_spaced_forecasts_take_one_read(trained, monkeypatch):
    fields, model = trained
    lengths = count_reads(monkeypatch)
    read_history(fields, model, STARTS["spaced"])
    assert lengths == [2 * len(STARTS["spaced"])]  # and no time between


def test_a_read_is_as_long_as_planned(trained, monkeypatch):
    fields, model = trained
    monkeypatch.setattr(initial_states, "_READ_BYTES", 8 * fields.grid.size * 10)
    starts = STARTS["spaced"]
    assert history_bytes(fields, starts, 16, 2) <= fields.read_bytes(10)
    lengths = count_reads(monkeypatch)
    read_history(fields, model, starts[:16])
    assert max(lengths) <= 10
    assert sum(lengths) == 32
