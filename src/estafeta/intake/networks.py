"""Networks: which of them an IP address lies in, and which one it counts for."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from estafeta.intake.limits import (
    IPV4_NETWORK_BITS,
    IPV6_NETWORK_BITS,
    NETWORKS_REMEMBERED_MAX,
)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def address_of(host: str) -> Address:
    """An IPv4 address also where it comes in its IPv6 form. Raises ValueError."""
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def within(host: str, networks: Sequence[Network]) -> bool:
    """Whether an IP address lies in one of the networks; an IPv4 one in its IPv6 form too."""
    if not networks:
        return False
    address = address_of(host)
    return any(address in network for network in networks)


@lru_cache(NETWORKS_REMEMBERED_MAX)
def network_of(host: str) -> str:
    """ "192.0.2.0/24" or "2001:db8::/64": whoever has one address there may have the others."""
    address = address_of(host)
    if address.version == 4:
        octets = address.packed
        return f"{octets[0]}.{octets[1]}.{octets[2]}.0/{IPV4_NETWORK_BITS}"
    return str(ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False))
