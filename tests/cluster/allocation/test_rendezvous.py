"""Test what a process of an allocation does before it has connected, without a launcher."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from gfrnn.cluster import ClusterConfig, ClusterError
from gfrnn.cluster.allocation.allocation import _is_of_connection, _Rendezvous
from gfrnn.cluster.allocation.ranks import DRIVER, Ranks
from gfrnn.cluster.certificates import new_certificates


def rendezvous(folder: Path, rank: int = 2, **keys: Any) -> _Rendezvous:
    return _Rendezvous(ClusterConfig(kind="srun", **keys), Ranks("n", rank, 4, 2**33), folder)


@pytest.mark.parametrize("spill", ["${NOT_SET:-HERE/home}/spill", "~/spill", "$SCRATCH/spill"])
def test_a_spill_folder_is_expanded_as_in_a_job_script(spill, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "SCRATCH"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.delenv("NOT_SET", raising=False)
    given = spill.replace("HERE", str(tmp_path))
    found = rendezvous(tmp_path / "n", spill=given)._temporary_folder()
    assert found == str(tmp_path / "home" / "spill" / f"gfrnn-{os.getuid()}")
    assert Path(found).is_dir()


@pytest.mark.parametrize("spill", ["$NOT_SET/x", "spill"])
def test_a_spill_folder_that_is_not_known_on_the_node_is_refused(spill, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(ClusterError, match=r"^cluster\.spill: "):
        rendezvous(tmp_path / "n", spill=spill)._temporary_folder()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rank", [1, 2], ids=["driver", "worker"])
def test_a_scheduler_that_cannot_be_reached_names_the_interface(rank, tmp_path, monkeypatch):
    monkeypatch.setattr(logging.getLogger("distributed.client"), "level", logging.CRITICAL)
    one = rendezvous(tmp_path / "n", rank, interface="lo", timeout=0.3, spill=str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    nobody = f"tls://127.0.0.1:{port}", new_certificates()
    monkeypatch.setattr(one, "find_scheduler", lambda: nobody)

    def connect() -> None:
        if rank == DRIVER:
            with one.run_driver():
                raise AssertionError("opened")
        asyncio.run(one._work())

    with pytest.raises(ClusterError) as caught:
        connect()
    for part in ("cluster.interface: lo: ", f"rank {rank} on ", nobody[0], "increase cluster.time"):
        assert part in str(caught.value)


def test_errors_of_the_machine_are_none_of_the_network():
    full = RuntimeError("Nanny failed to start.")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert not _is_of_connection(full)
    full.__cause__ = OSError("Timed out trying to connect")
    assert _is_of_connection(full)
    assert _is_of_connection(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"))
