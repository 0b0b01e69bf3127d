"""Test the help of ``gfrnn`` and its commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gfrnn.workflows.commands.main import app
from gfrnn_testing.commands import gfrnn


def all_commands(command: Any, words: str = "") -> Iterator[str]:
    """Yield the words of each command and group below one: ``bench``, ``bench pass`` and so on."""
    for name, inner in getattr(command, "commands", {}).items():
        yield f"{words} {name}".strip()
        yield from all_commands(inner, f"{words} {name}".strip())


COMMANDS = list(all_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command):
    result = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert re.search(rf"Examples?: .*gfrnn {command}", result.output, re.DOTALL)


@pytest.mark.parametrize("command", ["", "export", "bench peers", "cluster", "cluster check"])
def test_flags_have_no_type(command):
    words = [*command.split(), "--help"]
    lines = CliRunner().invoke(app, words, env={"COLUMNS": "100"}).output.splitlines()
    options = {line.split()[1]: line for line in lines if re.match(r"\W*--\w", line)}
    assert "--help" in options
    for name in {"--help", "--force", "--verbose", "--json", "--quick", "--version"} & set(options):
        assert not re.search(r"<\w+>", options[name]), name
    assert "[default: 0]" not in "".join(lines)


def test_options_with_a_value_show_its_type():
    words = ["cluster", "check", "--help"]
    text = CliRunner().invoke(app, words, env={"COLUMNS": "100"}).output
    assert re.search(r"--workers +<int> ", text)


def test_sentences_are_as_wide_as_the_terminal():
    for width, line in (
        (80, "Files that exist are"),
        (110, "Files that exist are skipped, so that a command that was"),
    ):
        shown = CliRunner().invoke(app, ["export", "--help"], env={"COLUMNS": str(width)}).output
        assert any(each.rstrip().endswith(line) for each in shown.splitlines())
        assert "skipped, so that a command that was" in " ".join(shown.split())
    assert "the linear inverse model" in " ".join(
        CliRunner().invoke(app, ["verify", "--help"]).output.split()
    )


def test_all_commands_are_found():
    assert {"run", "new", "demo", "bench", "bench pass", "cluster check"} <= set(COMMANDS)
    assert len(COMMANDS) == len(set(COMMANDS)) > 25


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", ["", "cluster check"])
def test_help_has_a_short_option(command, option):
    result = CliRunner().invoke(app, [*command.split(), option])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_every_option_and_argument_has_a_help_text():
    def parameters(command, path):
        for name, inner in getattr(command, "commands", {}).items():
            yield from parameters(inner, f"{path} {name}")
        yield from ((path, each) for each in command.params)

    missing = [
        f"{path} {each.name}"
        for path, each in parameters(typer.main.get_command(app), "gfrnn")
        if not each.help
    ]
    assert missing == []


def test_the_version_is_that_of_the_package(said):
    answer = said("--version")
    assert (answer.code, answer.out) == (0, f"gfrnn {version('gfrnn')}\n")


def test_without_a_command_the_help_is_shown():
    answer = gfrnn()
    assert answer.returncode == 2
    assert "Usage" in answer.stdout + answer.stderr
    assert "error" not in answer.stderr
    assert "Traceback" not in answer.stderr
