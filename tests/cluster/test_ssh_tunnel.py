"""Test the ssh command that forwards a page to the user's computer."""

from __future__ import annotations

import getpass
import socket

import pytest

from gfrnn.cluster.ssh_tunnel import ssh_tunnel_command

LOCAL = "http://127.0.0.1:8787/gfrnn"
FAR = "http://10.1.2.3:9000/gfrnn"


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    monkeypatch.setattr(socket, "getfqdn", lambda: "node7.cluster.org")


def test_a_page_of_this_machine_needs_no_tunnel():
    assert ssh_tunnel_command(LOCAL, {}) is None
    assert ssh_tunnel_command("http://localhost:8787/gfrnn", {}) is None
    assert ssh_tunnel_command("http://[::1]:8787/gfrnn", {}) is None


def test_an_ssh_session_forwards_through_this_machine():
    session = {"SSH_CONNECTION": "1.2.3.4 50000 10.0.0.1 22"}
    assert (
        ssh_tunnel_command(LOCAL, session) == "ssh -N -L 8787:127.0.0.1:8787 ada@node7.cluster.org"
    )
    assert ssh_tunnel_command(FAR, session) == "ssh -N -L 9000:10.1.2.3:9000 ada@node7.cluster.org"


@pytest.mark.parametrize("name", ["localhost", "localhost.localdomain"])
def test_a_machine_without_a_name_is_reached_at_the_address_of_the_session(name, monkeypatch):
    monkeypatch.setattr(socket, "getfqdn", lambda: name)
    session = {"SSH_CONNECTION": "1.2.3.4 50000 10.0.0.1 22"}
    assert ssh_tunnel_command(LOCAL, session) == "ssh -N -L 8787:127.0.0.1:8787 ada@10.0.0.1"
    assert ssh_tunnel_command(FAR, {}) == f"ssh -N -L 9000:10.1.2.3:9000 ada@{name}"


def test_a_page_of_another_machine_is_forwarded_through_this_one():
    assert ssh_tunnel_command(FAR, {}) == "ssh -N -L 9000:10.1.2.3:9000 ada@node7.cluster.org"
    assert ssh_tunnel_command("http://[fe80::1]:9000/gfrnn", {}) == (
        "ssh -N -L 9000:[fe80::1]:9000 ada@node7.cluster.org"
    )


@pytest.mark.parametrize("key", ["SLURM_SUBMIT_HOST", "PBS_O_HOST", "LSB_SUB_HOST", "SGE_O_HOST"])
def test_a_job_forwards_through_the_machine_that_submitted_it(key):
    assert ssh_tunnel_command(LOCAL, {key: "login1"}) == (
        "ssh -N -L 8787:127.0.0.1:8787 -J ada@login1 ada@node7.cluster.org"
    )
    assert ssh_tunnel_command(FAR, {key: "login1"}) == "ssh -N -L 9000:10.1.2.3:9000 ada@login1"


def test_a_job_on_the_machine_that_submitted_it_needs_no_jump():
    assert ssh_tunnel_command(LOCAL, {"SLURM_SUBMIT_HOST": "node7"}) == (
        "ssh -N -L 8787:127.0.0.1:8787 ada@node7"
    )


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_user_without_a_name_is_left_out(error, monkeypatch):
    def no_name() -> str:
        raise error("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", no_name)
    assert ssh_tunnel_command(FAR, {}) == "ssh -N -L 9000:10.1.2.3:9000 node7.cluster.org"
    assert ssh_tunnel_command(LOCAL, {"SLURM_SUBMIT_HOST": "login1"}) == (
        "ssh -N -L 8787:127.0.0.1:8787 -J login1 node7.cluster.org"
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_a_page_on_all_interfaces_is_forwarded_from_this_machine(host):
    page = f"http://{host}:8787/gfrnn"
    assert ssh_tunnel_command(page, {}) is None
    assert ssh_tunnel_command(page, {"SLURM_SUBMIT_HOST": "login1"}) == (
        "ssh -N -L 8787:127.0.0.1:8787 -J ada@login1 ada@node7.cluster.org"
    )
