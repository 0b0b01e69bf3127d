"""Define fixtures: weather, an experiment on it, and the command in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from gfrnn.workflows.commands.main import main
from gfrnn_testing.commands import SMALL, Answer
from gfrnn_testing.weather import Weather, make_weather, tree


@pytest.fixture(scope="session")
def weather(tmp_path_factory) -> Weather:
    path = tmp_path_factory.mktemp("weather") / "weather.zarr"
    return make_weather(path, damping=0.95, noise=0.3, times=600)


@pytest.fixture
def file(weather, tmp_path) -> Path:
    """Write an experiment file."""
    path = tmp_path / "turning.yaml"
    path.write_text(yaml.safe_dump(tree(weather.path, **SMALL), sort_keys=False))
    return path


@pytest.fixture
def at_home(tmp_path, monkeypatch) -> Path:
    """Change to an empty working directory."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def said(monkeypatch, capsys):
    """Call the command in this process, including its handling of errors."""

    def call(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["gfrnn", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capsys.readouterr()
        return Answer(int(caught.value.code or 0), printed.out, printed.err)

    return call
