"""Cancels what is left of a run when the process that started it ends, however it ends.

It is started as a script of its own, without the rest of this package, reads its standard input,
and acts when that ends: the system closes it with the driver, even one that was killed.

    watchdog.py FOLDER COMMAND...

Lines ``+JOB`` and ``-JOB`` name jobs that were submitted and that are over. At the end FOLDER with
its secrets is removed, and COMMAND is run with the jobs that are left.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys


def main() -> None:
    """Wait for the end of the input, then clean up."""
    # These end the driver, and what is left then is cleaned up here.
    for name in ("SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    folder, *command = sys.argv[1:]
    jobs: dict[str, None] = {}
    for line in sys.stdin:
        sign, job = line[0], line[1:].strip()
        if sign == "+":
            jobs[job] = None
        else:
            jobs.pop(job, None)
    shutil.rmtree(folder, ignore_errors=True)
    if jobs:
        # Those that are over meanwhile make the command complain.
        subprocess.run([*command, *jobs], check=False, capture_output=True)


if __name__ == "__main__":
    main()
