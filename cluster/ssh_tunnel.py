"""The ssh command that forwards a web page of a cluster to the user's computer."""

from __future__ import annotations

import getpass
import ipaddress
import os
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from gfrnn.cluster.batch.systems import SYSTEMS
from gfrnn.cluster.host_address import LOOPBACK, is_wildcard


def ssh_tunnel_command(address: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the command that forwards a page of this network to the user's computer.

    Parameters
    ----------
    address : str
        Address of a page, such as ``http://10.1.2.3:8787/status``.
    environment : mapping
        Environment variables.

    Returns
    -------
    str or None
        None if the page is on this machine, and this is neither an ssh session nor a batch job.
    """
    place = urlsplit(address)
    host, port = place.hostname or "localhost", place.port or 80
    submitted = _submit_host(environment)
    if is_wildcard(host):
        host = LOOPBACK  # a page on all interfaces of a machine is also there
    near = _is_loopback(host)
    if near and submitted is None and "SSH_CONNECTION" not in environment:
        return None
    here = _own_name(environment)
    user = _user()
    shown = f"[{host}]" if ":" in host else host
    to = f"-L {port}:{shown}:{port}"
    if near and submitted not in (None, here, here.partition(".")[0]):
        # The node is reached through the machine that users log in to.
        return f"ssh -N {to} -J {user}{submitted} {user}{here}"
    return f"ssh -N {to} {user}{submitted or here}"


def _own_name(environment: Mapping[str, str]) -> str:
    """Return the name of this machine, or its address in an ssh session where it has no name."""
    name = socket.getfqdn()
    # Addresses and ports of the client and of the server.
    session = environment.get("SSH_CONNECTION", "").split()
    if name.partition(".")[0] == "localhost" and len(session) == 4:
        return session[2]
    return name


def _user() -> str:
    """Return ``NAME@``, or nothing where the name is not known, as in a container."""
    try:
        return f"{getpass.getuser()}@"
    except (KeyError, OSError):  # OSError from Python 3.13 on
        return ""


def _submit_host(environment: Mapping[str, str]) -> str | None:
    """Return the host that the current batch job was submitted on, None where it is not known."""
    for system in SYSTEMS.values():
        if system.submit_host_variable and (host := environment.get(system.submit_host_variable)):
            return host
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
