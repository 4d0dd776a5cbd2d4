"""Where a stranger's DNS may not send us."""

from __future__ import annotations

import pytest

from estafeta.resolve import EgressGuard


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.0.2",
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.127.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::c0a8:101",
        "2002:7f00:1::1",
        "2002:a00:1::1",
        "not an address",
        "",
    ],
)
def test_refused(address: str) -> None:
    assert EgressGuard().objection(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808"],
)
def test_allowed(address: str) -> None:
    assert EgressGuard().objection(address) == ""


def test_named_networks_are_allowed_and_no_others() -> None:
    guard = EgressGuard(["127.0.0.0/8", "fd00::/16"])
    assert guard.objection("127.0.0.3") == ""
    assert guard.objection("fd00::3") == ""
    assert guard.objection("fd01::3")
    assert guard.objection("10.0.0.1")
    assert guard.objection("::ffff:127.0.0.1")


def test_a_network_that_is_none() -> None:
    with pytest.raises(ValueError, match="network"):
        EgressGuard(["loopback"])
