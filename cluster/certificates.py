"""Certificates for one run: whoever has them may connect, and nobody else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed.security import Security

from gfrnn.cluster.errors import ClusterError

_CERTIFICATE, _KEY, _AUTHORITY = "certificate.pem", "key.pem", "ca.pem"


@contextmanager
def temporary_certificates(folder: Path) -> Iterator[Security]:
    """Fresh certificates in a fresh folder that only its owner may read; it goes with the block.

    Parameters
    ----------
    folder : Path
        Not there yet; on a file system that all processes of the run share.

    Raises
    ------
    ClusterError
        If they cannot be made or written.
    """
    try:
        made = Security.temporary()
    except ImportError:
        raise ClusterError(
            "cluster: TLS needs the package cryptography; pip install 'gfrnn[hpc]'"
        ) from None
    try:
        folder.mkdir(mode=0o700, parents=True)
        _write(folder / _CERTIFICATE, made.tls_ca_file)
        _write(folder / _KEY, made.tls_scheduler_key)
    except OSError as error:
        raise ClusterError(
            f"cluster: {folder}: no certificates can be written ({error.strerror}); "
            "give cluster.folder a new place that is shared and writable"
        ) from None
    try:
        yield certificates_in(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def certificates_in(folder: Path) -> Security:
    """The certificates that :func:`temporary_certificates` wrote, as files; or others of these
    names, which those in a file ``ca.pem`` may have signed.

    Raises
    ------
    FileNotFoundError
    """
    certificate, key, authority = (folder / name for name in (_CERTIFICATE, _KEY, _AUTHORITY))
    for path in (certificate, key):
        path.stat()
    return _for_all_roles(
        str(certificate), str(key), str(authority if authority.exists() else certificate)
    )


def read_certificates(folder: Path) -> Security:
    """The same, held in memory: the files may go."""
    certificate, key = ((folder / name).read_text("ascii") for name in (_CERTIFICATE, _KEY))
    return _for_all_roles(certificate, key, certificate)


def _for_all_roles(certificate: str, key: str, authority: str) -> Security:
    roles = ("client", "scheduler", "worker")
    return Security(
        require_encryption=True,
        tls_ca_file=authority,
        **{f"tls_{role}_cert": certificate for role in roles},
        **{f"tls_{role}_key": key for role in roles},
    )


def _write(path: Path, text: str) -> None:
    # The mode counts from the first byte on.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
