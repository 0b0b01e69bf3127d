"""Test the ranks of the processes of an allocation, which launchers set in the environment."""

from __future__ import annotations

import sys

import pytest
from distributed.system import MEMORY_LIMIT

from gfrnn.cluster.allocation.ranks import find_ranks
from gfrnn.cluster.errors import ClusterError

STEP = {
    "SLURM_JOB_ID": "12",
    "SLURM_STEP_ID": "3",
    "SLURM_PROCID": "4",
    "SLURM_STEP_NUM_TASKS": "7",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3),1",
    "SLURM_NODEID": "2",
    "SLURM_MEM_PER_NODE": "1000",
    "SLURM_CPUS_ON_NODE": "4",
}
MIB = 2**20


@pytest.fixture
def step(monkeypatch):
    """Set the environment of a task of a job step, with changes; None removes a variable."""

    def enter(**changes: str | None) -> None:
        for name in ("SLURM_MEM_PER_CPU", "SLURM_RESTART_COUNT", *STEP):
            monkeypatch.delenv(name, raising=False)
        for name, value in (STEP | changes).items():
            if value is not None:
                monkeypatch.setenv(name, value)

    return enter


def test_rank_size_and_memory_come_from_the_environment(step):
    step()
    found = find_ranks("srun")
    assert (found.rank, found.size) == (4, 7)
    assert found.memory == 500 * MIB  # two tasks on the third node


def test_every_start_has_a_unique_name(step):
    names = []
    for changes in ({}, {"SLURM_STEP_ID": "4"}, {"SLURM_RESTART_COUNT": "1"}):
        step(**changes)
        names.append(find_ranks("srun").name)
    step(SLURM_PROCID="0")
    assert find_ranks("srun").name == names[0]  # the same for all tasks of a start
    assert len(set(names)) == 3


@pytest.mark.parametrize(
    ("changes", "memory"),
    [
        ({"SLURM_NODEID": "3"}, 1000 * MIB),  # alone on the last node
        ({"SLURM_MEM_PER_NODE": None, "SLURM_MEM_PER_CPU": "300"}, 600 * MIB),
        ({"SLURM_MEM_PER_NODE": "0"}, MEMORY_LIMIT // 2),  # all memory of the node
        ({"SLURM_MEM_PER_NODE": None}, MEMORY_LIMIT // 2),
        ({"SLURM_MEM_PER_NODE": str(2**40)}, MEMORY_LIMIT // 2),  # more than the machine has
    ],
)
def test_memory_is_an_equal_share_of_the_node(step, changes, memory):
    step(**changes)
    assert find_ranks("srun").memory == memory


def test_outside_of_a_step_the_error_names_the_command(step):
    step(SLURM_STEP_ID=None)  # as in the batch script itself
    with pytest.raises(ClusterError, match="'SLURM_STEP_ID' is not in .*srun --ntasks=4 gfrnn run"):
        find_ranks("srun")


def test_two_processes_are_too_few(step):
    step(SLURM_STEP_NUM_TASKS="2")
    with pytest.raises(ClusterError, match="2 processes are too few .*; start 3 or more"):
        find_ranks("srun")
    step(SLURM_STEP_NUM_TASKS="3")
    assert find_ranks("srun").size == 3


def test_without_mpi4py_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ClusterError, match="mpi4py.* with its extra mpi"):
        find_ranks("mpi")


def test_without_an_mpi_library_the_error_names_the_remedy(monkeypatch):
    class BrokenMpi:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError("cannot load MPI library")

    monkeypatch.setitem(sys.modules, "mpi4py", BrokenMpi())
    with pytest.raises(ClusterError, match=r"cannot load MPI library\); load the module"):
        find_ranks("mpi")
