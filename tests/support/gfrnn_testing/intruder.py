"""Try to enter a cluster without its certificates, also as a program of another user.

The program reads its targets as JSON from standard input, drops the privileges of root, and prints
as JSON what it could enter or read.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from distributed.comm import connect
from distributed.security import Security

from gfrnn_testing.paths import with_support

NOBODY = 65534
"""User that the program becomes."""

_SECONDS = 2.0


def connections() -> dict[str, dict[str, Any]]:
    """Return the arguments of connections that are made without the cluster's certificates."""
    foreign = Security.temporary().get_connection_args("client")["ssl_context"]
    bare = ssl.create_default_context()
    for context in (foreign, bare):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # trust any server
    return {
        "tcp": {},
        "tls with other certificates": {"ssl_context": foreign},
        "tls without a certificate": {"ssl_context": bare},
    }


def entered(ports: Sequence[int], ways: dict[str, dict[str, Any]]) -> list[tuple[int, str]]:
    """Return the ports of the loopback interface that answer a remote procedure call, and how."""

    async def attempt(port: int, way: str) -> bool:
        address = f"{way[:3]}://127.0.0.1:{port}"
        try:
            comm = await connect(address, timeout=_SECONDS, **ways[way])
            await comm.write({"op": "identity", "reply": True})
            await asyncio.wait_for(comm.read(), _SECONDS)
        except (OSError, TimeoutError):
            return False
        await comm.close()
        return True

    async def attempts() -> list[tuple[int, str]]:
        each = [(port, way) for port in ports for way in ways]
        answers = await asyncio.gather(*(attempt(*one) for one in each))
        return [one for one, answer in zip(each, answers, strict=True) if answer]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of sockets of refused connections
        found = asyncio.run(attempts())
        gc.collect()
    return found


def answers(ports: Sequence[int], paths: Sequence[str]) -> dict[str, int]:
    """Return the status with which ports answer requests for web pages; 0 is no answer in HTTP."""
    each = [(port, path) for port in ports for path in paths]
    # Ports of other protocols do not answer, so that each request lasts until its timeout.
    with ThreadPoolExecutor(len(each) or 1) as pool:
        statuses = pool.map(lambda place: _status(*place), each)
        return {
            f"{port}{path}": status for (port, path), status in zip(each, statuses, strict=True)
        }


def _status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except (OSError, http.client.HTTPException):
        return 0


def readable(paths: Sequence[str]) -> list[str]:
    """Return the files that can be opened and the folders that can be listed."""
    found = []
    for path in paths:
        with contextlib.suppress(PermissionError):
            if os.path.isdir(path):
                os.listdir(path)
            else:
                open(path, "rb").close()
            found.append(path)
    return found


def files_with(text: bytes, folder: str) -> list[str]:
    """Return the readable files below a folder that hold a text."""
    found = []
    for place, _, names in os.walk(folder):
        for path in (Path(place) / name for name in names):
            with contextlib.suppress(OSError):
                if path.is_file() and text in path.read_bytes():
                    found.append(str(path))
    return found


def ports_of(processes: Sequence[psutil.Process]) -> set[int]:
    """Return the TCP ports on which processes listen."""
    own = {process.pid for process in processes}
    return {
        connection.laddr.port
        for connection in psutil.net_connections("tcp")
        if connection.pid in own and connection.status == psutil.CONN_LISTEN
    }


def found_by_another_user(target: dict[str, Any]) -> dict[str, Any]:
    """Return what a program of another user could enter or read; only root can start it."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gfrnn_testing.intruder"],
        input=json.dumps(target),
        env=with_support(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["user"] == NOBODY
    return found


def main() -> None:
    """Try to enter and read the targets as another user."""
    target = json.load(sys.stdin)
    ways = connections()
    entered([], ways)  # loads all modules while they can be read
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    print(
        json.dumps(
            {
                "user": os.getuid(),
                "pages": answers(target["pages"], target["paths"]),
                "entered": entered(target["ports"], ways),
                "readable": readable(target["secret"]),
                "arguments": readable(target["arguments"]),
                "keys": files_with(b"PRIVATE KEY", target["folder"]),
                "keys in arguments": [
                    path
                    for path in target["arguments"]
                    if b"PRIVATE KEY" in Path(path).read_bytes()
                ],
            }
        )
    )


if __name__ == "__main__":
    main()
