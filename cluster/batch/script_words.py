"""Values of the configuration that become words or lines of job scripts.

A script is a shell program: a line break or a semicolon in the name of a queue would be a command.
Only the key ``setup`` holds commands.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"[\w.@%+:,/=-]+", re.ASCII)
"""Names of queues and accounts, also lists of them and ``queue@server``."""

_INTERFACE = re.compile(r"[\w.:-]+", re.ASCII)

_PATH = re.compile(r"(?:[\w./%+,=:~-]|\$\w+|\$\{\w+(?::-[\w./-]*)?\})+", re.ASCII)
"""A path, which may have variables: ``$NAME``, ``${NAME}`` or ``${NAME:-DEFAULT}``."""


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
