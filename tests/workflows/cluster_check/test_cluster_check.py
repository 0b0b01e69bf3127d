"""Test ``gfrnn cluster check``: problems are found and named, and sound clusters have none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from gfrnn.workflows.cluster_check.check import print_workers
from gfrnn.workflows.cluster_check.probe import (
    SpillFolder,
    WorkerInfo,
    WorkerProbe,
    version_differences,
)
from gfrnn.workflows.cluster_check.problems import ClusterFinding, find_problems
from gfrnn.workflows.commands.main import main

FOLDER = Path("/scratch/runs")
NODE = WorkerInfo(
    host="n1",
    cores=frozenset(range(4)),
    threads=1,
    memory=2**30,
    blas="openblas 0.3",
    blas_threads=1,
    product=20e9,
    folding=10e9,
    sees_folder=True,
    spill=SpillFolder("/tmp/worker", "ext4", ""),
)


def workers(*changes: dict[str, object]) -> list[WorkerProbe]:
    """Return a sound worker for each of the changes, with that change."""
    return [
        WorkerProbe(str(number), replace(NODE, **change), written=True)
        for number, change in enumerate(changes)
    ]


def only(found: list[ClusterFinding]) -> ClusterFinding:
    (finding,) = found
    return finding


def test_sound_workers_have_no_problems():
    assert find_problems(workers({}, {}, {"host": "n2"}), FOLDER) == []


def test_a_worker_that_does_not_answer():
    silent = WorkerProbe("7", trouble="no answer within 60 s; check its log")
    assert only(find_problems([*workers({}), silent], FOLDER)) == ClusterFinding(
        "error", "7", silent.trouble
    )


def test_versions_that_differ_name_both():
    ours = {"packages": {"numpy": "2.2", "zarr": "3.1"}, "host": {"python": "3.11.7"}}
    theirs = {"packages": {"numpy": "2.1", "zarr": "3.1"}, "host": {"python": "3.12.0"}}
    found = version_differences(ours, theirs)
    assert found == {"numpy": ("2.1", "2.2"), "python": ("3.12.0", "3.11.7")}
    assert version_differences(ours, ours) == {}
    finding = only(
        find_problems([replace(worker, versions=found) for worker in workers({}, {})], FOLDER)
    )
    assert (finding.severity, finding.where) == ("error", "0, 1")  # one finding, two workers
    assert "numpy 2.1 (here 2.2), python 3.12.0 (here 3.11.7)" in finding.message
    assert "cluster.python" in finding.message


def test_a_package_that_is_missing_there():
    ours = {"packages": {"lz4": "4.0"}, "host": {"python": "3.11"}}
    theirs = {"packages": {"lz4": None}, "host": {"python": "3.11"}}
    assert version_differences(ours, theirs) == {"lz4": ("none", "4.0")}


def test_a_folder_that_is_not_shared():
    finding = only(find_problems(workers({}, {"sees_folder": False}), FOLDER))
    assert (finding.severity, finding.where) == ("error", "1")
    assert f"{FOLDER} is not visible there" in finding.message
    assert "--output" in finding.message


def test_a_folder_that_cannot_be_written():
    finding = only(
        find_problems([replace(worker, written=False) for worker in workers({})], FOLDER)
    )
    assert finding.severity == "error"
    assert "cannot be written from there" in finding.message


@pytest.mark.parametrize(
    ("spill", "severity", "message"),
    [
        (
            SpillFolder("/s", "xfs", "Permission denied"),
            "error",
            "cannot be written (Permission denied)",
        ),
        (SpillFolder("/s", "nfs4", ""), "warning", "/s is on the network file system nfs4"),
        (SpillFolder("/s", "lustre", ""), "warning", "/s is on the network file system lustre"),
    ],
)
def test_spill_folders(spill, severity, message):
    finding = only(find_problems(workers({"spill": spill}), FOLDER))
    assert finding.severity == severity
    assert message in finding.message
    assert "cluster.spill" in finding.message


@pytest.mark.parametrize(
    ("changes", "threads"),
    [
        ([{"blas_threads": 4}, {"blas_threads": 4}], 8),
        ([{"threads": 2, "blas_threads": 3}], 6),
        ([{"blas_threads": 4}, {"blas_threads": 4, "host": "n2"}], None),  # each has 4 cores
        ([{"threads": 8}], None),  # more tasks than cores are no problem of BLAS
        ([{"cores": frozenset([n]), "blas_threads": 2} for n in range(4)], 8),  # each is bound
        ([{"cores": frozenset([n])} for n in range(4)], None),
    ],
)
def test_blas_threads_are_counted_for_a_host(changes, threads):
    found = find_problems(workers(*changes), FOLDER)
    if threads is None:
        assert found == []
    else:
        finding = only(found)
        assert (finding.severity, finding.where) == ("warning", "n1")
        assert f"{threads} BLAS threads of all workers on 4 cores" in finding.message
        assert "OMP_NUM_THREADS=1" in finding.message


def test_a_worker_slower_than_half_of_the_median():
    assert find_problems(workers({}, {}, {"folding": 5.1e9}), FOLDER) == []
    finding = only(find_problems(workers({}, {}, {"folding": 4.9e9}), FOLDER))
    assert (finding.severity, finding.where) == ("warning", "2")
    assert "4.9 Gflop/s, less than half of the median of 10.0" in finding.message


# The command, on real clusters


def test_names_of_workers_are_whole_in_a_narrow_terminal(capsys):
    names = [f"worker-{number}-of-a-long-name" for number in range(2)]
    rates = dict.fromkeys(("from_driver", "to_driver", "to_next"), 1234e6)
    found = [
        replace(each, name=name, bandwidth=rates)
        for each, name in zip(workers({"host": "h" * 30}, {}), names, strict=True)
    ]
    print_workers(found, Console(width=80))
    lines = capsys.readouterr().out.splitlines()
    whole = "".join(line.split()[0] for line in lines if line.strip())
    assert all(name in whole for name in names)
    assert "\N{HORIZONTAL ELLIPSIS}" not in "".join(lines)


def check(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["gfrnn", "cluster", "check", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
    answer = capsys.readouterr()
    return int(caught.value.code or 0), answer.out, answer.err


@pytest.mark.slow
@pytest.mark.cluster
def test_a_local_cluster_is_sound(capsys, tmp_path):
    file = tmp_path / "here.yaml"
    file.write_text(yaml.safe_dump({"workers": 2, "memory": "500MiB", "dashboard": ":0"}))
    runs = tmp_path / "runs"
    code, out, _ = check(capsys, "--cluster", file, "--output", runs, "--json")
    found = json.loads(out)  # with --json, the tables are on the standard error
    assert code == 0
    assert [finding["severity"] for finding in found["findings"]] in ([], ["warning"])  # its speed
    assert found["cluster"]["workers"] == 2
    for worker in found["workers"]:
        node = worker["node"]
        assert node["memory"] == 500 * 2**20
        assert (node["threads"], node["blas_threads"]) == (1, 1)
        assert node["sees_folder"]
        assert worker["written"]
        assert worker["versions"] == {}
        assert set(worker["bandwidth"]) == {"from_driver", "to_driver", "to_next"}
        assert min(worker["bandwidth"].values()) > 0
        assert node["product"] > 0
        assert node["folding"] > 0
    assert list(runs.iterdir()) == []  # it leaves nothing behind


def test_a_wrong_cluster_file_is_an_error(capsys, tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text("worker: 2\n")
    code, _, err = check(capsys, "--cluster", file)
    assert code == 2
    assert f"{file}: worker: unknown key; did you mean workers?" in err


@contextmanager
def scheduler_with(folder: Path, prefix: list[str], **environment: str) -> Iterator[Path]:
    """Start a scheduler, and by ``prefix`` a worker with two threads; yield its scheduler file."""
    file = folder / "scheduler.json"
    python = [sys.executable, "-m"]
    scheduler = [
        *(*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"),
        *("--no-dashboard", "--scheduler-file", str(file)),
    ]
    worker = [
        *(*prefix, *python, "distributed.cli.dask_worker", "--scheduler-file", str(file)),
        *("--host", "127.0.0.1", "--no-dashboard", "--no-nanny", "--nthreads", "2"),
        *("--local-directory", str(folder)),
    ]
    running = []
    try:
        for command in (scheduler, worker):
            with open(folder / f"{len(running)}.log", "wb") as log:
                running.append(
                    subprocess.Popen(
                        command, stdout=log, stderr=log, env=os.environ | environment, cwd=folder
                    )
                )
            while not file.exists():
                time.sleep(0.05)
        yield file
    finally:
        for process in reversed(running):
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.cluster
def test_an_existing_worker_with_too_many_blas_threads(capsys, tmp_path):
    many = str(len(os.sched_getaffinity(0)))
    with scheduler_with(tmp_path, [], OPENBLAS_NUM_THREADS=many, OMP_NUM_THREADS=many) as file:
        code, out, err = check(capsys, "--scheduler", file, "-o", tmp_path / "runs")
    assert (code, err) == (0, "")  # slow, but it works
    assert f"warning {os.uname().nodename}: {2 * int(many)} BLAS threads of all workers" in out
    assert "no limit" not in out


def isolated() -> list[str]:
    """Return a command that runs another one with private mounts."""
    command = ["unshare", "--mount", "--propagation", "private"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no mount namespaces here: unshare needs root")
    return command


@pytest.mark.slow
@pytest.mark.cluster
def test_a_worker_without_access_to_the_folder(capsys, tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    hidden = [*isolated(), "sh", "-c", f'mount -t tmpfs none {runs} && exec "$@"', "sh"]
    with scheduler_with(tmp_path, hidden, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1") as file:
        code, out, _ = check(capsys, "--scheduler", file, "-o", runs)
    assert code == 1
    assert f"the folder {runs} is not visible there; choose a folder (--output)" in out
    assert list(runs.iterdir()) == []
