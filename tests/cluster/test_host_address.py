"""Addresses of network interfaces."""

from __future__ import annotations

import pytest

from gfrnn.cluster import ClusterError
from gfrnn.cluster.host_address import address_of


def test_the_loopback_interface_has_its_address():
    assert address_of("lo") == "127.0.0.1"


def test_the_default_is_an_ipv4_address():
    assert address_of(None).count(".") == 3


@pytest.mark.parametrize("key", ["cluster.interface", "cluster.scheduler_interface"])
def test_an_unknown_interface_is_an_error_that_lists_the_others(key):
    with pytest.raises(ClusterError, match=rf"^{key}: .* no interface 'ib9'.*lo \(127\.0\.0\.1\)"):
        address_of("ib9", key)
