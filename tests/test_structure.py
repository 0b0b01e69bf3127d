"""Test rules of the source tree: direction of imports, names, and what is installed."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from gfrnn_testing.paths import ROOT

PACKAGES = ("gfrnn_core", "pipeline", "cluster", "workflows")

# Folders of the pipeline in the order of processing: each may import from those before it.
PIPELINE = (
    "errors",
    "storage",
    "untrusted_store",
    "config",
    "reduction",
    "data",
    "states",
    "training",
    "forecasting",
    "verification",
    "planning",
    "runs",
)
ALLOWED = {
    "gfrnn_core": {"gfrnn_core"},
    "pipeline": {"gfrnn_core", "pipeline"},
    "cluster": {"cluster"},
    "workflows": {"gfrnn_core", "pipeline", "cluster", "workflows"},
}
# First words of docstrings that are fragments and depend on text elsewhere.
FRAGMENTS = ("Of ", "The same", "As ", "What ", "Whose ", "That ", "Those ")
CROWDED = 16
"""Largest number of modules in one folder."""


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Yield path below the top folder and syntax tree of each installed module."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


MODULES = dict(modules())


def imported(tree: ast.Module) -> Iterator[list[str]]:
    """Yield dotted names, without ``gfrnn``, of the project's modules that a module imports."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "gfrnn":
                yield parts[1:]
            elif parts[0] == "gfrnn_core":
                yield parts


def test_packages_import_one_way() -> None:
    wrong = [
        f"{path} imports {'.'.join(parts)}"
        for path, tree in MODULES.items()
        for parts in imported(tree)
        if parts[0] not in ALLOWED[path.parts[0]]
    ]
    assert not wrong, "\n".join(wrong)


def test_folders_of_the_pipeline_import_one_way() -> None:
    wrong = []
    for path, tree in MODULES.items():
        if path.parts[0] != "pipeline" or (len(path.parts) == 2 and path.stem == "__init__"):
            continue
        place = PIPELINE.index(Path(path.parts[1]).stem)
        for parts in imported(tree):
            if parts[0] == "pipeline" and (
                parts[1] not in PIPELINE or PIPELINE.index(parts[1]) > place
            ):
                wrong.append(f"{path} imports {'.'.join(parts)}")
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_the_bare_names() -> None:
    bare = {"pipeline", "cluster", "workflows"}
    wrong = []
    for path in [*ROOT.glob("tests/**/*.py"), *(ROOT / path for path in MODULES)]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            wrong += [f"{path}: {name}" for name in names if name.split(".")[0] in bare]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["pipeline", "cluster", "workflows"])
def test_bare_names_are_not_installed(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import gfrnn.{name}, {name}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert f"No module named '{name}'" in done.stderr


def test_no_class_name_stands_for_two_things() -> None:
    places = defaultdict(list)
    for path, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path))
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert not twice


def test_folders_are_not_crowded() -> None:
    counts: dict[Path, int] = defaultdict(int)
    for path in MODULES:
        counts[path.parent] += path.name != "__init__.py"
    assert {folder: count for folder, count in counts.items() if count > CROWDED} == {}


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield place and text of each docstring."""
    for path, tree in MODULES.items():
        for node in ast.walk(tree):
            if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                continue
            if text := ast.get_docstring(node):
                yield f"{path}:{getattr(node, 'lineno', 1)}", text


def test_docstrings_stand_alone() -> None:
    fragments = [
        f"{place}: {text.splitlines()[0]}"
        for place, text in docstrings()
        if text.startswith(FRAGMENTS)
    ]
    assert not fragments, "\n".join(fragments)


def test_every_package_is_installed_and_typed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["setuptools"]["packages"]
    there = {str(path.parent).replace("/", ".") for path in MODULES if path.name == "__init__.py"}
    wanted = {name if name.startswith("gfrnn_core") else f"gfrnn.{name}" for name in there}
    assert sorted(listed) == sorted(wanted)
    folders = {str(path.parent) for path in MODULES}
    assert folders == {name.replace(".", "/") for name in there}, "a folder has no __init__.py"
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").exists()


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_module_can_be_imported_by_itself(path: Path) -> None:
    if path.parts[:2] == ("cluster", "dashboard") or "peers" in path.stem:
        pytest.importorskip("bokeh")
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    importlib.import_module(name if name.startswith("gfrnn_core") else f"gfrnn.{name}")
