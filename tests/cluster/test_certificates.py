"""Test the certificates of a run: private, temporary, and required for every connection."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from pathlib import Path

import pytest
from distributed import Client, Scheduler
from distributed.security import Security

from gfrnn.cluster import certificates
from gfrnn.cluster.certificates import certificates_in, temporary_certificates
from gfrnn.cluster.errors import ClusterError


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_certificates_are_for_their_owner_only_and_go_with_the_block(tmp_path):
    folder = tmp_path / "cluster" / "certificates"
    with temporary_certificates(folder):
        assert mode(folder) == 0o700
        files = list(folder.iterdir())
        assert len(files) == 2
        assert {mode(file) for file in files} == {0o600}
    assert not folder.exists()


def test_certificates_go_after_an_error_too(tmp_path):
    folder = tmp_path / "certificates"
    with pytest.raises(ZeroDivisionError), temporary_certificates(folder):
        raise ZeroDivisionError
    assert not folder.exists()


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "precious").touch()
    with (
        pytest.raises(ClusterError, match="File exists.*cluster.folder"),
        temporary_certificates(tmp_path),
    ):
        pass
    assert (tmp_path / "precious").exists()


def test_a_full_disk_leaves_no_part_of_a_key(tmp_path, monkeypatch):
    def fails(path, text):
        path.write_text(text[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(certificates, "_write", fails)
    with (
        pytest.raises(ClusterError, match="cannot be written .*No space left"),
        temporary_certificates(tmp_path / "certificates"),
    ):
        raise AssertionError("made")
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with (
        pytest.raises(ClusterError, match="pip install cryptography"),
        temporary_certificates(tmp_path / "certificates"),
    ):
        pass


def answers(security: Security, folder: Path) -> bool:
    """Return whether a scheduler with the folder's certificates accepts a client."""

    async def attempt() -> bool:
        async with Scheduler(
            host="127.0.0.1",
            protocol="tls",
            security=certificates_in(folder),
            dashboard=False,
            dashboard_address="127.0.0.1:0",  # a web server listens there even without a dashboard
            port=0,
        ) as scheduler:
            try:
                async with Client(
                    scheduler.address, security=security, asynchronous=True, timeout=3
                ):
                    return True
            except OSError:
                return False

    return asyncio.run(attempt())


def test_a_client_with_the_certificates_can_connect(tmp_path):
    with temporary_certificates(tmp_path / "ours"):
        assert answers(certificates_in(tmp_path / "ours"), tmp_path / "ours")


def test_a_client_with_other_certificates_is_refused(tmp_path):
    with temporary_certificates(tmp_path / "ours"):
        assert not answers(Security.temporary(), tmp_path / "ours")
