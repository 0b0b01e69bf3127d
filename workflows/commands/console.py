"""The console on which all commands print, and the options that all commands have."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from gfrnn.pipeline.errors import without_passwords
from gfrnn.workflows.session.command_output import command_output

# Without markup and emoji, names and paths with brackets are printed as they are.
console = Console(soft_wrap=True, markup=False, emoji=False)

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        show_default=False,
        help="Also print what is being done, on the standard error; -vv prints more.",
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print the results as JSON, and all else on the standard error."),
]


class _PlainFlags:
    """Mixin of commands whose help shows no type for flags, which take no value."""

    def get_params(self, ctx: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for each in parameters:
            if getattr(each, "is_flag", False) or getattr(each, "count", False):
                each.metavar = ""
        return parameters


class PlainCommand(_PlainFlags, TyperCommand):
    """Command whose help shows no type for flags."""


class PlainGroup(_PlainFlags, TyperGroup):
    """Group of commands whose help shows no type for flags."""


def with_output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that also has the options of all commands: quiet, verbose and JSON.

    A command that has them already is returned as it is.
    """
    own = inspect.signature(command, eval_str=True)
    if "as_json" in own.parameters:  # groups are shared by all imports of the module of `gfrnn`
        return command

    @functools.wraps(command)
    def call(*, quiet: bool, verbose: int, as_json: bool, **options: Any) -> None:
        ended: typer.Exit | None = None
        verbosity = -1 if quiet else verbose
        with command_output(console, as_json=as_json, verbosity=verbosity):
            try:
                command(**options)
            except typer.Exit as early:  # with an exit code, after all is printed
                ended = early
        if ended is not None:
            raise ended

    shared = {"as_json": (AsJson, False), "quiet": (Quiet, False), "verbose": (Verbose, 0)}
    parameters = [*own.parameters.values()] + [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in shared.items()
    ]
    call.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    return call


_STYLES = {"error": "red", "warning": "yellow"}


def print_findings(findings: Iterable[tuple[str, str, str]]) -> None:
    """Print the problems that a check has found.

    Parameters
    ----------
    findings : iterable of (str, str, str)
        Severity, subject (may be empty) and message of each.
    """
    none = True
    for severity, subject, message in findings:
        none = False
        console.print(severity, style=_STYLES.get(severity, "dim"), end=" ")
        about = f"{subject}: " if subject else ""
        console.print(without_passwords(f"{about}{message}"), highlight=False, markup=False)
    if none:
        console.print("no problems found")
