"""Test the keys of batch systems: which are required, not allowed, or excluded by each other."""

from __future__ import annotations

import re

import dask
import pytest
from pydantic import ValidationError

from gfrnn.cluster import ClusterConfig, ClusterError, open_cluster, planned_cluster_size
from gfrnn.cluster.certificates import certificates_in, new_certificates
from gfrnn.cluster.config import BATCH_KINDS

LEAST = {"workers": 2, "memory": "1GiB"}


@pytest.mark.parametrize("kind", BATCH_KINDS)
def test_workers_and_memory_are_enough(kind):
    config = ClusterConfig(kind=kind, **LEAST)
    assert (config.threads, config.per_job, config.walltime) == (1, 1, "1h")


@pytest.mark.parametrize("kind", BATCH_KINDS)
@pytest.mark.parametrize("left_out", LEAST)
def test_workers_and_memory_are_needed(kind, left_out):
    given = {key: value for key, value in LEAST.items() if key != left_out}
    with pytest.raises(
        ValidationError,
        match=rf"kind {kind} needs workers .* and memory .*workers: 8 and memory: 4GiB",
    ):
        ClusterConfig(kind=kind, **given)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"kind": "slurm", "address": "tcp://h:1"},
            "address is allowed with kind existing only, but kind is slurm",
        ),
        (
            {"kind": "htcondor", "queue": "q"},
            "queue is allowed with kind slurm, pbs, lsf, sge or oar",
        ),
        ({"kind": "local", "walltime": "2h"}, "walltime is allowed with kind slurm, pbs"),
        ({"kind": "local", "interface": "ib0"}, "interface is allowed with kind slurm, pbs"),
        ({"kind": "slurm", "certificates": "x"}, "certificates is allowed with kind existing"),
        ({"kind": "slurm", "memory": "40MiB"}, "memory: 40MiB is too little: the process of a wor"),
        ({"kind": "slurm", "workers": 10, "per_job": 4}, "10 is not a multiple of per_job, 4"),
        ({"kind": "slurm", "walltime": "59s"}, "walltime: 59s is less than 60 s"),
        ({"kind": "slurm", "walltime": "12:00"}, "walltime"),
        ({"kind": "slurm", "walltime": 4320}, "4320 is ambiguous without a unit"),
        ({"kind": "slurm", "queue_wait": 7200}, "7200 is ambiguous without a unit"),
        ({"kind": "slurm", "queue_wait": "long"}, "queue_wait"),
        ({"kind": "slurm", "queue_wait": "-1h"}, "'-1h' is negative; write for example 1h"),
        ({"kind": "slurm", "threads": 0}, "threads"),
        ({"kind": "slurm", "per_job": 0}, "per_job"),
        ({"kind": "slurm", "directives": "--exclusive"}, "directives"),
        ({"kind": "sge", "threads": 4}, "4 cores in a job of kind sge need the name of a parallel"),
        ({"kind": "htcondor", "directives": ["noop"]}, "'noop' is not of the form name = value"),
        ({"kind": "slurm", "wall_time": "2h"}, "wall_time"),
    ],
)
def test_keys_that_exclude_each_other_are_refused(keys, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        ClusterConfig(**LEAST | keys)


def test_one_core_of_sge_needs_no_parallel_environment():
    ClusterConfig(kind="sge", **LEAST)
    ClusterConfig(kind="sge", **LEAST, threads=2, directives=["-pe smp 2"])


def test_a_key_without_a_value_is_not_given():
    assert ClusterConfig(kind="local", queue=None, interface=None).kind == "local"


def test_the_size_is_known_before_a_job_is_submitted():
    config = ClusterConfig(kind="slurm", workers=6, threads=2, memory="4GiB")
    assert planned_cluster_size(config) == (12, 2 * 2**30)
    assert planned_cluster_size(ClusterConfig(kind="existing", address="tcp://h:1")) is None


@pytest.mark.parametrize("kind", BATCH_KINDS)
def test_a_machine_without_the_batch_system_is_an_error(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    config = ClusterConfig(kind=kind, **LEAST, interface="lo", dashboard=":0")
    with (
        pytest.raises(
            ClusterError, match=f"no job can be submitted to {kind}: .*(no command|not fo)"
        ),
        open_cluster(config, folder=tmp_path),
    ):
        pass
    assert not list((tmp_path / "cluster").glob("tls-*"))


def test_a_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    config = ClusterConfig(kind="slurm", **LEAST, folder=str(tmp_path / "file" / "inside"))
    with pytest.raises(ClusterError, match=r"cluster\.folder: .*inside cannot be created"):
        open_cluster(config).__enter__()


@pytest.mark.parametrize("authority", ["certificate.pem", "ca.pem"])
def test_certificates_may_be_signed_by_another(tmp_path, authority):
    for name in {"certificate.pem", "key.pem", authority}:
        (tmp_path / name).write_text("")
    assert certificates_in(tmp_path).tls_ca_file == str(tmp_path / authority)


@pytest.mark.parametrize("missing", ["certificate.pem", "key.pem"])
def test_missing_certificates_are_named(tmp_path, missing):
    for name in {"certificate.pem", "key.pem"} - {missing}:
        (tmp_path / name).write_text("")
    config = ClusterConfig(kind="existing", address="tls://h:1", certificates=str(tmp_path))
    with pytest.raises(ClusterError, match=rf"cluster\.certificates: .*{missing} does not exist"):
        open_cluster(config).__enter__()


@pytest.mark.parametrize("broken", ["certificate.pem", "key.pem", "ca.pem"])
def test_broken_certificates_are_named(tmp_path, broken):
    good = new_certificates()
    (tmp_path / "certificate.pem").write_text(good.tls_ca_file)
    (tmp_path / "ca.pem").write_text(good.tls_ca_file)
    (tmp_path / "key.pem").write_text(good.tls_client_key)
    config = ClusterConfig(
        kind="existing", address="tls://127.0.0.1:1", certificates=str(tmp_path), timeout=0.2
    )
    with pytest.raises(ClusterError, match="no scheduler answers"):
        open_cluster(config).__enter__()
    (tmp_path / broken).write_text("not a certificate\n")
    with pytest.raises(
        ClusterError,
        match=rf"^cluster\.certificates: the files in {tmp_path} cannot be used \(.*PEM files",
    ):
        open_cluster(config).__enter__()


def test_broken_certificates_of_dask_s_configuration_are_named(tmp_path):
    (tmp_path / "a.pem").write_text("not a certificate\n")
    file = str(tmp_path / "a.pem")
    config = ClusterConfig(kind="existing", address="tls://127.0.0.1:1", timeout=0.2)
    tls = {f"distributed.comm.tls.{key}": file for key in ("ca-file", "client.cert", "client.key")}
    with (
        dask.config.set(tls),
        pytest.raises(ClusterError, match=r"^distributed\.comm\.tls in Dask's configuration: "),
    ):
        open_cluster(config).__enter__()
