"""Errors that a user can correct: messages name what was found, what is allowed, what to do."""

from __future__ import annotations


class GfrnnError(Exception):
    """Base class of the errors that are shown without a traceback."""


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
