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


@contextmanager
def private_temporary_folder() -> Iterator[Path]:
    """Have Dask keep spilled data and scratch folders in this user's own folder.

    Dask's default, ``dask-scratch-space`` in the temporary folder, may belong to another user: who
    owns it can replace what workers read back, and modules, as Dask puts scratch folders on the
    import path. Scratch folders that killed processes left behind are removed by the next cluster,
    as they are in Dask's default.

    Raises
    ------
    ClusterError
        If the folder belongs to another user, others may enter it, or it cannot be made.
    """
    parent = dask.config.get("temporary-directory") or tempfile.gettempdir()
    folder = Path(parent) / f"gfrnn-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        pass  # whatever it is, it is checked below
    except OSError as error:
        raise ClusterError(
            f"cluster: {folder} cannot be created ({error.strerror}); set TMPDIR to a folder "
            "of your own"
        ) from None
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ClusterError(
            f"cluster: {folder} is not a folder that only you may enter (mode 0700), so others "
            "could read data there; remove it, or set TMPDIR to a folder of your own"
        )
    with dask.config.set({"temporary-directory": str(folder)}):
        yield folder
