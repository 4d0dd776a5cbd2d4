"""pop3: one POP3 connection as the server sees it (RFC 1939), sans-IO.

CAPA, RESP-CODES and PIPELINING (RFC 2449), STLS (RFC 2595), AUTH-RESP-CODE (RFC 3206), AUTH (RFC
5034). Promises: requests come out one at a time, each only in the states the table allows and with
arguments of the right number and form; what is not so is answered -ERR here; memory is bounded;
after POP3_ERRORS_MAX of it the session ends. POP3 says CRLF: a bare LF ends nothing.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from estafeta.wire.limits import (
    POP3_AUTH_LINE_OCTETS_MAX,
    POP3_ERRORS_MAX,
    POP3_LINE_OCTETS_MAX,
)
from estafeta.wire.lines import LineBuffer, LineTooLong

NUMBER_MAX: Final = 4_294_967_295


class State(Enum):
    """RFC 1939 §3."""

    AUTHORIZATION = "authorization"
    TRANSACTION = "transaction"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class Request:
    """name: upper case. words: arguments as text; numbers: those of them that are numbers."""

    name: str
    words: tuple[str, ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SaslResponse:
    """data: decoded; None: cancelled, or not base64 (answered -ERR)."""

    data: bytes | None


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will come. reason: "" when the client closed, else why we gave up."""

    reason: str


Event = Request | SaslResponse | Ended


class _Row(NamedTuple):
    """least, most: arguments. numeric: all of them are message numbers or counts.

    rest: the whole rest of the line is the one argument (a password may hold blanks).
    """

    states: frozenset[State]
    least: int = 0
    most: int = 0
    numeric: bool = False
    rest: bool = False


_BEFORE = frozenset({State.AUTHORIZATION})
_IN = frozenset({State.TRANSACTION})
_BOTH = _BEFORE | _IN

TABLE: dict[str, _Row] = {
    "CAPA": _Row(_BOTH),
    "QUIT": _Row(_BOTH),
    "STLS": _Row(_BEFORE),
    "USER": _Row(_BEFORE, 1, 1, rest=True),
    "PASS": _Row(_BEFORE, 1, 1, rest=True),
    "AUTH": _Row(_BEFORE, 0, 2),
    "STAT": _Row(_IN),
    "LIST": _Row(_IN, 0, 1, numeric=True),
    "UIDL": _Row(_IN, 0, 1, numeric=True),
    "RETR": _Row(_IN, 1, 1, numeric=True),
    "TOP": _Row(_IN, 2, 2, numeric=True),
    "DELE": _Row(_IN, 1, 1, numeric=True),
    "NOOP": _Row(_IN),
    "RSET": _Row(_IN),
}


class _Bad(Exception):
    """The text goes out after -ERR."""


class Pop3Machine:
    """See the file. `state` is set by the driver."""

    __slots__ = ("_buffer", "_ended", "_eof", "_errors", "_out", "_sasl", "state")

    def __init__(self) -> None:
        self.state = State.AUTHORIZATION
        self._buffer = LineBuffer()
        self._out: list[bytes] = []
        self._eof = False
        self._ended = False
        self._sasl = False
        self._errors = 0

    # What comes in ----------------------------------------------------------------------------

    @property
    def buffered(self) -> int:
        """Octets received and not yet read."""
        return len(self._buffer)

    def receive(self, data: bytes) -> None:
        """Octets of the client; b"" is the end of its stream."""
        if data:
            self._buffer.feed(data)
        else:
            self._eof = True

    def forget_plaintext(self) -> None:
        """TLS begins (RFC 2595 §4)."""
        self._buffer.clear()

    def next(self) -> Event | None:
        """The next event; None while more octets are needed."""
        while not self._ended:
            if self._errors >= POP3_ERRORS_MAX:
                self._ended = True
                self._buffer.clear()
                return Ended("too many errors")
            try:
                auth = self.state is State.AUTHORIZATION
                line = self._buffer.take_line(
                    POP3_AUTH_LINE_OCTETS_MAX if auth else POP3_LINE_OCTETS_MAX
                )
                if line is None:
                    break
                if self._sasl:
                    return self._response(line)
                return _request(line, self.state)
            except LineTooLong:
                self._refuse("the line is too long")
                if self._sasl:
                    self._sasl = False
                    return SaslResponse(None)
            except _Bad as bad:
                self._refuse(str(bad))
        if self._eof and not self._ended:
            self._ended = True
            return Ended("")
        return None

    def _refuse(self, text: str) -> None:
        self._errors += 1
        self.err(text)

    def _response(self, line: bytes) -> SaslResponse:
        self._sasl = False
        if line == b"*":
            self._refuse("cancelled, as you wish")
            return SaslResponse(None)
        try:
            return SaslResponse(sasl_octets(line))
        except ValueError:
            self._refuse("this is not base64")
            return SaslResponse(None)

    # What goes out ----------------------------------------------------------------------------

    def take_output(self) -> bytes:
        """What is to be sent, once."""
        out, self._out = self._out, []
        return b"".join(out)

    def ok(self, text: str) -> None:
        self._out.append(f"+OK {text}\r\n".encode("ascii", "replace"))

    def err(self, text: str, code: str = "") -> None:
        """code: RFC 2449 §8, RFC 3206, without brackets."""
        coded = f"[{code}] {text}" if code else text
        self._out.append(f"-ERR {coded}\r\n".encode("ascii", "replace"))

    def lines(self, lines: Iterable[bytes]) -> None:
        """The rest of a multi-line response: lines of ours, none of which begins with a dot."""
        self._out.append(b"\r\n".join([*lines, b".\r\n"]))

    def challenge(self, octets: bytes) -> None:
        """Sends a SASL challenge; the next event is a `SaslResponse` (RFC 5034 §4)."""
        self._out.append(b"+ %b\r\n" % binascii.b2a_base64(octets, newline=False))
        self._sasl = True


def sasl_octets(base64: bytes | str) -> bytes:
    """Raises ValueError (binascii.Error is one)."""
    return binascii.a2b_base64(base64, strict_mode=True)


def _request(line: bytes, state: State) -> Request:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise _Bad("the line is not UTF-8") from None
    name, _, rest = text.partition(" ")
    name = name.upper()
    row = TABLE.get(name)
    if row is None or "\0" in text:
        raise _Bad("unknown command")
    if state not in row.states:
        raise _Bad(f"{name} is not possible in the state '{state.value}'")
    words = ((rest,) if rest else ()) if row.rest else tuple(rest.split())
    if not row.least <= len(words) <= row.most:
        raise _Bad(f"{name} has other arguments")
    return Request(name, words, tuple(map(_number, words)) if row.numeric else ())


def _number(word: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 10 and int(word) <= NUMBER_MAX):
        raise _Bad("a number was expected")
    return int(word)


__all__ = ["Ended", "Event", "Pop3Machine", "Request", "SaslResponse", "State", "sasl_octets"]
