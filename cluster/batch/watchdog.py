"""Script that cancels the jobs of a run when the process that started it ends, however it ends.

It does not import the rest of this package. It reads its standard input, and acts when that ends:
the operating system closes it with the driver, even one that was killed.

    watchdog.py FOLDER COMMAND...

A line ``+JOB`` adds a job that was submitted, ``-JOB`` removes one that is over. At the end FOLDER,
which holds the private key, is removed, and COMMAND is run with the jobs that are left.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys


def main() -> None:
    """Wait for the end of the input, then clean up."""
    # These end the driver; this process ends after it.
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
        # The command fails for jobs that are over by now.
        subprocess.run([*command, *jobs], check=False, capture_output=True)


if __name__ == "__main__":
    main()
