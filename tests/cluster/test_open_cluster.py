"""Test that clusters open on this machine only, leave nothing running, and never wait endlessly."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
from distributed import Client, get_client
from distributed.system import MEMORY_LIMIT
from pydantic import ValidationError

from gfrnn.cluster import (
    ClusterConfig,
    ClusterError,
    local_cluster,
    open_cluster,
    planned_cluster_size,
)
from gfrnn.cluster.worker_environment import nanny_settings
from gfrnn.cluster.worker_memory import memory_limit
from gfrnn_testing.waiting import eventually

MIB = 2**20


def local(**keys: Any) -> ClusterConfig:
    return ClusterConfig(**{"workers": 1, "dashboard": "127.0.0.1:0", "memory": "400MiB"} | keys)


def existing(**keys: Any) -> ClusterConfig:
    return ClusterConfig(kind="existing", **keys)


def listening(processes: list[psutil.Process]) -> set[tuple[str, int]]:
    """Return the addresses at which processes accept connections."""
    own = {process.pid for process in processes}
    return {
        (connection.laddr.ip, connection.laddr.port)
        for connection in psutil.net_connections("inet")
        if connection.pid in own and connection.status == psutil.CONN_LISTEN
    }


def family() -> list[psutil.Process]:
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


# --- configuration ------------------------------------------------------------------------------


def test_defaults_are_this_machine():
    config = ClusterConfig()
    assert config.kind == "local"
    assert config.workers is None
    assert config.dashboard.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"kind": "existing"},
            "kind existing needs either address or scheduler_file, none given",
        ),
        (
            {"kind": "existing", "address": "tcp://h:1", "scheduler_file": "s.json"},
            "kind existing needs either address or scheduler_file, both given",
        ),
        ({"address": "tcp://h:1"}, "address is allowed with kind existing only, but kind is local"),
        (
            {"scheduler_file": "s"},
            "scheduler_file is allowed with kind existing only, but kind is local",
        ),
        (
            {"kind": "existing", "address": "tcp://h:1", "workers": 2},
            "workers is allowed with kind local, slurm, pbs, lsf, sge, oar or htcondor only, "
            "but kind is existing",
        ),
        (
            {"kind": "existing", "address": "tcp://h:1", "memory": "1GiB"},
            "memory is allowed with kind local, slurm",
        ),
        (
            {"queue": "debug"},
            "queue is allowed with kind slurm, pbs, lsf, sge or oar only, but kind is local",
        ),
        ({"memory": "lots"}, "'lots' is not a size; write for example 4GiB"),
        ({"memory": "4 parsecs"}, "'4 parsecs' is not a size; write for example 4GiB"),
        ({"workers": 0}, "workers"),
        ({"workers": -1}, "workers"),
        ({"timeout": 0}, "timeout"),
        ({"kind": "cloud"}, "kind"),
        ({"worker": 2}, "worker"),
    ],
)
def test_keys_that_exclude_each_other_are_refused(keys, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        ClusterConfig(**keys)


def test_memory_that_the_process_of_a_worker_takes_is_refused():
    """Dask would pause such a worker before its first task, and the run would wait for ever."""
    with (
        pytest.raises(ClusterError, match=r"cluster\.memory: 150MiB is too little.* 256MiB"),
        open_cluster(local(memory="150MiB")),
    ):
        raise AssertionError("opened")
    # Plans, which are made before, would say that every task needs more than nothing.
    with pytest.raises(ClusterError, match=r"cluster\.memory: 4 is too little"):
        planned_cluster_size(local(memory="4"))
    with pytest.raises(ClusterError, match=r"cluster\.memory: 1 is too little"):
        planned_cluster_size(local(memory="1"))


@pytest.mark.cluster
def test_the_environment_is_restored_when_a_local_cluster_ends():
    """Processes that a notebook starts later would be as quiet as workers of this cluster."""
    names = [key.rpartition(".")[2] for key in nanny_settings()]
    before = {name: os.environ.get(name) for name in names}
    with open_cluster(local()):
        assert os.environ["DASK_LOGGING__DISTRIBUTED"] == "critical"  # nannies set it here
    assert {name: os.environ.get(name) for name in names} == before
    assert before["DASK_LOGGING__DISTRIBUTED"] is None


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_local_workers_share_the_memory_of_the_machine(workers):
    config = local(workers=workers, memory=None)
    assert planned_cluster_size(config) == (workers, memory_limit(MEMORY_LIMIT) // workers)


def test_more_workers_than_the_memory_suffices_for_are_refused():
    workers = MEMORY_LIMIT // 2**20 // 100
    with pytest.raises(ClusterError, match=rf"machine's memory by {workers} .*fewer workers"):
        planned_cluster_size(local(workers=workers, memory=None))


@pytest.mark.parametrize("memory", ["4GiB", "500MB", "1e9", "2 GB"])
def test_memory_sizes_are_accepted(memory):
    assert ClusterConfig(memory=memory).memory == memory


def test_a_configuration_never_changes():
    config = ClusterConfig()
    with pytest.raises(ValidationError):
        config.workers = 3


# --- local --------------------------------------------------------------------------------------


@pytest.mark.cluster
@pytest.mark.parametrize("dashboard", ["127.0.0.1:0", ":0"])
def test_a_local_cluster_listens_on_this_machine_only(dashboard):
    before = listening(family())
    with open_cluster(local(dashboard=dashboard)) as cluster:
        assert cluster.client.scheduler.address.startswith("tls://127.0.0.1:")
        port = int(cluster.dashboard.split(":")[2].split("/")[0])
        opened = listening(family()) - before
        assert ("127.0.0.1", port) in opened
        assert len(opened) >= 4  # scheduler, dashboard, nanny, worker
        assert {address for address, _ in opened} == {"127.0.0.1"}


@pytest.mark.cluster
def test_workers_keep_memory_for_the_next_leaf_and_have_one_blas_thread():
    before = dask.config.get("distributed.nanny.pre-spawn-environ")
    safe_path_before = os.environ.get("PYTHONSAFEPATH")
    with open_cluster(local()) as cluster:
        (found,) = cluster.client.run(lambda: dict(os.environ)).values()
    assert int(found["MALLOC_MMAP_THRESHOLD_"]) == 32 * MIB
    assert int(found["MALLOC_TRIM_THRESHOLD_"]) == 16 * MIB
    assert found["OMP_NUM_THREADS"] == "1"
    assert found["PYTHONSAFEPATH"] == "1"
    assert os.environ.get("PYTHONSAFEPATH") == safe_path_before
    assert dask.config.get("distributed.nanny.pre-spawn-environ") == before


@pytest.mark.cluster
def test_a_local_cluster_is_as_configured_and_ends(monkeypatch):
    with open_cluster(local(workers=2)) as cluster:
        assert cluster.kind == "local"
        assert get_client() is cluster.client
        limits = cluster.client.run(lambda dask_worker: dask_worker.memory_manager.memory_limit)
        assert list(limits.values()) == [400 * MIB] * 2
        assert list(cluster.client.nthreads().values()) == [1, 1]
        pids = cluster.client.run(os.getpid)
        assert len({os.getpid(), *pids.values()}) == 3  # processes of their own
        # A refresh in the background may replace what the client knows by a form without workers.
        monkeypatch.setattr(Client, "scheduler_info", lambda *_, **__: {"workers": {}})
        assert cluster.describe() == {
            "kind": "local",
            "workers": 2,
            "threads": 2,
            "memory_gib": 0.78,
        }
    assert cluster.client.status == "closed"
    assert eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids.values()))
    with pytest.raises(ValueError, match="No global client"):
        get_client()


@pytest.mark.cluster
def test_signals_while_a_local_cluster_starts_are_late_and_do_not_end_its_workers(monkeypatch):
    received: list[int] = []
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]
    start = local_cluster._start

    def interrupted(*arguments: Any) -> Any:
        cluster = start(*arguments)
        for each in family():  # as a batch system does: to all processes of a job
            for number in numbers:
                each.send_signal(number)
        assert received == []
        return cluster

    monkeypatch.setattr(local_cluster, "_start", interrupted)
    done = threading.Event()  # a thread that runs before takes signals that others block
    threading.Thread(target=done.wait, daemon=True).start()
    before = {each: signal.signal(each, lambda sent, _: received.append(sent)) for each in numbers}
    try:
        with open_cluster(local()) as cluster:
            assert sorted(received) == sorted(numbers)
            (worker,) = cluster.client.run(os.getpid).values()
            for number in numbers:
                os.kill(worker, number)
            assert cluster.client.submit(os.getpid).result() == worker
            assert len(family()) == 3  # with the tracker of resources of multiprocessing
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
    finally:
        done.set()
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.cluster
def test_a_local_cluster_ends_after_an_error():
    clients: list[Client] = []
    addresses: list[str] = []
    pids: dict[str, int] = {}

    def trouble() -> None:
        with open_cluster(local()) as cluster:
            clients.append(cluster.client)
            addresses.append(cluster.client.scheduler.address)
            pids.update(cluster.client.run(os.getpid))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trouble()
    assert clients[0].status == "closed"
    assert eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids.values()))
    port = int(addresses[0].rsplit(":", 1)[1])
    assert eventually(lambda: ("127.0.0.1", port) not in listening(family()))


@pytest.mark.slow
@pytest.mark.cluster
def test_a_worker_that_gets_no_processor_for_a_while_is_not_lost():
    """A stopped process accepts no connection for longer than Dask's default timeout of 30 s."""
    with open_cluster(ClusterConfig(workers=2, dashboard=":0")) as cluster:
        nannies: dict[str, Any] = cluster.client.cluster.workers  # no connection is made before
        processes = [psutil.Process(nanny.pid) for nanny in nannies.values()]
        processes[0].suspend()
        timer = threading.Timer(35, processes[0].resume)
        timer.start()
        try:
            found = cluster.client.run(os.getpid)
        finally:
            timer.cancel()
            processes[0].resume()
        assert sorted(found.values()) == sorted(process.pid for process in processes)


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # tornado's, of the taken port
def test_another_port_is_used_if_the_dashboard_port_is_taken():
    with open_cluster(local()) as first:
        port = first.dashboard.split(":")[2].split("/")[0]
        with open_cluster(local(dashboard=f"127.0.0.1:{port}")) as second:
            assert second.dashboard != first.dashboard
            assert second.dashboard.startswith("http://127.0.0.1:")
    gc.collect()


