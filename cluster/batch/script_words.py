"""Values of the configuration that become words or lines of job scripts.

A script is a shell program: a line break or a semicolon in the name of a queue would be a command.
Only the key ``setup`` holds commands.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_NAME = re.compile(r"[\w.@%+:,/=-]+", re.ASCII)
"""Names of queues and accounts, also lists of them and ``queue@server``."""

_INTERFACE = re.compile(r"[\w.:-]+", re.ASCII)

_PATH = re.compile(r"(?:[\w./%+,=:~-]|\$\w+|\$\{\w+(?::-[\w./-]*)?\})+", re.ASCII)
"""A path, which may have variables: ``$NAME``, ``${NAME}`` or ``${NAME:-DEFAULT}``."""


_VARIABLE = re.compile(
    r"\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?::-(?P<default>[\w./-]*))?\})", re.ASCII
)


def check_name(value: str) -> str:
    """Return the name of a queue or an account.

    Raises
    ------
    ValueError
        If it has characters that are not allowed in a job script.
    """
    return _checked(value, _NAME, "a name; letters, digits and _.@%+:,/=- are allowed")


def check_interface(value: str) -> str:
    """Return the name of a network interface.

    Raises
    ------
    ValueError
        If it has characters that are not allowed in a job script.
    """
    return _checked(value, _INTERFACE, "a network interface; write for example ib0")


def check_path(value: str) -> str:
    """Return a path that nodes expand.

    Raises
    ------
    ValueError
        If it has characters that are not allowed in a job script.
    """
    return _checked(
        value,
        _PATH,
        "a path in a job script; letters, digits, /._+,=:~%- and variables such as $TMPDIR are "
        "allowed",
    )


def expand_path(value: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return a path with its variables and a leading ``~`` replaced, as a shell does.

    Raises
    ------
    ValueError
        If a variable has neither a value nor a default, or the path is not absolute.
    """

    def found(variable: re.Match[str]) -> str:
        name, default = variable["plain"] or variable["name"], variable["default"]
        if text := environment.get(name) or default:
            return text
        raise ValueError(
            f"{value!r} has the variable {name}, which is not set here; set it on all nodes, or "
            f"give a default, for example ${{{name}:-/tmp}}"
        )

    path = os.path.expanduser(_VARIABLE.sub(found, value))
    if "$" in path or not os.path.isabs(path):
        raise ValueError(
            f"{value!r} is {path!r} here, which is not an absolute path; write for example "
            "/scratch/$USER or ${TMPDIR:-/tmp}"
        )
    return path


def check_line(value: str) -> str:
    """Return an option of a job, which is one line.

    Raises
    ------
    ValueError
        If it is empty or has a line break or another control character.
    """
    if not value.strip() or not value.isprintable():
        raise ValueError(f"{value!r} is not one line of printable characters; give one option each")
    return value


def _checked(value: str, allowed: re.Pattern[str], wanted: str) -> str:
    if not allowed.fullmatch(value) or value.startswith("-"):
        raise ValueError(f"{value!r} is not {wanted}")
    return value
