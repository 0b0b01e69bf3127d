"""Errors that a user can correct: messages name what was found, what is allowed, what to do."""

from __future__ import annotations

import re

HIDDEN = "***"
"""Text that is shown in the place of a password."""

_USER = re.compile(r"(?<=://)[^/\s'\"]+@")
"""User and password of a URL; a token alone may stand in their place."""

_ARGUMENT = re.compile(
    r"([?&][^=&\s]*(?:token|sig|key|pass|secret|credential|auth)[^=&\s]*=)[^&#\s'\",;)]+", re.I
)
"""Arguments of a URL such as those of signed ones."""

_VARIABLE = re.compile(r"(\b\w*(?:token|secret|passw|access_key|api_key)\w*=)[^\s&#'\",;)]+", re.I)
"""Variables of a shell, as ``setup`` may set."""


def without_passwords(text: str) -> str:
    """Return a text in which passwords and tokens of URLs and variables are replaced by ``***``."""
    text = _USER.sub(f"{HIDDEN}@", text)
    for pattern in (_ARGUMENT, _VARIABLE):
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return text


class GfrnnError(Exception):
    """Base class of the errors that are shown without a traceback, and without passwords."""

    def __init__(self, message: str = "") -> None:
        super().__init__(without_passwords(message))


class ConfigError(GfrnnError, ValueError):
    """An experiment file, an option or an argument is wrong."""


class DataError(GfrnnError, ValueError):
    """The data cannot be used as they are: missing, damaged, gappy or of the wrong unit."""


class MissingTimesError(DataError):
    """A variable has no value at all at some times, which can be treated as a gap."""


class ResourceError(GfrnnError):
    """The work does not fit into the available workers."""


class RunError(GfrnnError):
    """The folder of a run is not in the state that the command needs."""


class Stopped(BaseException):
    """The work was stopped early on request; finished parts are kept.

    It derives from BaseException, so that no handler of errors takes it for a failure. It is raised
    by a callback of progress or, like KeyboardInterrupt, by the handler of a signal.
    """
