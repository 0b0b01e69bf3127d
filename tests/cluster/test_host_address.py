"""Test the addresses of network interfaces."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gfrnn.cluster import ClusterConfig, ClusterError
from gfrnn.cluster.host_address import dashboard_options, interface_address


def test_the_loopback_interface_has_its_address():
    assert interface_address("lo") == "127.0.0.1"


def test_the_default_is_an_ipv4_address():
    assert interface_address(None).count(".") == 3


@pytest.mark.parametrize("key", ["cluster.interface", "cluster.scheduler_interface"])
def test_an_unknown_interface_is_an_error_that_lists_the_others(key):
    with pytest.raises(ClusterError, match=rf"^{key}: .* no interface 'ib9'.*lo \(127\.0\.0\.1\)"):
        interface_address("ib9", key)


@pytest.mark.parametrize(
    "address", [True, "8787", "", "0", "localhost", "127.0.0.1", ":x", "127.0.0.1:99999"]
)
def test_a_dashboard_without_host_and_port_is_refused(address):
    with pytest.raises(ValidationError, match="not an address.*HOST:PORT"):
        ClusterConfig(dashboard=address)


@pytest.mark.parametrize(
    ("address", "opened"), [(":0", "127.0.0.1:0"), ("node7:8787", "node7:8787")]
)
def test_a_dashboard_listens_on_this_machine_only_unless_a_host_is_given(address, opened):
    options = dashboard_options(ClusterConfig(dashboard=address).dashboard)
    assert options == {"dashboard": True, "dashboard_address": opened}


def test_a_dashboard_can_be_switched_off():
    assert dashboard_options(ClusterConfig(dashboard=False).dashboard) == {"dashboard": False}
