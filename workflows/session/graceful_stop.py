"""Graceful stop of a command: before its batch job ends, or when a signal arrives.

A signal or the timer only records a request to stop. The work stops at its next report of
progress, so that results which have arrived are processed completely. If no progress is reported
for some seconds, the work is interrupted as by Ctrl-C. Files get their final names only when they
are complete, so an interruption at any place leaves no damaged file.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, ParamSpec

from rich.console import Console

from gfrnn.pipeline.errors import ConfigError, Stopped

EXIT_TRY_AGAIN = os.EX_TEMPFAIL
"""Exit code (75) of a command that stopped early and continues when it is run again."""

_EXIT_CODES = {
    signal.SIGUSR1: EXIT_TRY_AGAIN,
    signal.SIGUSR2: EXIT_TRY_AGAIN,
    signal.SIGTERM: 128 + signal.SIGTERM,
    signal.SIGHUP: 128 + signal.SIGHUP,
}
"""Exit code for each signal. Batch systems send SIGUSR1 and SIGUSR2 as warnings."""

# Seconds until work that reports no progress is interrupted.
_GRACE = 5.0

# Margin before the end of a job: seconds, but at most this share of the time that is left.
_MARGIN, _MARGIN_SHARE = 120.0, 0.2

if TYPE_CHECKING:
    from gfrnn.cluster.batch.job_limit import JobLimit

P = ParamSpec("P")


class StopRequested(Stopped):
    """Work was stopped early by a signal or by the timer.

    Attributes
    ----------
    code : int
        Exit code of the command.
    """

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.code = code


class _StopState:
    """State of the request to stop this process: none yet, pending, or delivered.

    Attributes
    ----------
    request : StopRequested or None
        The pending request.
    delivered : bool
        Whether the request was raised.
    before, after : str or None
        Values of ``--stop-before`` and ``--stop-after``.
    begun : float
        Time at which the command began, of ``time.monotonic``.
    limit : str
        Reason to give when the timer expires.
    announcement : str
        Lines that state when the work stops; empty without a time limit.
    started : bool
        Whether the timer was started, if there is a limit.
    """

    def __init__(self) -> None:
        self.request: StopRequested | None = None
        self.delivered = False
        self.before: str | None = None
        self.after: str | None = None
        self.begun = time.monotonic()
        self.limit = ""
        self.announcement = ""
        self.started = False

    def on_signal(self, number: int, _: FrameType | None) -> None:
        received = signal.Signals(number)
        self._record(f"on {received.name}", _EXIT_CODES[received])

    def on_alarm(self, *_: Any) -> None:
        if self.request is None:
            self._record(self.limit, EXIT_TRY_AGAIN)
        else:
            self.deliver()

    def _record(self, reason: str, code: int) -> None:
        if self.request is None:
            self.request = StopRequested(reason, code)
            signal.setitimer(signal.ITIMER_REAL, _GRACE)

    def deliver(self) -> None:
        """Raise the pending request, once."""
        if self.request is not None and not self.delivered:
            self.delivered = True
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise self.request


# Signals belong to the process, so their state does too.
_state = _StopState()


@contextmanager
def graceful_stop() -> Iterator[None]:
    """Let signals and the timer stop the work inside the block.

    Raises
    ------
    StopRequested
        Also in place of errors that follow from the stop, such as those of a cluster whose
        processes received the same signal.
    """
    global _state
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signal handlers
        return
    _state = state = _StopState()
    # A signal that is ignored, for example under nohup, stays ignored.
    handled = [each for each in _EXIT_CODES if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, state.on_signal) for each in handled}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, state.on_alarm)
    try:
        yield
    except Exception as error:
        if state.request is not None:
            raise state.request from error
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        _state = _StopState()


def stop_at_progress(progress: Callable[P, None]) -> Callable[P, None]:
    """Wrap a progress callback so that it raises a pending request to stop."""

    def report(*arguments: P.args, **options: P.kwargs) -> None:
        progress(*arguments, **options)
        _state.deliver()

    return report


def set_time_limit(before: str | None, after: str | None) -> None:
    """Start the timer from the options and from the time left of the batch job.

    Where a launcher has started several processes, they may be those of one run, of which the
    driver alone has a timer, as it ends the others. :func:`print_time_limit` starts it then.

    Parameters
    ----------
    before, after : str or None
        Values of ``--stop-before`` and ``--stop-after``.

    Raises
    ------
    ConfigError
        If a value is not a duration, or leaves no time for the work.
    """
    from gfrnn.cluster.allocation.launchers import is_one_of_several

    for option, given in (("--stop-before", before), ("--stop-after", after)):
        if given is not None:
            _seconds(option, given)
    _state.before, _state.after = before, after
    _state.begun, _state.started, _state.announcement = time.monotonic(), False, ""
    if not is_one_of_several():
        _start_timer()


def print_time_limit(console: Console) -> None:
    """Print when the work stops, if there is a limit; start the timer, if it was not started."""
    _start_timer()
    if _state.announcement:
        console.print(_state.announcement, highlight=False)
        _state.announcement = ""


def _start_timer() -> None:
    from gfrnn.cluster.batch.job_limit import job_limit

    if _state.started:
        return
    _state.started = True
    limit, notes = job_limit(), []
    if _state.before is None and limit is not None and limit.seconds <= 0:
        # The job runs in spite of that, so what it is told is old or wrong.
        notes.append(
            f"the end of {limit.job} has passed; it is not known when it ends, so the work does "
            "not stop before (--stop-after sets a limit)"
        )
        limit = None
    found = _after(_state.after), _before(_state.before, limit)
    limits = [each for each in found if each is not None]
    if limits:
        seconds, _state.limit, margin = min(limits)
        when = time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))
        notes.append(f"stops at {when}{margin}")
        signal.setitimer(signal.ITIMER_REAL, seconds)
    _state.announcement = "\n".join(notes)


def _after(given: str | None) -> tuple[float, str, str] | None:
    if given is None:
        return None
    # A timer of zero seconds would never expire.
    left = max(_seconds("--stop-after", given) - (time.monotonic() - _state.begun), 1e-3)
    return left, f"after {given} (--stop-after)", ""


def _before(given: str | None, limit: JobLimit | None) -> tuple[float, str, str] | None:
    if given is None and limit is None:
        return None
    if limit is None:
        raise ConfigError(
            f"--stop-before: {given} is given, but no batch system states when this job ends; "
            "give --stop-after instead"
        )
    margin = min(_MARGIN, _MARGIN_SHARE * limit.seconds)
    if given is not None:
        margin = _seconds("--stop-before", given)
    if margin >= limit.seconds:
        raise ConfigError(
            f"--stop-before: {margin:.0f} s is not less than the {limit.seconds:.0f} s left of "
            f"{limit.job}; choose a shorter margin or a longer job"
        )
    reason = f"before the end of {limit.job}"
    return limit.seconds - margin, reason, f", {margin:.0f} s {reason}"


def _seconds(option: str, given: str) -> float:
    from gfrnn.pipeline.config.durations import to_timedelta

    try:
        # As text, a bare number would mean nanoseconds; as a number it is refused.
        return to_timedelta(int(given) if given.isdigit() else given).total_seconds()
    except ValueError:
        raise ConfigError(
            f"{option}: {given!r} is not a duration; write for example 10m or 2h"
        ) from None
