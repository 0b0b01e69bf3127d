"""Check the code in the documents: commands and keys exist, and guides work as they are typed.

Tutorials are executed by tests/test_docs.py.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pytest
import typer
import xarray as xr
import yaml

from gfrnn.cluster import ClusterConfig
from gfrnn.pipeline import parse_experiment
from gfrnn.workflows.commands.main import app
from gfrnn_testing.paths import ROOT
from gfrnn_testing.strange_experiments import VALID

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(document: Path, *languages: str) -> list[str]:
    """Return the blocks of code in these languages."""
    text = document.read_text(encoding="utf-8")
    found = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.S | re.M)
    return [code for language, code in found if language in languages]


def block(document: Path, start: str) -> str:
    """Return the only block of code that starts with this text."""
    (found,) = (each for each in blocks(document, "sh", "python") if each.startswith(start))
    return found


def typed_commands(document: Path) -> list[list[str]]:
    """Return the words of each command `gfrnn ...` in the blocks of shell code of a document."""
    commands: list[list[str]] = []
    for code in blocks(document, "sh", "bash"):
        without_files = re.sub(r"<<'END'\n.*?^END$", "", code, flags=re.S | re.M)
        for line in without_files.replace("\\\n", " ").splitlines():
            words = shlex.shlex(line, posix=True, punctuation_chars=";|&")
            words.whitespace_split = True
            command: list[str] = []
            for word in [*words, ";"]:
                if set(word) <= set(";|&"):
                    names = [Path(each).name for each in command]
                    if "gfrnn" in names:
                        commands.append(command[names.index("gfrnn") + 1 :])
                    command = []
                else:
                    command.append(word)
    return commands


COMMANDS = [
    pytest.param(words, id=f"{document.name}: {' '.join(words)}")
    for document in DOCUMENTS
    for words in typed_commands(document)
]


@pytest.mark.parametrize("words", COMMANDS)
def test_typed_commands_and_their_options_exist(words: list[str]) -> None:
    command, rest = typer.main.get_command(app), words
    context = click.Context(command, info_name="gfrnn")
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name, command, rest = command.resolve_command(context, rest)
        assert name is not None
        assert command is not None
        context = click.Context(command, info_name=name, parent=context)
    command.make_parser(context).parse_args(args=list(rest))


def test_commands_are_found_in_documents():
    assert len(COMMANDS) > 40


@pytest.mark.parametrize("text", blocks(ROOT / "docs" / "cluster.md", "yaml"))
def test_cluster_files_of_the_documents_are_valid(text: str) -> None:
    assert ClusterConfig.model_validate(yaml.safe_load(text)).kind


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(text, id=f"{document.name}-{number}")
        for document in DOCUMENTS
        if document.name != "cluster.md"
        for number, text in enumerate(blocks(document, "yaml"))
    ],
)
def test_experiments_of_the_documents_are_valid(text: str) -> None:
    parts = yaml.safe_load(text)
    tree: dict[str, Any] = VALID | parts
    if "data" in parts:
        tree["data"] = VALID["data"] | parts["data"]
    assert parse_experiment(yaml.safe_dump(tree), "block.yaml").name


# --- guides ---------------------------------------------------------------------------------------

EXPERIMENT = """
name: my
data: {sources: ['era5/*.nc']}
periods:
  train: [2013-01-01, 2017-12-31]
  validation: [2018-01-01, 2018-12-31]
  test: [%s, %s]
