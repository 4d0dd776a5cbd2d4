"""Addresses: what the kernel tells is what other programs see; what it never says is survived."""

from __future__ import annotations

import ipaddress
import socket
from itertools import pairwise
from pathlib import Path

import pytest

from estafeta.world.addresses import _HEADER, _take, own_addresses


def test_each_can_be_bound_and_none_is_loopback() -> None:
    for address in own_addresses():
        parsed = ipaddress.ip_address(address)
        assert not parsed.is_loopback
        assert not parsed.is_link_local
        family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as here:
            here.bind((address, 0))


def test_the_ipv6_ones_are_those_of_proc() -> None:
    table = Path("/proc/net/if_inet6")
    if not table.exists():
        pytest.skip("no IPv6 here")
    said = {ipaddress.IPv6Address(bytes.fromhex(line.split()[0])) for line in table.open()}
    expected = {str(a) for a in said if not (a.is_loopback or a.is_link_local)}
    assert {a for a in own_addresses() if ":" in a} == expected


def test_the_ipv4_ones_are_those_of_the_routing_table() -> None:
    lines = Path("/proc/net/fib_trie").read_text().split("\n")
    said = {
        ipaddress.IPv4Address(name.split()[-1])
        for name, kind in pairwise(lines)
        if "/32 host LOCAL" in kind
    }
    expected = {str(a) for a in said if not (a.is_loopback or a.is_link_local)}
    assert {a for a in own_addresses() if ":" not in a} == expected


def test_an_error_and_an_end() -> None:
    found: list[str] = []
    assert not _take(_HEADER.pack(16, 3, 0, 1, 0), found)
    assert not _take(b"", found)
    with pytest.raises(OSError, match="does not tell"):
        _take(_HEADER.pack(16, 2, 0, 1, 0), found)
    with pytest.raises(OSError, match="does not tell"):
        _take(_HEADER.pack(0, 20, 0, 1, 0), found)
