"""The address that a scheduler of this machine is reached at."""

from __future__ import annotations

import socket

import psutil
from distributed.utils import get_ip

from gfrnn.cluster.errors import ClusterError

LOOPBACK = "127.0.0.1"


def address_of(interface: str | None, key: str = "cluster.interface") -> str:
    """IPv4 address of a network interface, by default of the one that leads out of here.

    Raises
    ------
    ClusterError
        Naming the interfaces there are.
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
            f"it has {there}; choose the one that the nodes' workers reach"
        )
    return found[interface]


def dashboard_at(address: str) -> str:
    """Where a dashboard listens: a bare port, which Dask takes as one on every interface, is one
    of this machine only."""
    return LOOPBACK * address.startswith(":") + address
