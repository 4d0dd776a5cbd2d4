"""wire.proxy: headers as HAProxy's specification gives them, and what is none."""

from __future__ import annotations

import contextlib
import ipaddress
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estafeta.wire.limits import PROXY_HEADER_OCTETS_MAX
from estafeta.wire.proxy import ProxyError, ProxyHeader, crc32c, read_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FOUR = (("192.0.2.1", 56324), ("198.51.100.9", 443))
SIX = (("2001:db8::1", 65535), ("2001:db8::2", 25))


def two(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(block)) + block


def addresses(source: tuple[str, int], to: tuple[str, int]) -> bytes:
    packed = [ipaddress.ip_address(host).packed for host, _ in (source, to)]
    return b"".join(packed) + struct.pack("!HH", source[1], to[1])


def with_checksum(family: int, block: bytes) -> bytes:
    header = two(0x21, family, block + b"\x03\x00\x04" + bytes(4))
    return header[:-4] + crc32c(header).to_bytes(4, "big")


V4, V6 = addresses(*FOUR), addresses(*SIX)
TLS_FIELD = b"\x20\x00\x05\x01" + bytes(4)

GOOD = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.9 56324 443\r\n", (1, *FOUR)),
    (b"PROXY TCP6 2001:db8::1 2001:DB8:0::2 65535 25\r\n", (1, *SIX)),
    (b"PROXY TCP4 255.255.255.255 0.0.0.0 0 0\r\n", (1, ("255.255.255.255", 0), ("0.0.0.0", 0))),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", (1, ("192.0.2.1", 1), ("::1", 2))),
    (b"PROXY UNKNOWN\r\n", (1, None, None)),
    (b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n", (1, None, None)),
    (two(0x21, 0x11, V4), (2, *FOUR)),
    (two(0x21, 0x21, V6), (2, *SIX)),
    (two(0x21, 0x11, V4 + TLS_FIELD + b"\x04\x00\x00"), (2, *FOUR)),
    (with_checksum(0x11, V4), (2, *FOUR)),
    (with_checksum(0x21, V6 + b"\xee\x00\x02xx"), (2, *SIX)),
    (two(0x21, 0x31, bytes(216)), (2, None, None)),
    (two(0x21, 0x00, b""), (2, None, None)),
    (two(0x20, 0x00, b""), (2, None, None)),
    (two(0x20, 0x11, b"whatever"), (2, None, None)),  # LOCAL: the rest is not looked at
]


