"""The ``gfrnn`` command with its subcommands; errors are printed without a traceback.

The modules of commands declare arguments and options only. What computes is imported inside of a
command when it is called, so that help and the completion of shells do not wait for it.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from inspect import getdoc
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from gfrnn.cluster import ClusterError
from gfrnn.pipeline.errors import GfrnnError, without_passwords
from gfrnn.workflows.commands.bench import bench
from gfrnn.workflows.commands.cluster import cluster
from gfrnn.workflows.commands.console import (
    PlainCommand,
    PlainGroup,
    console,
    with_output_options,
)
from gfrnn.workflows.commands.export import export
from gfrnn.workflows.commands.inspect import inspect
from gfrnn.workflows.commands.nature import demo, nature
from gfrnn.workflows.commands.new import new
from gfrnn.workflows.commands.plot import plot
from gfrnn.workflows.commands.refit_update import refit, update
from gfrnn.workflows.commands.reproduce import reproduce
from gfrnn.workflows.commands.run import compare, fit, forecast, report, run, verify
from gfrnn.workflows.commands.spectrum import spectrum
from gfrnn.workflows.session.graceful_stop import StopRequested, graceful_stop

app = typer.Typer(
    name="gfrnn",
    help="Train recurrent networks for weather forecasts without gradients, forecast with them, "
    "and verify the forecasts.\n\n"
    "Example: [bold]gfrnn demo[/bold] (an example that needs no data)",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    demo, new, inspect, run, fit, forecast, verify, compare, report, plot, export, refit,
    update, spectrum, nature, reproduce,
):  # fmt: skip
    app.command()(command)
app.add_typer(bench, name="bench")
app.add_typer(cluster, name="cluster")


def _with_whole_lines(text: str) -> str:
    """Return a help text whose paragraphs are not broken, but for examples.

    Typer keeps the line breaks of all paragraphs but the first.
    """
    return "\n\n".join(
        paragraph if paragraph.startswith("Example") else " ".join(paragraph.split())
        for paragraph in text.split("\n\n")
    )


def _add_output_options(group: typer.Typer) -> None:
    """Add the options of :func:`with_output_options` to all commands of a group.

    The help of the commands shows no type for flags, and lines as wide as the terminal.
    """
    group.info.cls = PlainGroup
    for command in group.registered_commands:
        command.cls = PlainCommand
        if command.callback is not None:
            command.help = _with_whole_lines(getdoc(command.callback) or "")
            command.callback = with_output_options(command.callback)
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _add_output_options(inner.typer_instance)


_add_output_options(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        console.print(f"gfrnn {version('gfrnn')}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Accept the options of ``gfrnn`` itself, before any subcommand."""


USAGE_ERROR = 2
"""Exit code of errors that the user can correct."""
FAULT = 1
"""Exit code of errors that the user cannot correct."""
UNEXPECTED = "unexpected"
"""First word of the message of such an error."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells: 128 and the number of the signal."""
_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_LIMITS = {
    errno.EMFILE: "the process has too many open files; raise the limit (ulimit -n)",
    errno.ENFILE: "the machine has too many open files; close some, or ask its administrator",
    errno.ENOMEM: "the machine has too little memory; use fewer workers, or a larger machine",
    errno.EAGAIN: "no more processes or threads may be started; raise the limit (ulimit -u)",
    errno.EFBIG: "a file is larger than allowed; raise the limit (ulimit -f)",
}
_RESUME = "run the same command again to resume"


def main() -> None:
    """Run the command; errors that the user can correct are shown without a traceback."""
    code: int | None = 0
    try:
        with graceful_stop():
            code = app(standalone_mode=False)
    except StopRequested as stop:
        code = stop.code
        _print_stopped(f"stopped {stop}")
    except (GfrnnError, ClusterError) as error:
        code = _print_error(str(error))
    except OSError as error:
        message = _storage_error(error)
        code = _print_error(message) if message else _print_fault(error)
    except MemoryError:
        code = _print_error(f"{_LIMITS[errno.ENOMEM]} (ulimit -v may limit it). {_RESUME}")
    except typer.TyperException as error:
        # The message is empty where the help was shown instead.
        code = _print_error(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        code = _print_fault(error)
    if code == INTERRUPTED:
        _print_stopped("stopped")
    sys.exit(code)


def _print_stopped(what: str) -> None:
    """Print on standard error that a command stopped, as results alone go to standard output."""
    Console(stderr=True, soft_wrap=True, emoji=False).print(Text(f"{what}; {_RESUME}"))


def _storage_error(error: OSError) -> str:
    """Describe a path that cannot be used, a full disk or a limit; return '' for other errors."""
    if error.errno in _DISK_FULL:
        return f"{error.filename or 'output'}: {error.strerror}; free some space. {_RESUME}"
    if error.errno in _LIMITS:
        return f"{error.filename or 'limit'}: {_LIMITS[error.errno]}. {_RESUME}"
    if error.errno in _NOT_WRITABLE and error.filename:
        return f"{error.filename}: {error.strerror}; give a path that you may read and write"
    return ""


def _print_error(message: str) -> int:
    if message:
        printed = Text.assemble(("error:", "red"), f" {without_passwords(message)}")
        Console(stderr=True, soft_wrap=True, emoji=False).print(printed)
    return USAGE_ERROR


def _print_fault(error: Exception) -> int:
    """Print an error that users cannot correct in one line, and keep its traceback in a file."""
    import tempfile
    import traceback

    text = without_passwords("".join(traceback.format_exception(error)))
    place = ""
    for folder in (os.curdir, tempfile.gettempdir()):
        with suppress(OSError):
            number, path = tempfile.mkstemp(".txt", "gfrnn-traceback-", folder, text=True)
            with open(number, "w", encoding="utf-8") as file:
                file.write(text)
            place = path
            break
    first = str(error).strip().partition("\n")[0]
    _print_error(
        f"{UNEXPECTED} {type(error).__name__}: {first}; this is a fault of gfrnn or of a library. "
        + (f"Its traceback is in {place}; report it with this file" if place else f"\n{text}")
    )
    return FAULT