state: {modes: 6}
model: {width: 30}
forecast: {horizon: 10d}
"""
"""The experiment my.yaml of the guides, with its test period left open."""

ELSEWHERE = {
    "benchmarks.md": "tests/workflows/benchmarks",
    "cases.md": "tests/workflows/cases",
    "cluster.md": "tests/cluster and tests/workflows/scripts, with the real batch system",
    "commands.md": "the help of each command",
    "index.md": "README.md has the same code",
    "modes.md": "tests/test_enso.py",
    "verification.md": "tutorials/other_forecasts.md, with the same commands",
}
"""Documents whose code is not executed here, and what executes it."""

FORECASTS, RUN_FOLDER, WORKFLOWS = (
    ROOT / "docs" / name for name in ("forecasts.md", "run_folder.md", "workflows.md")
)
TUTORIALS = {place.name for place in (ROOT / "docs" / "tutorials").glob("*.md")}
HERE = {"README.md", "forecasts.md", "library.md", "run_folder.md", "scores.md", "workflows.md"}


def test_all_documents_with_code_are_executed_here_or_elsewhere():
    with_code = {place.name for place in DOCUMENTS if blocks(place, "sh", "bash", "python")}
    assert with_code - TUTORIALS - HERE - set(ELSEWHERE) == set()


def write_month(folder: Path, first: str, last: str, name: str) -> None:
    """Write daily geopotential on 6 x 8 cells, of travelling waves with noise, as one file."""
    times = pd.date_range(f"{first}T12", f"{last}T12", freq="1D")
    days = (times - pd.Timestamp("2000-01-01")).days.to_numpy()[:, None, None]
    longitude = np.arange(0.0, 360.0, 45.0)
    phase = np.deg2rad(longitude) - 2 * np.pi * days / 12.0
    noise = np.random.default_rng(days[0, 0, 0]).normal(size=(len(times), 6, 8))
    fields = 54000.0 + 800.0 * np.sin(phase + np.arange(6)[:, None]) + 200.0 * noise
    xr.Dataset(
        {"z": (("time", "latitude", "longitude"), fields.astype("f4"), {
            "units": "m2 s-2", "standard_name": "geopotential"})},
        {"time": times, "latitude": np.linspace(60.0, 35.0, 6), "longitude": longitude,
         "level": ((), 500, {"units": "hPa"})},
    ).to_netcdf(folder / name)  # fmt: skip


def write_archive(folder: Path) -> None:
    """Write the archive of the guides, from 2013 to 1 April 2021, in a new folder ``era5``."""
    folder = folder / "era5"
    folder.mkdir()
    for year in range(2013, 2021):
        write_month(folder, f"{year}-01-01", f"{year}-12-31", f"{year}.nc")
    write_month(folder, "2021-01-01", "2021-01-31", "2021-01.nc")
    write_month(folder, "2021-02-01", "2021-02-28", "2021-02.nc")
    write_month(folder, "2021-03-01", "2021-03-31", "2021-03.nc")
    write_month(folder, "2021-04-01", "2021-04-01", "2021-04.nc")


def execute(code: str, folder: Path, language: str = "sh") -> None:
    """Execute a block of code in this folder; fail with its output if it fails."""
    program = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[language]
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [*program, code],
        cwd=folder,
        env={**os.environ, "PATH": programs},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.cluster
def test_guides_on_a_finished_run_work_as_they_are_typed(tmp_path: Path) -> None:
    write_archive(tmp_path)
    test_period = ("2021-03-28", "2021-04-01")
    (tmp_path / "my.yaml").write_text(EXPERIMENT % test_period, encoding="utf-8")
    (readme,) = blocks(ROOT / "README.md", "python")
    execute(readme, tmp_path, "python")
    (winter,) = blocks(ROOT / "docs" / "scores.md", "python")
    execute(winter, tmp_path, "python")
    execute(block(FORECASTS, "gfrnn export"), tmp_path)
    plots = block(FORECASTS, "gfrnn plot").splitlines()
    execute("\n".join(line for line in plots if "runs/my --time" in line), tmp_path)
    copied = block(FORECASTS, "ds = xr.open_zarr")
    execute(f"import xarray as xr\n{copied}", tmp_path, "python")
    assert xr.open_zarr(tmp_path / "copy.zarr").sizes["time"] == 5
    assert len(list((tmp_path / "products").glob("*.nc"))) == 1


@pytest.mark.slow
@pytest.mark.cluster
def test_guides_on_new_data_and_periods_work_as_they_are_typed(tmp_path: Path) -> None:
    write_archive(tmp_path)
    text = EXPERIMENT % ("2019-01-01", "2019-12-31")
    members = text.replace("horizon: 10d", "horizon: 10d, members: 2")
    (tmp_path / "my.yaml").write_text(members, encoding="utf-8")
    period = block(WORKFLOWS, "gfrnn fit my.yaml").replace("2020-12-31", "2020-02-29")
    execute(period, tmp_path)
    later = block(RUN_FOLDER, "gfrnn refit").replace("--width 500", "--width 20")
    execute(later, tmp_path)
    execute(block(RUN_FOLDER, "gfrnn forecast runs/my --init latest"), tmp_path)
    daily = block(WORKFLOWS, "gfrnn forecast runs/my --init latest")
    forecasts, verified = daily.rsplit("\n", 2)[0], daily.rsplit("\n", 2)[1]
    assert verified.startswith("gfrnn verify")
    execute(forecasts.replace("--members 50", "--members 4 --force"), tmp_path)
    write_month(tmp_path / "era5", "2021-04-01", "2021-04-30", "2021-04.nc")  # the truth arrives
    execute(verified, tmp_path)


@pytest.mark.slow
def test_code_of_the_library_page_works_as_it_is_typed(tmp_path: Path) -> None:
    page = ROOT / "docs" / "reference" / "library.md"
    core, patches, noisy, pipeline, results = blocks(page, "python")
    execute(core, tmp_path, "python")
    series = (
        "import numpy as np\n"
        "t = np.arange(20_000)[:, None]\n"
        "early, later = np.split(np.sin(0.3 * np.arange(40) * 2 * np.pi / 12 - 0.1 * t), 2)\n"
    )
    execute(series + patches, tmp_path, "python")
    series = (
        "import numpy as np\n"
        "rng, t = np.random.default_rng(0), np.arange(3000)[:, None]\n"
        "waves = np.sin(0.3 * t / np.arange(1, 11) + np.arange(10))\n"
        "train, validation = np.split(waves + 0.1 * rng.standard_normal(waves.shape), [2400])\n"
    )
    truth = (
        "truth = np.sin(0.3 * (3000 + np.arange(5)[:, None]) / np.arange(1, 11) + np.arange(10))\n"
    )
    checked = "from gfrnn_core.triangles.normal_equations import LEAST_RIDGE\n"
    checked += "assert ridges.min() >= LEAST_RIDGE\n"
    checked += "assert np.abs(forecast[0] - truth).mean() < 0.2\n"
    execute(series + noisy + truth + checked, tmp_path, "python")
    write_archive(tmp_path)
    text = EXPERIMENT % ("2020-06-01", "2020-06-30")
    (tmp_path / "my.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "program.py").write_text(pipeline, encoding="utf-8")
    execute("python program.py", tmp_path)
    before = "from pathlib import Path\nfrom gfrnn.pipeline import Run\n"
    execute(before + results.replace("mean_sea_level_pressure", "geopotential"), tmp_path, "python")