# --- existing -----------------------------------------------------------------------------------


def start(folder: Path, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    with open(folder / f"{name}.log", "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "distributed.cli." + name, *arguments],
            stdout=log,
            stderr=log,
            cwd=folder,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(20)


def start_scheduler(folder: Path) -> subprocess.Popen[bytes]:
    return start(
        folder,
        "dask_scheduler",
        *("--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
        *("--scheduler-file", str(folder / "scheduler.json")),
    )


def address_in(folder: Path) -> str:
    file = folder / "scheduler.json"

    def whole() -> bool:
        try:
            return "address" in json.loads(file.read_text())
        except (OSError, ValueError):
            return False

    assert eventually(whole), (folder / "dask_scheduler.log").read_text()
    return str(json.loads(file.read_text())["address"])


@pytest.fixture(scope="module")
def lonely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start a scheduler without workers and return its folder."""
    folder = tmp_path_factory.mktemp("lonely")
    scheduler = start_scheduler(folder)
    address_in(folder)
    yield folder
    stop(scheduler)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Start a scheduler with one worker of two threads without memory limit; return its folder."""
    folder = tmp_path_factory.mktemp("running")
    scheduler = start_scheduler(folder)
    worker = start(
        folder,
        "dask_worker",
        *(address_in(folder), "--host", "127.0.0.1", "--no-dashboard", "--no-nanny"),
        *("--nthreads", "2", "--memory-limit", "0", "--local-directory", str(folder)),
    )
    yield folder
    stop(worker)
    stop(scheduler)


@pytest.mark.cluster
@pytest.mark.parametrize("by", ["address", "scheduler_file"])
def test_an_existing_cluster_is_joined_and_left_running(running, by):
    place = {
        "address": address_in(running),
        "scheduler_file": str(running / "scheduler.json"),
    }
    for _ in range(2):  # the second time shows that it was left running
        with open_cluster(existing(**{by: place[by]}, timeout=180)) as cluster:
            assert cluster.kind == "existing"
            assert get_client() is cluster.client
            assert cluster.client.submit(pow, 2, 10).result() == 1024
            description = cluster.describe()
            assert description == {
                "kind": "existing",
                "workers": 1,
                "threads": 2,
                "memory_gib": description["memory_gib"],
            }
        assert cluster.client.status == "closed"


@pytest.mark.cluster
def test_an_existing_cluster_runs_on_after_an_error(running):
    config = existing(address=address_in(running), timeout=180)

    with pytest.raises(ZeroDivisionError), open_cluster(config):
        raise ZeroDivisionError
    with open_cluster(config) as cluster:
        assert cluster.client.submit(pow, 3, 2).result() == 9


@pytest.mark.cluster
def test_a_scheduler_file_may_come_later(running, tmp_path):
    late = tmp_path / "late.json"
    text = (running / "scheduler.json").read_text()

    def write() -> None:
        late.write_text(text[:20])  # as a reader may find it half-written
        time.sleep(0.3)
        late.write_text(text)

    timer = threading.Timer(0.3, write)
    timer.start()
    try:
        with open_cluster(existing(scheduler_file=str(late), timeout=180)) as cluster:
            assert cluster.client.submit(pow, 2, 3).result() == 8
    finally:
        timer.join()


def in_time(config: ClusterConfig) -> ClusterError:
    """Return the error of opening; fail if the thread that opens waits too long."""
    caught: list[BaseException] = []

    def attempt() -> None:
        try:
            with open_cluster(config):
                pass
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(180)
    assert not thread.is_alive(), "still waiting after 180 s"
    (error,) = caught
    assert isinstance(error, ClusterError), repr(error)
    return error


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ({"address": "tcp://127.0.0.1:1"}, "tcp://127.0.0.1:1"),
        ({"scheduler_file": "nowhere.json"}, "scheduler_file nowhere.json .*no such file"),
    ],
    ids=["nobody", "no file"],
)
def test_a_scheduler_that_does_not_answer_is_an_error_in_time(place, found):
    message = str(in_time(existing(timeout=0.5, **place)))
    assert message.startswith("cluster: no scheduler answers at ")
    assert "within 0.5 s" in message
    assert "check that it runs" in message
    assert re.search(found, message)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("nonsense", "such as tls://HOST:8786"),
        ("tls://127.0.0.1:1", "TLS needs certificates: set cluster.certificates"),
    ],
)
def test_an_address_that_cannot_be_used_is_named(address, found):
    message = str(in_time(existing(timeout=0.5, address=address)))
    assert message.startswith(f"cluster.address: {address} cannot be used: ")
    assert found in message


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"address": '])
def test_a_scheduler_file_without_an_address_is_refused(tmp_path, text):
    file = tmp_path / "scheduler.json"
    file.write_text(text)
    message = str(in_time(existing(timeout=0.2, scheduler_file=str(file))))
    assert "holds no address" in message


@pytest.mark.cluster
def test_a_scheduler_without_workers_is_an_error_in_time(lonely):
    address = address_in(lonely)
    message = str(in_time(existing(address=address, timeout=1)))
    assert f"the scheduler at {address} has no worker after 1 s" in message
    assert "cluster.timeout" in message
    with Client(address, timeout=180, set_as_default=False) as client:  # it still answers
        assert client.nthreads() == {}


def fail(name: str) -> None:
    raise ValueError(name)


@pytest.mark.cluster
def test_a_local_worker_does_not_print_the_errors_of_tasks(capfd):
    with (
        pytest.raises(ValueError, match="no such field"),
        open_cluster(local(dashboard=False)) as cluster,
    ):
        cluster.client.submit(fail, "no such field").result()
    output = capfd.readouterr()
    assert "no such field" not in output.out + output.err
