"""A folder for temporary files of a cluster that only its owner can enter."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask

from gfrnn.cluster.errors import ClusterError


def make_private_folder(parent: str, setting: str) -> str:
    """Return this user's own folder in a folder that others may share, made where it is missing.

    Dask's default, ``dask-scratch-space``, may belong to another user: who owns it can replace what
    workers read back, and modules, as Dask puts scratch folders on the import path.

    Parameters
    ----------
    parent : str
        Path of the folder for temporary files.
    setting : str
        Key or variable that names the parent, for error messages.

    Raises
    ------
    ClusterError
        If the folder belongs to another user, others may enter it, or it cannot be made.
    """
    folder = Path(parent) / f"gfrnn-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        pass  # whatever it is, it is checked below
    except OSError as error:
        raise ClusterError(
            f"cluster: {folder} cannot be created ({error.strerror}); set {setting} to a folder of "
            "your own"
        ) from None
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ClusterError(
            f"cluster: {folder} is not a folder that belongs to you alone (mode 0700), so data "
            f"would not be safe there; remove it, or set {setting} to a folder of your own"
        )
    return str(folder)


@contextmanager
def private_temporary_folder() -> Iterator[Path]:
    """Have Dask keep spilled data and scratch folders of this machine in the private folder.

    Scratch folders that killed processes left behind are removed by the next cluster, as they are
    in Dask's default.

    Raises
    ------
    ClusterError
        If the folder belongs to another user, others may enter it, or it cannot be made.
    """
    parent = dask.config.get("temporary-directory") or tempfile.gettempdir()
    folder = make_private_folder(parent, "TMPDIR")
    with dask.config.set({"temporary-directory": folder}):
        yield Path(folder)
