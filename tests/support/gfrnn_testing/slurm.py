"""Run a Slurm of one node on this machine, with its own folder, ports and keys."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

_PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")

_CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1,batch_sched_delay=0
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
KillWait=2
UnkillableStepTimeout=10
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=16000 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes={host} MaxTime=1 State=UP
"""
# Cores and memory are those of the configuration, whatever this machine has, so that a few small
# jobs always fit. Without `sched_min_interval` a job would start seconds after the one before.


def why_not() -> str | None:
    """Return why a Slurm cannot be started here, or None if it can."""
    missing = [program for program in _PROGRAMS if shutil.which(program, path=_path()) is None]
    if missing:
        return f"no {', '.join(missing)} here; apt-get install slurm-wlm munge"
    return None if os.geteuid() == 0 else "a Slurm for tests is started by root"


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


class Slurm:
    """A running Slurm; :meth:`stop` ends it and every job.

    Attributes
    ----------
    environment : dict
        What Slurm's commands need in their environment to find it.
    folder : Path
        Its logs (``slurmctld.log``, ``slurmd.log``) and its state.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: list[subprocess.Popen[bytes]] = []
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def run(self, *command: str) -> str:
        """Return the output of a command such as ``squeue``."""
        done = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def queue(self) -> dict[str, str]:
        """Return the jobs that are not over yet: number -> state, e.g. RUNNING."""
        lines = self.run("squeue", "--noheader", "--format=%A %T").split("\n")
        return dict(line.split() for line in lines if line)

    def cancel(self, job: str) -> None:
        """End a job that waits or runs."""
        self.run("scancel", job)

    def stop(self) -> None:
        """End all jobs, the daemons and the processes that they have left behind."""
        for daemon in reversed(self._daemons):
            daemon.kill()
            daemon.wait()
        self._daemons.clear()
        # A job that is just being started may have new processes after it was looked for.
        for _ in range(100):
            left = self._descendants()
            if not left:
                break
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.1)

    def _start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            second.bind(("127.0.0.1", 0))
            ports = first.getsockname()[1], second.getsockname()[1]
        host = socket.gethostname().split(".")[0]
        text = _CONFIGURATION.format(folder=self.folder, host=host, ports=ports)
        (self.folder / "slurm.conf").write_text(text, encoding="utf-8")
        munge = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "pid", "log")]
        self._daemon(
            # Forced, as root's folders are not open to all users.
            ["munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket"]
            + [*munge, f"--seed-file={self.folder}/munge.seed"]
        )
        self._wait(lambda: (self.folder / "munge.socket").exists(), "munged does not start")
        self._daemon(["slurmctld", "-D"])
        self._daemon(["slurmd", "-D"])
        self._wait(self._idle, "the node does not become idle")

    def _daemon(self, command: list[str]) -> None:
        # It ends with this process, however that ends.
        self._daemons.append(
            subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                env=os.environ | self.environment | {"PATH": _path()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def _idle(self) -> bool:
        try:
            return self.run("sinfo", "--noheader", "--format=%t", "-p", "debug").strip() == "idle"
        except RuntimeError:
            return False

    def _wait(self, true: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + 30
        while not true():
            if time.monotonic() > end or any(one.poll() is not None for one in self._daemons):
                raise RuntimeError(f"{otherwise}: {self._logs()}")
            time.sleep(0.05)

    def _logs(self) -> str:
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{log.name}: {log.read_text()[-500:]}" for log in logs)

    def _descendants(self) -> list[psutil.Process]:
        """Return job steps and their processes, found by the configuration in their environment."""
        found = []
        for process in psutil.process_iter():
            try:
                own = process.environ().get("SLURM_CONF") == self.environment["SLURM_CONF"]
                if own and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return [process for process in found if process.pid != os.getpid()]
