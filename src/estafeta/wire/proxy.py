"""proxy: the PROXY protocol's header, versions 1 and 2, sans-IO.

The specification is HAProxy's "The PROXY protocol", versions 1 and 2 (doc/proxy-protocol.txt).
Promises: what cannot become a header is refused at its first wrong octet; a header is bounded
(`limits.PROXY_HEADER_OCTETS_MAX`); its checksum holds where it has one.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from estafeta.wire.limits import PROXY_HEADER_OCTETS_MAX

_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V1: Final = b"PROXY "
_V1_OCTETS_MAX: Final = 107
"""§2.1: the longest line of version 1 with its CRLF."""

_V2_HEAD: Final = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21  # version 2 and the command
_TCP4, _TCP6, _UNIX_STREAM, _UNSPECIFIED = 0x11, 0x21, 0x31, 0x00
_LENGTHS: Final = {_TCP4: 12, _TCP6: 36, _UNIX_STREAM: 216, _UNSPECIFIED: 0}
_CHECKSUM: Final = 0x03  # PP2_TYPE_CRC32C


class ProxyError(ValueError):
    """This is no header. One line, for the log: a proxy that is set up wrongly gets no reply."""


class ProxyHeader(msgspec.Struct, frozen=True):
    """source, destination: (address, port) of the client and of what it connected to.

    None: the connection is the proxy's own, or not by TCP: who connects is who it is. octets: how
    long the header was; what follows is the client's.
    """

    version: int
    octets: int
    source: tuple[str, int] | None = None
    destination: tuple[str, int] | None = None


def read_header(data: bytes) -> ProxyHeader | None:
    """The header at the start of `data`; None: more must come. Raises ProxyError."""
    if data[:12] == _SIGNATURE[: len(data)]:
        return _version_2(data)
    if data[:6] == _V1[: len(data)]:
        return _version_1(data)
    raise ProxyError("no PROXY header")


def _version_1(data: bytes) -> ProxyHeader | None:
    """§2.1: one line of ASCII."""
    line, end, _ = data[:_V1_OCTETS_MAX].partition(b"\r\n")
    if not end:
        if len(data) >= _V1_OCTETS_MAX:
            raise ProxyError("the line is too long")
        return None
    octets = len(line) + 2
    words = line.decode("ascii", "replace").split(" ")
    if words[1] == "UNKNOWN":
        # "The receiver must ignore anything presented before the CRLF."
        return ProxyHeader(1, octets)
    parse = _FAMILIES.get(words[1])
    if parse is None or len(words) != 6:
        raise ProxyError("TCP4, TCP6 or UNKNOWN, two addresses and two ports were expected")
    source = (parse(words[2]), _port(words[4]))
    return ProxyHeader(1, octets, source, (parse(words[3]), _port(words[5])))


def _ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ProxyError("no IPv4 address") from None


def _ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise ProxyError("no IPv6 address") from None
    if address.scope_id:
        raise ProxyError("an IPv6 address with a zone")
    return _plain(address)


_FAMILIES: Final[dict[str, Callable[[str], str]]] = {"TCP4": _ipv4, "TCP6": _ipv6}


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and str(int(text)) == text):
        raise ProxyError("no port")
    if int(text) > 65535:
        raise ProxyError("no port")
    return int(text)


def _plain(address: ipaddress.IPv6Address) -> str:
    """An IPv4 address that came as an IPv6 one counts as itself, in limits and networks."""
    return str(address.ipv4_mapped or address)


def _version_2(data: bytes) -> ProxyHeader | None:
    """§2.2: binary, with the length in front."""
    if len(data) > 12 and data[12] not in (_LOCAL, _PROXY):
        raise ProxyError("neither LOCAL nor PROXY of version 2")
    if len(data) < _V2_HEAD.size:
        return None
    _, command, family, length = _V2_HEAD.unpack_from(data)
    octets = _V2_HEAD.size + length
    if octets > PROXY_HEADER_OCTETS_MAX:
        raise ProxyError("the header is too long")
    if command == _PROXY:
        if family not in _LENGTHS:
            raise ProxyError("not of a stream connection")
        if length < _LENGTHS[family]:
            raise ProxyError("too short for its addresses")
    if len(data) < octets:
        return None
    if command == _LOCAL:
        # "The receiver must … discard the protocol block including the family."
        return ProxyHeader(2, octets)
    header = data[:octets]
    _check(header, _V2_HEAD.size + _LENGTHS[family])
    if family == _TCP4:
        one, other, port, to = struct.unpack_from("!4s4sHH", header, _V2_HEAD.size)
        source, destination = (str(ipaddress.IPv4Address(each)) for each in (one, other))
    elif family == _TCP6:
        one, other, port, to = struct.unpack_from("!16s16sHH", header, _V2_HEAD.size)
        source, destination = (_plain(ipaddress.IPv6Address(each)) for each in (one, other))
    else:
        return ProxyHeader(2, octets)
    return ProxyHeader(2, octets, (source, port), (destination, to))


def _check(header: bytes, start: int) -> None:
    """The fields behind the addresses lie within the header; the checksum is right (§2.2.4)."""
    for kind, at, end in _fields(header, start):
        if kind == _CHECKSUM:
            if end - at != 4:
                raise ProxyError("a checksum has four octets")
            without = header[:at] + bytes(4) + header[end:]
            if crc32c(without) != int.from_bytes(header[at:end], "big"):
                raise ProxyError("the checksum is wrong")


def _fields(header: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """(type, start, end) of each; what they say (TLS, names) is the proxy's word, and not used."""
    while start < len(header):
        if start + 3 > len(header):
            raise ProxyError("a field ends too early")
        end = start + 3 + int.from_bytes(header[start + 1 : start + 3], "big")
        if end > len(header):
            raise ProxyError("a field reaches behind the header")
        yield header[start], start + 3, end
        start = end


def _table() -> Iterator[int]:
    for octet in range(256):
        for _ in range(8):
            octet = octet >> 1 ^ (0x82F63B78 if octet & 1 else 0)
        yield octet


_CRC32C: Final = tuple(_table())


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli): of the bits of each octet, the lowest first."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc = crc >> 8 ^ _CRC32C[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF
