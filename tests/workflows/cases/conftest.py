"""Fixtures: a synthetic file of a weather station."""

from __future__ import annotations

from pathlib import Path

import pytest

from gfrnn.workflows.cases.perturbation.perturbation_settings import WeatherData
from gfrnn_testing.station_toys import periodic_wth_table


@pytest.fixture
def station(tmp_path: Path) -> WeatherData:
    """Settings of the weather task on a file in the layout of WTH.csv."""
    periodic_wth_table().to_csv(tmp_path / "WTH.csv", index=False)
    return WeatherData(path=str(tmp_path / "WTH.csv"), train=700, validation=150, ahead=[1, 6])
