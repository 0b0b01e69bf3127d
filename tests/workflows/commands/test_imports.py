"""Test that the commands import only what they use, as every import delays the answer."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

from typer.main import get_command

from gfrnn.workflows.commands.main import app

HELP = {
    "annotated_doc",
    "gfrnn",
    "markdown_it",
    "mdurl",
    "pygments",
    "rich",
    "shellingham",
    "typer",
}
"""Packages that ``gfrnn --help`` may import; typer imports rich to lay the text out."""

# Typer checks the types of options with pydantic as soon as a command is chosen.
CHOSEN = HELP | {
    "annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection",
}  # fmt: skip

END = "\nprint('', 'MODULES', *sys.modules, sep='\\n')"
CALL = "import sys; from gfrnn.workflows.commands.main import app; sys.argv = ['gfrnn', '--help']; "
RUN = "import sys; import gfrnn.workflows.commands.run_stages"


def output(code: str, **environment: str) -> str:
    """Return what Python code prints in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def imported(code: str, **environment: str) -> set[str]:
    """Return the modules that a new process has imported after it has run Python code."""
    return set(output(code + END, **environment).split("\nMODULES\n")[1].split())


@cache
def at_start() -> set[str]:
    return imported("import sys")


def packages(modules: set[str]) -> set[str]:
    """Return the packages among modules that are neither Python's own nor imported at its start."""
    tops = {name.partition(".")[0] for name in modules - at_start()}
    own = {name for name in tops if name.startswith("_sysconfigdata_")}
    return tops - sys.stdlib_module_names - own


def commands() -> list[list[str]]:
    """Return the words of all commands, those of groups included."""
    found = []
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        found += [[name], *([name, each] for each in getattr(command, "commands", ()))]
    return found


def test_help_imports_no_package_that_is_not_listed():
    assert packages(imported(CALL + "app(standalone_mode=False)")) - HELP == set()


def test_help_of_commands_imports_no_package_that_is_not_listed():
    words = commands()
    assert ["cluster", "check"] in words
    code = f"{CALL}\nfor each in {words}: app([*each, '--help'], standalone_mode=False)"
    assert packages(imported(code)) - CHOSEN == set()


def completed(words: str, end: str = "") -> str:
    """Return what a shell is told when the last word is completed."""
    code = f"{CALL}\ntry: app(prog_name='gfrnn')\nexcept SystemExit: pass"
    count = str(len(words.split()) - 1)
    return output(code + end, _GFRNN_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=count)


def test_completion_knows_commands_and_options():
    assert completed("gfrnn re").split() == ["report", "refit", "reproduce"]
    assert completed("gfrnn run --w").split() == ["--workers"]


def test_completion_imports_no_package_that_is_not_listed():
    modules = set(completed("gfrnn run --w", END).split("\nMODULES\n")[1].split())
    assert packages(modules) - CHOSEN == set()


def test_packages_of_a_run_are_found():
    assert packages(imported(RUN)) >= {"dask", "numpy", "pandas", "xarray", "zarr"}


def test_run_imports_neither_figures_nor_other_commands():
    others = (
        "matplotlib", "gfrnn.workflows.cases", "gfrnn.workflows.benchmarks",
        "gfrnn.workflows.reproduce", "gfrnn.pipeline.runs.update", "gfrnn.pipeline.runs.refit",
    )  # fmt: skip
    assert not [name for name in imported(RUN) if name.startswith(others)]
