"""Check recipes and documents of the installation against pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from gfrnn_testing.paths import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONDA_NAMES = {"dask": "dask-core", "matplotlib": "matplotlib-base"}
FOLDERS = sorted(
    {folder.split("/")[0] for folder in PROJECT["tool"]["setuptools"]["package-dir"].values()}
)


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_every_extra_is_described():
    described = set(re.findall(r"^\| `(\w+)` \|", read("docs/install.md"), re.M))
    assert described == set(PROJECT["project"]["optional-dependencies"])


def test_extras_that_documents_and_messages_name_exist() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    sources = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    named = set()
    for path in (*documents, *sources):
        text = path.read_text(encoding="utf-8")
        if path.name != "commands.md":  # it is made of the sources
            # No package index has the program: extras are installed from a clone.
            assert not re.search(r"install '?gfrnn", text), path
            for extras in re.findall(r"'\.\[([\w,]+)\]'", text):
                named.update(extras.split(","))
            mark = "" if path.suffix == ".py" else "`"
            named.update(re.findall(rf"\b(?:its|the) extra {mark}(\w+)", text))
    assert {"hpc", "mpi", "grib", "docs"} <= named
    assert named <= set(PROJECT["project"]["optional-dependencies"])


def test_the_conda_recipe_has_the_same_requirements():
    recipe = yaml.safe_load(read("packaging/conda/recipe.yaml"))
    required = map(Requirement, PROJECT["project"]["dependencies"])
    python = f"python {PROJECT['project']['requires-python']}"
    assert recipe["requirements"]["run"] == [
        python,
        *(f"{CONDA_NAMES.get(each.name, each.name)} {each.specifier}" for each in required),
    ]
    assert recipe["context"]["version"] == PROJECT["project"]["version"]


def test_the_conda_recipe_has_the_same_program():
    recipe = yaml.safe_load(read("packaging/conda/recipe.yaml"))
    programs = [f"{name} = {place}" for name, place in PROJECT["project"]["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == programs


@pytest.mark.parametrize("folder", [*FOLDERS, "pyproject.toml", "README.md", "LICENSE"])
def test_containers_have_all_that_is_installed(folder: str) -> None:
    assert f"!{folder}" in read(".dockerignore").splitlines()
    assert f"    {folder} /source/{folder}" in read("packaging/apptainer.def").splitlines()
