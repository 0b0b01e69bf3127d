"""A program that srun or mpirun starts several times: ``allocated.py KIND FOLDER MODE``."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path

import psutil

from gfrnn.cluster import ClusterConfig, ClusterError, open_cluster

_PATIENCE = 20.0


def _wait_for(file: Path) -> None:
    end = time.monotonic() + 60
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.05)


def _leading_out() -> str:
    """Return a network interface other than loopback, if there is one."""
    found = [
        name
        for name, entries in psutil.net_if_addrs().items()
        for entry in entries
        if entry.family == socket.AF_INET and name != "lo"
    ]
    return next(iter(found), "lo")


def _rank() -> int:
    return int(os.environ.get("SLURM_PROCID") or os.environ["OMPI_COMM_WORLD_RANK"])


def main() -> None:
    """Join the other processes; in the driver, act by the mode."""
    kind, folder, mode = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    if mode == "absent" and _rank() == 1:
        sys.exit(7)
    patience = 3.0 if mode == "absent" else _PATIENCE
    interface = _leading_out() if mode == "plain" else "lo"
    spill = str(folder / "spill") if mode == "spill" else None
    config = ClusterConfig(
        kind=kind, interface=interface, dashboard=":0", timeout=patience, spill=spill
    )
    with open_cluster(config, folder=folder) as cluster:
        client = cluster.client
        ranks = client.run(os.getppid)  # nannies are the processes that were started
        state = {
            "address": client.scheduler.address,
            "driver": os.getpid(),
            "scheduler": client.run_on_scheduler(os.getpid),
            "workers": list(ranks.values()),
            "dashboard": cluster.dashboard,
            "scratch": list(client.run(lambda dask_worker: dask_worker.local_directory).values()),
            "described": cluster.describe(),
        }
        (folder / "partial").write_text(json.dumps(state))
        (folder / "partial").rename(folder / "state.json")
        if mode == "fail":
            sys.exit(5)
        if mode == "wait":
            _wait_for(folder / "go")
        if mode == "compute":
            client.submit(_wait_for, folder / "go").result()
        print("result", client.submit(pow, 2, 10).result(), flush=True)


if __name__ == "__main__":
    try:
        main()
    except ClusterError as error:
        print(f"rank {_rank()}: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
