"""responses: the octets a server sends (RFC 3501 §7), and the output they gather in."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable

from estafeta.wire.imap import utf7

_QUOTABLE = re.compile(rb"[\x20-\x7e]{0,1000}\Z")
_ATOM = re.compile(rb"[A-Za-z0-9!#$&'+,\-./:;<=>?@^_`|~]+\Z")
_MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def quoted(octets: bytes) -> bytes:
    """A quoted string where that can say it, else a literal."""
    if _QUOTABLE.match(octets):
        if b"\\" in octets or b'"' in octets:
            octets = octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        return b'"%b"' % octets
    return literal(octets)


def literal(octets: bytes) -> bytes:
    return b"{%d}\r\n%b" % (len(octets), octets)


def astring(octets: bytes) -> bytes:
    """An atom where that can say it."""
    if _ATOM.match(octets) and octets.upper() != b"NIL":
        return octets
    return quoted(octets)


def mailbox(name: str) -> bytes:
    """A mailbox name in modified UTF-7 (RFC 3501 §5.1.3)."""
    return astring(utf7.encode(name))


def number_set(numbers: Iterable[int]) -> bytes:
    """Numbers in the order given, runs shortened: 1:3,5."""
    pieces = []
    first = last = -1
    for number in numbers:
        if number == last + 1 and first >= 0:
            last = number
            continue
        if first >= 0:
            pieces.append(b"%d" % first if first == last else b"%d:%d" % (first, last))
        first = last = number
    if first >= 0:
        pieces.append(b"%d" % first if first == last else b"%d:%d" % (first, last))
    return b",".join(pieces)


def date_time(year: int, month: int, day: int, hour: int, minute: int, second: int) -> bytes:
    """RFC 3501 §9 date-time, UTC."""
    return b'"%2d-%b-%04d %02d:%02d:%02d +0000"' % (
        day,
        _MONTHS[month - 1],
        year,
        hour,
        minute,
        second,
    )


class Responses:
    """Gathers output. Texts are ours: ASCII, without CR or LF."""

    __slots__ = ("_out",)

    def __init__(self) -> None:
        self._out: list[bytes] = []

    def take_output(self) -> bytes:
        """What is to be sent, once."""
        out = self._out
        if not out:
            return b""
        self._out = []
        return out[0] if len(out) == 1 else b"".join(out)

    def send(self, octets: bytes) -> None:
        """Octets as they are."""
        self._out.append(octets)

    def untagged(self, rest: bytes) -> None:
        self._out.append(b"* %b\r\n" % rest)

    def ok(self, tag: bytes, text: str, code: str = "") -> None:
        self._status(tag, b"OK", text, code)

    def no(self, tag: bytes, text: str, code: str = "") -> None:
        self._status(tag, b"NO", text, code)

    def bad(self, tag: bytes, text: str, code: str = "") -> None:
        self._status(tag, b"BAD", text, code)

    def bye(self, text: str, code: str = "") -> None:
        self._status(b"*", b"BYE", text, code)

    def _status(self, tag: bytes, what: bytes, text: str, code: str) -> None:
        coded = f"[{code}] {text}" if code else text
        self._out.append(b"%b %b %b\r\n" % (tag, what, coded.encode("ascii", "replace")))

    def go_on(self, text: str) -> None:
        """Command continuation (RFC 3501 §7.5)."""
        self._out.append(b"+ %b\r\n" % text.encode("ascii"))

    def sasl_challenge(self, octets: bytes) -> None:
        self._out.append(b"+ %b\r\n" % binascii.b2a_base64(octets, newline=False))
