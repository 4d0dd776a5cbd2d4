"""egress: which addresses a stranger's word may make us connect to.

An MX, a URL, a policy host are chosen by others; without this guard they could point us at our own
loopback or at a neighbour behind the firewall. Refused: whatever is not global unicast (RFC 6890
registries), also inside IPv4-mapped, 6to4, NAT64 and Teredo addresses. The administrator's own
static routes are not a stranger's word and do not pass here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_VERDICTS_KEPT = 4096


class EgressGuard:
    """allow: networks that may be reached although they are not global ("127.0.0.0/8")."""

    def __init__(self, allow: Iterable[str | Network] = ()) -> None:
        """Raises ValueError for what is no network."""
        self._allowed = tuple(ipaddress.ip_network(network) for network in allow)
        self._verdict = lru_cache(_VERDICTS_KEPT)(self._judge)

    def objection(self, address: str) -> str:
        """Why we do not connect to this IP address; "" when we do."""
        return self._verdict(address)

    def _judge(self, text: str) -> str:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return "not an IP address"
        if any(address in network for network in self._allowed):
            return ""
        for inner in (address, *_embedded(address)):
            reason = _reason(inner)
            if reason:
                return reason
        return ""


def _embedded(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inner = (address.ipv4_mapped, address.sixtofour, *(address.teredo or ()))
    found: list[Address] = [each for each in inner if each is not None]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return found


def _reason(address: Address) -> str:
    if address.is_loopback:
        return "a loopback address"
    if address.is_unspecified:
        return "the unspecified address"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    if isinstance(address, ipaddress.IPv6Address) and (
        address.ipv4_mapped is not None or address in _NAT64 or address.teredo is not None
    ):
        return ""  # judged by the IPv4 address within
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return "a site-local address"
    if not address.is_global:
        return "a private or reserved address"
    return ""
