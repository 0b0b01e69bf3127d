"""Compare the job script of each batch system as a whole, and check the arithmetic in it.

A golden file is written anew from what its test shows, after it was read line by line.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dask.utils import parse_bytes
from hypothesis import given
from hypothesis import strategies as st

from gfrnn.cluster import ClusterConfig
from gfrnn.cluster.batch.job_resources import JobResources
from gfrnn.cluster.batch.job_script import make_job
from gfrnn.cluster.certificates import certificates_in, temporary_certificates
from gfrnn.cluster.config import BATCH_KINDS
from gfrnn.cluster.worker_memory import LEAST_MEMORY
from gfrnn_testing.paths import with_support

GOLDEN = Path(__file__).parent / "golden"

SHOWN: dict[str, Any] = {
    "workers": 4,
    "per_job": 2,
    "threads": 2,
    "memory": "4GiB",
    "walltime": "2h",
    "account": "weather",
    "interface": "ib0",
    "setup": ["module load python"],
    "python": "/opt/gfrnn/bin/python",
}
OWN = {
    "slurm": {"queue": "batch", "directives": ["--exclusive", "--qos=normal"]},
    "pbs": {"queue": "batch", "directives": ["-j oe"]},
    "lsf": {"queue": "batch", "directives": ["-R 'rusage[mem=9GB]'"]},
    "sge": {"queue": "all.q", "directives": ["-pe smp 4"]},
    "oar": {"queue": "default", "directives": ["-p 'memcore>=2294'"]},
    "htcondor": {"directives": ['requirements = Arch == "X86_64"', "RequestDisk=1GB"]},
}


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Return the script of a job, in which the folder of the test is named FOLDER."""
    monkeypatch.setenv("LSF_ENVDIR", str(tmp_path))  # a site's own lsf.conf has other units
    monkeypatch.delenv("PBS_ACCOUNT", raising=False)

    def script(**keys):
        with temporary_certificates(tmp_path / "tls") as security:
            config = ClusterConfig(**keys)
            job = make_job(config, "tls://10.0.0.1:8786", "worker-0", tmp_path, security)
            return job.job_script().replace(str(tmp_path), "FOLDER")

    return script


@pytest.mark.parametrize("kind", BATCH_KINDS)
def test_scripts_are_those_of_the_golden_files(script, kind):
    found = script(kind=kind, **SHOWN, **OWN[kind])
    assert found == (GOLDEN / f"{kind}.sh").read_text(encoding="utf-8")


def test_a_script_without_the_keys_that_may_be_left_out(script):
    found = script(kind="slurm", workers=1, memory="1GiB", python="python3")
    assert found == (GOLDEN / "slurm_least.sh").read_text(encoding="utf-8")


def words(text: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if "start_workers" in line)
    return shlex.split(line)


@pytest.mark.parametrize(
    ("memory", "limit", "asked"),
    [
        ("1GiB", 2**30, "1147M"),
        ("1GB", 10**9, "1069M"),  # seven per cent less
        ("120GB", 120 * 10**9, "128174M"),
        ("300MiB", 300 * 2**20, "336M"),
    ],
)
def test_gibibytes_are_not_gigabytes(script, memory, limit, asked):
    text = script(kind="slurm", workers=1, memory=memory)
    found = words(text)
    assert parse_bytes(found[found.index("--memory-limit") + 1]) == limit
    assert f"#SBATCH --mem={asked}\n" in text


@given(
    st.integers(LEAST_MEMORY, 2**40), st.integers(1, 64), st.integers(60, 10**6), st.integers(1, 16)
)
def test_a_job_has_room_for_its_workers_and_they_leave_before_its_end(
    memory, per_job, walltime, threads
):
    resources = JobResources.from_config(
        ClusterConfig(
            kind="slurm",
            workers=per_job,
            per_job=per_job,
            threads=threads,
            memory=f"{memory}B",
            walltime=f"{walltime}s",
        )
    )
    assert resources.cores == threads * per_job
    assert resources.memory - 1 < 1.12 * per_job * memory * (1 + 1e-15)
    assert resources.memory >= 1.12 * per_job * memory * (1 - 1e-15)
    assert 0 < resources.least_lifetime < resources.lifetime - resources.stagger
    latest = resources.lifetime + resources.stagger
    assert walltime - latest == resources.stagger >= 10
    assert latest >= 0.8 * walltime or walltime < 200


@pytest.mark.parametrize("folder", ["a b", "it's", "x;y"])
def test_folders_that_scripts_cannot_name_are_refused(tmp_path, folder):
    from gfrnn.cluster import ClusterError, open_cluster

    config = ClusterConfig(kind="slurm", workers=1, memory="1GiB", folder=str(tmp_path / folder))
    with (
        pytest.raises(ClusterError, match=r"cluster\.folder: .* choose another"),
        open_cluster(config),
    ):
        pass


def test_certificates_are_named_not_shown(script, tmp_path):
    found = words(script(kind="slurm", workers=1, memory="1GiB"))
    assert found[found.index("--tls-key") + 1] == "FOLDER/tls/key.pem"
    with pytest.raises(FileNotFoundError):
        certificates_in(tmp_path / "tls")


_IMPORTED = """
import signal
before = signal.getsignal(signal.SIGINT)
from gfrnn.cluster import ClusterConfig
from gfrnn.cluster.batch.job_script import job_class
from gfrnn_testing.paths import with_support
print(job_class(ClusterConfig(kind="slurm", workers=1, memory="1GiB")).cancel_command)
assert signal.getsignal(signal.SIGINT) is before
"""


def test_the_interrupt_key_stays_as_it_is():
    done = subprocess.run(  # another test may have imported the library
        [sys.executable, "-c", _IMPORTED],
        env=with_support(),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.stdout == "scancel\n", done.stderr
    assert done.returncode == 0, done.stderr
