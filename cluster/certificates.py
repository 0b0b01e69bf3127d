"""Certificates of one run: only processes that hold them can connect to each other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed.security import Security

from gfrnn.cluster.errors import ClusterError

_CERTIFICATE, _KEY, _AUTHORITY = "certificate.pem", "key.pem", "ca.pem"


def new_certificates() -> Security:
    """Make a key and a self-signed certificate, in memory only.

    Raises
    ------
    ClusterError
        If the package cryptography is missing.
    """
    try:
        security = Security.temporary()
    except ImportError:
        raise ClusterError(
            "cluster: TLS needs the package cryptography, which is not installed; run pip install "
            "cryptography"
        ) from None
    return security


@contextmanager
def temporary_certificates(folder: Path) -> Iterator[Security]:
    """Write new certificates into a new folder, and remove the folder at the end of the block.

    The folder has the mode 0700 and its files 0600.

    Parameters
    ----------
    folder : Path
        Must not exist. It is on a file system that all processes of the run share.

    Raises
    ------
    ClusterError
        If the certificates cannot be made or written.
    """
    made: Any = new_certificates()
    try:
        folder.mkdir(mode=0o700, parents=True)
        try:
            _write(folder / _CERTIFICATE, made.tls_ca_file)
            _write(folder / _KEY, made.tls_scheduler_key)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except OSError as error:
        raise ClusterError(
            f"cluster: certificates cannot be written to {folder} ({error.strerror}); "
            "set cluster.folder to a folder that is shared and writable"
        ) from None
    try:
        yield certificates_in(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def certificates_in(folder: Path) -> Security:
    """Return the certificates of a folder by the paths of their files.

    The folder holds ``certificate.pem`` and ``key.pem``, and ``ca.pem`` where the certificate is
    not self-signed.

    Raises
    ------
    FileNotFoundError
        If the certificate or the key is missing.
    """
    certificate, key, authority = (folder / name for name in (_CERTIFICATE, _KEY, _AUTHORITY))
    for path in (certificate, key):
        path.stat()
    return _for_all_roles(
        str(certificate), str(key), str(authority if authority.exists() else certificate)
    )


def read_certificates(folder: Path) -> Security:
    """Read self-signed certificates into memory, so that their files may be removed."""
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
    # The mode is set when the file is made: at no time is it readable by others.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
