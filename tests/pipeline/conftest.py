"""Define fixtures: weather and a model fitted to it, for tests of work after a fit."""

from __future__ import annotations

import pytest

from gfrnn.pipeline.runs.run import Run
from gfrnn_testing.weather import Weather, experiment, make_weather


@pytest.fixture(scope="module")
def weather(tmp_path_factory: pytest.TempPathFactory) -> Weather:
    path = tmp_path_factory.mktemp("weather") / "weather.zarr"
    return make_weather(path, damping=0.95, noise=0.3, times=680)


@pytest.fixture(scope="module")
def fitted(
    request: pytest.FixtureRequest, weather: Weather, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Fit the settings that the test module has as PARTS; tests do not change the result."""
    parts = request.module.PARTS
    run = Run(experiment(weather.path, **parts), tmp_path_factory.mktemp("fitted") / "run")
    run.fit()
    return run
