"""How people reach a web page of a cluster from where they sit."""

from __future__ import annotations

import getpass
import ipaddress
import os
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

# Where batch systems say on which machine a job was submitted.
_SUBMITTED_ON = ("SLURM_SUBMIT_HOST", "PBS_O_HOST", "LSB_SUB_HOST", "SGE_O_HOST")


def tunnel(address: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The command that people type at home to reach an address of this network.

    Parameters
    ----------
    address : str
        Of a page, such as ``http://10.1.2.3:8787/status``.
    environment : mapping

    Returns
    -------
    str or None
        None where they sit in front of this machine, and the page is on it.
    """
    place = urlsplit(address)
    host, port = place.hostname or "localhost", place.port or 80
    submitted = next((environment[key] for key in _SUBMITTED_ON if environment.get(key)), None)
    near = _is_loopback(host)
    if near and submitted is None and "SSH_CONNECTION" not in environment:
        return None
    here = socket.getfqdn()
    user = getpass.getuser()
    shown = f"[{host}]" if ":" in host else host
    to = f"-L {port}:{shown}:{port}"
    if near and submitted not in (None, here, here.partition(".")[0]):
        # This is a node behind the machine that people log in to.
        return f"ssh -N {to} -J {user}@{submitted} {user}@{here}"
    return f"ssh -N {to} {user}@{submitted or here}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
