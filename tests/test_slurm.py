"""Check that the Slurm of other tests is a real one and ends with them."""

from __future__ import annotations

import os
import time

import psutil
import pytest

from gfrnn_testing.slurm import Slurm

pytestmark = pytest.mark.slurm


def submit(slurm: Slurm, command: str, *options: str) -> str:
    return slurm.run("sbatch", "--parsable", *options, "--wrap", command).strip()


def wait_until_empty(slurm: Slurm) -> None:
    end = time.monotonic() + 30
    while slurm.queue():
        assert time.monotonic() < end, slurm.queue()
        time.sleep(0.1)


def test_jobs_run_and_leave_the_queue(slurm, tmp_path):
    job = submit(slurm, "echo here > told", f"--chdir={tmp_path}")
    assert job.isdigit()
    wait_until_empty(slurm)
    assert (tmp_path / "told").read_text() == "here\n"


def test_a_job_that_is_cancelled_ends(slurm, tmp_path):
    job = submit(slurm, "sleep 100; touch late", f"--chdir={tmp_path}")
    assert set(slurm.queue()) == {job}
    slurm.cancel(job)
    wait_until_empty(slurm)
    assert not (tmp_path / "late").exists()


def test_two_instances_run_side_by_side_and_leave_no_process(slurm, tmp_path_factory):
    other = Slurm(tmp_path_factory.mktemp("other"))
    try:
        job = submit(other, "sleep 200", "--output=/dev/null")
        assert set(other.queue()) == {job}
        assert not slurm.queue()
    finally:
        other.stop()
    for process in psutil.process_iter():
        try:
            known = process.environ().get("SLURM_CONF")
        except psutil.Error:
            continue
        assert known != other.environment["SLURM_CONF"] or process.status() == "zombie", process
    assert os.environ["SLURM_CONF"] == slurm.environment["SLURM_CONF"]
