"""Test the parsing of the output of batch systems with examples from their manuals."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gfrnn.cluster.batch.queues import query_queue
from gfrnn.cluster.batch.systems import SYSTEMS
from gfrnn.cluster.config import BATCH_KINDS

ANSWERS = {
    "slurm": (
        "squeue",
        "12 RUNNING None\n13 PENDING Resources\n14 FAILED NonZeroExitCode\n"
        "15 PENDING PartitionTimeLimit\n",
        {"12": "running", "13": "waiting", "14": "over", "15": "hopeless", "99": "unknown"},
    ),
    "pbs": (
        "qstat",
        "Job id            Name             User              Time Use S Queue\n"
        "----------------  ---------------- ----------------  -------- - -----\n"
        "12.server         gfrnn            someone           00:01:02 R workq\n"
        "13.server         gfrnn            someone                  0 Q workq\n"
        "14.server         gfrnn            someone           00:00:01 F workq\n"
        "15.server         gfrnn            someone                  0 H workq\n",
        {"12": "running", "13": "waiting", "14": "over", "15": "hopeless", "99": "unknown"},
    ),
    "lsf": (
        "bjobs",
        "12         RUN\n13         PEND\n14         EXIT\n15         PSUSP\n",
        {"12": "running", "13": "waiting", "14": "over", "15": "hopeless", "99": "unknown"},
    ),
    "sge": (
        "qstat",
        "job-ID  prior   name       user         state submit/start at     queue       slots\n"
        "-------------------------------------------------------------------------------------\n"
        "     12 0.55500 gfrnn      someone      r     02/15/2026 12:00:00 all.q@node1     4\n"
        "     13 0.00000 gfrnn      someone      qw    02/15/2026 12:00:00                 4\n"
        "     15 0.00000 gfrnn      someone      Eqw   02/15/2026 12:00:00                 4\n",
        {"12": "running", "13": "waiting", "15": "hopeless", "99": "unknown"},
    ),
    "oar": (
        "oarstat",
        "12: Running\n13: Waiting\n14: Terminated\n15: Hold\n",
        {"12": "running", "13": "waiting", "14": "over", "15": "hopeless", "99": "unknown"},
    ),
    "htcondor": (
        "condor_q",
        "12.0 2 undefined\n13.0 1 undefined\n14.0 4 undefined\n15.0 5 Disk quota exceeded\n",
        {
            "12.0": "running",
            "13.0": "waiting",
            "14.0": "over",
            "15.0": "hopeless",
            "99.0": "unknown",
        },
    ),
}


@pytest.fixture
def answering(tmp_path, monkeypatch):
    """Install a command with a fixed output; the file returned will hold its arguments."""

    def answering(command: str, out: str = "", complaint: str = "", code: int = 0) -> Path:
        (tmp_path / "out").write_text(out)
        (tmp_path / "complaint").write_text(complaint)
        called = tmp_path / "called"
        script = tmp_path / command
        script.write_text(
            f'#!/bin/sh\necho "$@" > {called}\n/bin/cat {tmp_path}/out\n'
            f"/bin/cat {tmp_path}/complaint >&2\nexit {code}\n"
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        return called

    return answering


@pytest.mark.parametrize("kind", BATCH_KINDS)
def test_answers_are_read(answering, kind):
    command, out, meant = ANSWERS[kind]
    called = answering(command, out)
    found = asyncio.run(query_queue(SYSTEMS[kind], list(meant)))
    assert found is not None
    phases = {job: "hopeless" if state.hopeless else state.phase for job, state in found.items()}
    assert phases == meant
    if kind != "sge":  # where all of the user's jobs are asked for
        assert all(job in called.read_text() for job in meant)


def test_reasons_are_kept(answering):
    answering("squeue", "13 PENDING Resources\n14 RUNNING None\n")
    found = asyncio.run(query_queue(SYSTEMS["slurm"], ["13", "14"]))
    assert found is not None
    assert [found[job].text for job in ("13", "14")] == ["PENDING (Resources)", "RUNNING"]
    answering("condor_q", "15.0 5 Disk quota exceeded\n")
    held = asyncio.run(query_queue(SYSTEMS["htcondor"], ["15.0"]))
    assert held is not None
    assert held["15.0"].text == "5 (Disk quota exceeded)"


@pytest.mark.parametrize(
    ("kind", "command", "complaint"),
    [
        ("slurm", "squeue", "slurm_load_jobs error: Invalid job id specified"),
        ("pbs", "qstat", "qstat: Unknown Job Id 12.server"),
        ("pbs", "qstat", "qstat: 12.server Job has finished, use -x or -H to obtain information"),
        ("lsf", "bjobs", "Job <12> is not found"),
    ],
)
def test_a_job_that_is_gone_is_unknown(answering, kind, command, complaint):
    answering(command, complaint=complaint, code=1)
    found = asyncio.run(query_queue(SYSTEMS[kind], ["12"]))
    assert found is not None
    assert found["12"].phase == "unknown"


@pytest.mark.parametrize("kind", BATCH_KINDS)
def test_an_empty_answer_gives_no_states(answering, kind):
    answering(ANSWERS[kind][0], complaint="Unable to contact the controller", code=1)
    assert asyncio.run(query_queue(SYSTEMS[kind], ["12"])) is None


def test_a_missing_command_gives_no_states(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert asyncio.run(query_queue(SYSTEMS["slurm"], ["12"])) is None
