"""Ending in good order: before the time of the job is over, or when a batch system says so.

A signal or the clock leave no more than a wish. The work ends where it next tells of its progress,
so that what arrives is dealt with whole; where it tells nothing for some seconds, it is interrupted
as by the interrupt key. What is written appears only when it is whole, whatever happens.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any, ParamSpec

import typer
from rich.console import Console

from gfrnn.cluster.batch.job_limit import JobLimit, job_limit
from gfrnn.pipeline.config.section import to_duration
from gfrnn.pipeline.errors import ConfigError, Stopped

TRY_AGAIN = os.EX_TEMPFAIL
"""The exit code of work that goes on when the same command is given again: 75."""

_SIGNALS = {
    signal.SIGUSR1: TRY_AGAIN,
    signal.SIGUSR2: TRY_AGAIN,
    signal.SIGTERM: 128 + signal.SIGTERM,
    signal.SIGHUP: 128 + signal.SIGHUP,
}
"""What ends the work, and the exit code then: of batch systems' warnings, that for trying again."""

# Seconds that the work has to end by itself.
_SOON = 5.0

# What is left before the end of a job: seconds, but not more than this share of what is left.
_MARGIN, _SHARE = 120.0, 0.2

StopBefore = Annotated[
    str | None,
    typer.Option(
        help="End in good order so long before the batch job does, e.g. 10m; default 2m, in short "
        "jobs a fifth of what is left.",
        metavar="TIME",
    ),
]
StopAfter = Annotated[
    str | None,
    typer.Option(help="End in good order after so long, e.g. 2h; default never.", metavar="TIME"),
]

P = ParamSpec("P")


class TimeToStop(Stopped):
    """Why the work ends, and the exit code."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code


class _Wish:
    """To end: not yet, since some seconds, or granted."""

    def __init__(self) -> None:
        self.stop: TimeToStop | None = None
        self.granted = False
        self.limit = ""
        self.announcement = ""

    def on_signal(self, number: int, _: FrameType | None) -> None:
        self._make(f"as {signal.Signals(number).name} came", _SIGNALS[signal.Signals(number)])

    def on_alarm(self, *_: Any) -> None:
        if self.stop is None:
            self._make(self.limit, TRY_AGAIN)
        else:
            self.grant()

    def _make(self, why: str, code: int) -> None:
        if self.stop is None:
            self.stop = TimeToStop(why, code)
            signal.setitimer(signal.ITIMER_REAL, _SOON)

    def grant(self) -> None:
        """Raise, once, if there is a wish."""
        if self.stop is not None and not self.granted:
            self.granted = True
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise self.stop


# Signals belong to the process, and so does the wish.
_wish = _Wish()


@contextmanager
def stopping() -> Iterator[None]:
    """Let signals and the clock end what happens inside.

    Raises
    ------
    TimeToStop
        Also in place of the errors of a cluster that the same signals have ended.
    """
    global _wish
    if threading.current_thread() is not threading.main_thread():
        yield  # which alone hears signals
        return
    _wish = wish = _Wish()
    # One that is ignored stays so: nohup does it.
    heard = [each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, wish.on_signal) for each in heard}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, wish.on_alarm)
    try:
        yield
    except Exception as error:
        if wish.stop is not None:
            raise wish.stop from error
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        _wish = _Wish()


def watched(progress: Callable[P, None]) -> Callable[P, None]:
    """A callback of progress at which the work ends when it is time."""

    def advance(*arguments: P.args, **options: P.kwargs) -> None:
        progress(*arguments, **options)
        _wish.grant()

    return advance


def stop_in_time(before: str | None, after: str | None) -> None:
    """Set the clock by the options and by what is left of the batch job.

    Raises
    ------
    ConfigError
        For what is no duration, or leaves no time to work.
    """
    limits = [each for each in (_after(after), _before(before, job_limit())) if each is not None]
    if limits:
        seconds, _wish.limit, about = min(limits)
        when = time.strftime("%H:%M:%S", time.localtime(time.time() + seconds))
        _wish.announcement = f"stops at {when}{about}"
        signal.setitimer(signal.ITIMER_REAL, seconds)


def say_limit(console: Console) -> None:
    """Say when the work stops, if the clock is set."""
    if _wish.announcement:
        console.print(_wish.announcement, highlight=False)


def _after(given: str | None) -> tuple[float, str, str] | None:
    if given is None:
        return None
    return _seconds("--stop-after", given), f"after {given} (--stop-after)", ""


def _before(given: str | None, limit: JobLimit | None) -> tuple[float, str, str] | None:
    if given is None and limit is None:
        return None
    if limit is None:
        raise ConfigError(
            "--stop-before: no batch system tells when this job ends; give --stop-after instead"
        )
    margin = min(_MARGIN, _SHARE * limit.seconds)
    if given is not None:
        margin = _seconds("--stop-before", given)
    if margin >= limit.seconds:
        raise ConfigError(
            f"--stop-before: {margin:.0f} s is not less than the {limit.seconds:.0f} s that are "
            f"left of {limit.job}; choose less, or a longer job"
        )
    about = f"before the end of {limit.job}"
    return limit.seconds - margin, about, f", {margin:.0f} s {about}"


def _seconds(option: str, given: str) -> float:
    try:
        # A bare number is refused as such; as text it would mean nanoseconds.
        return to_duration(int(given) if given.isdigit() else given).total_seconds()
    except ValueError:
        raise ConfigError(f"{option}: {given!r} is no time; write for example 10m or 2h") from None
