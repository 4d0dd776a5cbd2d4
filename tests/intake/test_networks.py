"""Networks: which one an address counts for."""

from __future__ import annotations

import ipaddress

import pytest

from estafeta.intake.networks import network_of, within


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("255.255.255.255", "255.255.255.0/24"),
        ("2001:db8::1:2:3:4", "2001:db8::/64"),
        ("2001:db8:0:7:8::1", "2001:db8:0:7::/64"),
        ("::1", "::/64"),
    ],
)
def test_the_network_of_an_address(host: str, network: str) -> None:
    assert network_of(host) == network
    assert str(ipaddress.ip_network(network)) == network
    assert within(host, [ipaddress.ip_network(network)])
    assert not within(host, [])
