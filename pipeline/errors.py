"""The errors a user can mend: each says what was found, what is allowed and what to do."""

from __future__ import annotations


class GfrnnError(Exception):
    """Base of the errors that are shown without a traceback."""


class ConfigError(GfrnnError, ValueError):
    """An experiment file, an option or an argument is wrong."""


class DataError(GfrnnError, ValueError):
    """The data cannot be used as they are: missing, damaged, gappy or of the wrong unit."""


class ResourceError(GfrnnError):
    """The work does not fit into the workers that there are."""


class RunError(GfrnnError):
    """A run's folder is not in the state that the command needs."""


class Stopped(BaseException):
    """The work was asked to end early; what is finished is kept.

    Not one of the errors, so that nothing takes it for the failure of some part. Raised by a
    callback of progress or, as the interrupt key does, by the handler of a signal.
    """
