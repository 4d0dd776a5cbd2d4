"""Addresses: which IP addresses this machine has, as the kernel tells it (rtnetlink(7))."""

from __future__ import annotations

import ipaddress
import socket
import struct

ANSWER_OCTETS_MAX = 65536

_GET_ADDRESSES, _DONE, _ERROR = 22, 3, 2  # RTM_GETADDR, NLMSG_DONE, NLMSG_ERROR
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ADDRESS, _LOCAL = 1, 2  # IFA_ADDRESS, IFA_LOCAL
_FAMILIES = (socket.AF_INET, socket.AF_INET6)

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_INTERFACE = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
_ATTRIBUTE = struct.Struct("=HH")  # length, type


def own_addresses() -> tuple[str, ...]:
    """All IPv4 and IPv6 addresses of all interfaces, loopback and link-local left out.

    Raises OSError where the kernel does not tell.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        length = _HEADER.size + _INTERFACE.size
        kernel.sendall(
            _HEADER.pack(length, _GET_ADDRESSES, _REQUEST_DUMP, 1, 0)
            + _INTERFACE.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        )
        found: list[str] = []
        while _take(kernel.recv(ANSWER_OCTETS_MAX), found):
            pass
    return tuple(dict.fromkeys(found))


def _take(answer: bytes, found: list[str]) -> bool:
    """One datagram of the dump. False after its last."""
    at = 0
    while at + _HEADER.size <= len(answer):
        length, kind, _, _, _ = _HEADER.unpack_from(answer, at)
        if kind == _DONE:
            return False
        if kind == _ERROR or length < _HEADER.size:
            raise OSError("the kernel does not tell its addresses")
        address = _address(answer[at + _HEADER.size : at + length])
        if address is not None and not (address.is_loopback or address.is_link_local):
            found.append(str(address))
        at += _padded(length)
    return bool(answer)


def _address(message: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    family = message[0]
    if family not in _FAMILIES:
        return None
    packed = b""
    at = _INTERFACE.size
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if length < _ATTRIBUTE.size:
            break
        # On a link between two, ADDRESS is the other's end and LOCAL is ours.
        if kind == _LOCAL or (kind == _ADDRESS and not packed):
            packed = message[at + _ATTRIBUTE.size : at + length]
        at += _padded(length)
    if family == socket.AF_INET:
        return ipaddress.IPv4Address(packed)
    return ipaddress.IPv6Address(packed)


def _padded(length: int) -> int:
    return (length + 3) & ~3
