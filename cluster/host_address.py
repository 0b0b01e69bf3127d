"""Addresses of this machine on which schedulers, workers and dashboards listen."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import psutil
from distributed.utils import get_ip

from gfrnn.cluster.errors import ClusterError

LOOPBACK = "127.0.0.1"


def interface_address(interface: str | None, key: str = "cluster.interface") -> str:
    """Return the IPv4 address of a network interface, by default that of the outgoing network.

    Parameters
    ----------
    interface : str or None
    key : str
        Key of the configuration that names the interface, for error messages.

    Raises
    ------
    ClusterError
        If there is no such interface; the message lists those of this machine.
    """
    if interface is None:
        address: str = get_ip()
        return address
    found = {
        name: entry.address
        for name, entries in psutil.net_if_addrs().items()
        for entry in entries
        if entry.family == socket.AF_INET
    }
    if interface not in found:
        there = ", ".join(f"{name} ({address})" for name, address in sorted(found.items()))
        raise ClusterError(
            f"{key}: {socket.gethostname()} has no interface {interface!r} with an IPv4 address; "
            f"it has {there}; choose one that the workers can reach"
        )
    return found[interface]


def is_wildcard(host: str) -> bool:
    """Whether a host stands for all interfaces of a machine, which nobody can connect to."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host


def dashboard_options(address: str | bool) -> dict[str, Any]:
    """Return the options of a scheduler for its dashboard, which False switches off.

    The loopback interface is added where only ``:PORT`` is given, as Dask would open such a port on
    every interface.
    """
    if isinstance(address, bool):
        return {"dashboard": address}
    return {"dashboard": True, "dashboard_address": LOOPBACK * address.startswith(":") + address}
