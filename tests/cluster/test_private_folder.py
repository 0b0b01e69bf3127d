"""Test that only the owner may enter the folder of temporary files."""

from __future__ import annotations

import os
import stat

import dask
import pytest

from gfrnn.cluster import ClusterConfig, ClusterError, open_cluster
from gfrnn.cluster.private_folder import private_temporary_folder
from gfrnn_testing.intruder import NOBODY


@pytest.fixture
def parent(tmp_path):
    with dask.config.set({"temporary-directory": str(tmp_path)}):
        yield tmp_path


def test_the_folder_is_made_for_its_owner_and_used_again(parent):
    for _ in range(2):
        with private_temporary_folder() as folder:
            assert folder.parent == parent
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert dask.config.get("temporary-directory") == str(folder)
        assert dask.config.get("temporary-directory") == str(parent)


@pytest.mark.parametrize(
    "how", ["open to others", "of another user", "a link", "a link to nothing", "a file"]
)
def test_a_folder_that_others_control_is_refused(parent, how):
    folder = parent / f"gfrnn-{os.getuid()}"
    if how == "a link":
        (parent / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(parent / "elsewhere")
    elif how == "a link to nothing":
        folder.symlink_to(parent / "nothing")
    elif how == "a file":
        folder.touch()
    else:
        folder.mkdir(mode=0o700)
    if how == "open to others":
        folder.chmod(0o777)
    if how == "of another user":
        if os.getuid() != 0:
            pytest.skip("only root can give a folder to another user")
        os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(ClusterError) as caught, open_cluster(ClusterConfig(workers=1)):
        pass
    for part in (str(folder), "0700", "TMPDIR"):
        assert part in str(caught.value)


def test_a_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        dask.config.set({"temporary-directory": str(tmp_path / "file")}),
        pytest.raises(ClusterError, match="cannot be created .*TMPDIR"),
        private_temporary_folder(),
    ):
        pass