@pytest.mark.parametrize(("header", "means"), GOOD)
@pytest.mark.parametrize("rest", [b"", b"EHLO me\r\n", b"\x16\x03\x01"])
def test_good_headers_in_any_pieces(header: bytes, means: tuple, rest: bytes) -> None:
    version, source, to = means
    expected = ProxyHeader(version, len(header), source, to)
    assert read_header(header + rest) == expected
    for end in range(len(header)):
        assert read_header(header[:end]) is None, end


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"EHLO me\r\n", "no PROXY header"),
        (b"P ", "no PROXY header"),
        (b"\r\n\r\n\0\r\nQUIT ", "no PROXY header"),
        (b"\x16\x03\x01", "no PROXY header"),
        (b"proxy TCP4", "no PROXY header"),
        (b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "expected"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", "expected"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "expected"),
        (b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", "expected"),
        (b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "expected"),
        (b"PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", "expected"),
        (b"PROXY \r\n", "expected"),
        (b"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", "no IPv4"),
        (b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", "no IPv4"),
        (b"PROXY TCP4 ::1 1.2.3.4 1 2\r\n", "no IPv4"),
        (b"PROXY TCP4 mx.example 1.2.3.4 1 2\r\n", "no IPv4"),
        (b"PROXY TCP6 1.2.3.4 ::1 1 2\r\n", "no IPv6"),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "zone"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "no port"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "no port"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n", "no port"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", "no port"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 \xc2\xb9 2\r\n", "no port"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n" + b"x" * 80, "too long"),
        (b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n", "too long"),
        (b"PROXY UNKNOWN " + b"f" * 93, "too long"),
        (SIGNATURE + b"\x11", "neither LOCAL nor PROXY"),
        (SIGNATURE + b"\x22", "neither LOCAL nor PROXY"),
        (SIGNATURE + b"\x01", "neither LOCAL nor PROXY"),
        (two(0x21, 0x12, V4), "not of a stream"),
        (two(0x21, 0x41, V4), "not of a stream"),
        (two(0x21, 0x11, V4[:-1]), "too short"),
        (two(0x21, 0x21, V4), "too short"),
        (two(0x21, 0x31, bytes(215)), "too short"),
        (SIGNATURE + b"\x21\x11" + (PROXY_HEADER_OCTETS_MAX - 15).to_bytes(2, "big"), "too long"),
        (SIGNATURE + b"\x20\x00\xff\xff", "too long"),
        (two(0x21, 0x11, V4 + b"\x04"), "ends too early"),
        (two(0x21, 0x11, V4 + b"\x04\x00"), "ends too early"),
        (two(0x21, 0x11, V4 + b"\x04\x00\x01"), "reaches behind"),
        (two(0x21, 0x11, V4 + b"\x04\xff\xff\x00"), "reaches behind"),
        (two(0x21, 0x11, V4 + b"\x03\x00\x04" + bytes(4)), "checksum is wrong"),
        (two(0x21, 0x11, V4 + b"\x03\x00\x03" + bytes(3)), "four octets"),
    ],
)
def test_what_is_none(data: bytes, why: str) -> None:
    with pytest.raises(ProxyError, match=why) as refused:
        read_header(data)
    assert "\n" not in str(refused.value)


def test_a_wrong_octet_anywhere_in_a_checked_header_is_found() -> None:
    good = with_checksum(0x11, V4)
    for at in range(16, len(good)):
        for bit in (1, 0x80):
            bad = good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :]
            if at == len(good) - 7:
                continue  # the field's type: no checksum any more
            with pytest.raises(ProxyError):
                read_header(bad)


def test_crc32c_of_the_known_answer() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA


PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [SIGNATURE, b"PROXY ", b"TCP4 ", b"TCP6 ", b"1.2.3.4 ", b"::1 ", b"25 ", b"25", b"\r\n"]
    ),
    st.sampled_from([b"\x21", b"\x20", b"\x11", b"\x00\x0c", b"\x00\x24", V4, V6, TLS_FIELD]),
)


@settings(deadline=None, max_examples=400)
@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_anything_gives_a_header_more_or_an_error(data: bytes) -> None:
    found = None
    with contextlib.suppress(ProxyError):
        found = read_header(data)
    if found is not None:
        assert 0 < found.octets <= min(len(data), PROXY_HEADER_OCTETS_MAX)
        # What comes behind changes nothing.
        assert read_header(data[: found.octets]) == found == read_header(data + b"more")
        for end in (found.source, found.destination):
            if end is not None:
                assert str(ipaddress.ip_address(end[0])) == end[0]


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(GOOD), st.integers(0, 250), st.binary(max_size=3))
def test_a_good_header_with_something_broken_in_it(good: tuple, at: int, put: bytes) -> None:
    header, _ = good
    at %= len(header)
    broken = header[:at] + put + header[at + len(put) :]
    with contextlib.suppress(ProxyError):
        found = read_header(broken)
        assert found is None or found.octets <= len(broken)


def test_no_header_waits_for_more_than_the_limit() -> None:
    """Whatever comes, octet by octet: a decision falls before the bound."""
    for start in (b"PROXY UNKNOWN ", SIGNATURE + b"\x21\x11\x1f\xf0"):
        data = start
        with contextlib.suppress(ProxyError):
            while read_header(data) is None:
                data += b"x" * 16
                assert len(data) <= PROXY_HEADER_OCTETS_MAX + 16
