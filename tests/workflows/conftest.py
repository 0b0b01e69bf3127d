"""Define fixtures: runs on a few hundred synthetic days, and the command ``gfrnn``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gfrnn.pipeline.runs.run import Run
from gfrnn.workflows.commands.main import main
from gfrnn_testing.waves import make_run


@pytest.fixture
def untouched(tmp_path: Path) -> Run:
    """Return a run with no stage done."""
    return make_run(tmp_path)


@pytest.fixture
def masked(tmp_path: Path) -> Run:
    """Return a run with no stage done, on data with a mask."""
    return make_run(tmp_path, land=True)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run with all stages done; tests do not change its stores."""
    run = make_run(tmp_path_factory.mktemp("waves"))
    run.fit()
    run.forecast()
    run.verify()
    return run


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Call ``gfrnn reproduce`` in an empty folder and return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr("sys.argv", ["gfrnn", "reproduce", *map(str, words)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out, printed.err

    return call


@pytest.fixture(scope="session")
def commands(tmp_path_factory) -> Path:
    """Return a folder with the command ``gfrnn`` that runs this source tree."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "gfrnn"
    code = (
        'from gfrnn.workflows.commands.main import main\nif __name__ == "__main__":\n    main()\n'
    )
    command.write_text(f"#!{sys.executable}\n{code}")  # as an installer writes it
    command.chmod(0o755)
    return folder


@pytest.fixture
def gfrnn_on_path(commands, monkeypatch) -> None:
    """Put ``gfrnn`` on the PATH of shells and workflow managers."""
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
