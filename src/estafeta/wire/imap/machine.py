"""machine: one IMAP connection as the server sees it (RFC 3501), sans-IO.

Promises: commands come out whole, one at a time, in the order they came (RFC 3501 §5.5: so no two
can be ambiguous), each only in the states the table allows; literals are asked for before they are
sent, limited, and those of APPEND handed on in pieces, never kept; what is not of the grammar is
answered BAD here; memory is bounded whatever is sent; after ERRORS_MAX of it the session ends.

The driver feeds `receive`, takes `next` until it is None, answers through the methods of
`Responses` and sends `take_output`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from estafeta.wire.imap import commands as a
from estafeta.wire.imap import limits, parse
from estafeta.wire.imap.commands import Command, State
from estafeta.wire.imap.cursor import BadCommand, Cursor, mailbox
from estafeta.wire.imap.responses import Responses
from estafeta.wire.lines import LineBuffer, LineTooLong

_LITERAL_AT_END = re.compile(rb"~?\{(\d{1,20})([+-]?)\}\Z")


@dataclass(frozen=True, slots=True)
class MessageData:
    """Octets of the message that `Append` announced; last: there are no more of it."""

    data: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class AppendEnd:
    """The APPEND command is whole: store what came. broken: no, its syntax failed at the end
    (already answered BAD); nothing of it may be stored."""

    tag: bytes
    broken: bool


@dataclass(frozen=True, slots=True)
class SaslResponse:
    """data: decoded; None: the client cancelled, or sent what is not base64 (answered BAD)."""

    data: bytes | None


class IdleDone:
    """DONE came, or what is not DONE (answered BAD). The machine reads commands again."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will come. reason: "" when the client closed, else why we gave up (BYE)."""

    reason: str


Event = Command | MessageData | AppendEnd | SaslResponse | IdleDone | Ended


class _Mode(Enum):
    COMMAND = "command"
    LITERAL = "literal"  # octets of a literal of a command
    DECISION = "decision"  # an Append is out; the driver says take or refuse
    MESSAGE = "message"  # octets of an appended message
    AFTER_MESSAGE = "after message"  # CRLF or SP and the next one
    DISCARD = "discard"  # octets of a refused literal
    DISCARD_LINE = "discard line"  # what follows them
    SASL = "sasl"
    IDLE = "idle"
    ENDED = "ended"


class ImapMachine(Responses):
    """See the file. `state` is set by the driver: what a command does is its knowledge."""

    __slots__ = (
        "_append",
        "_buffer",
        "_eof",
        "_errors",
        "_left",
        "_literal",
        "_literals",
        "_literals_size",
        "_mode",
        "_parts",
        "_tag",
        "state",
    )

    def __init__(self) -> None:
        super().__init__()
        self.state = State.NOT_AUTHENTICATED
        self._buffer = LineBuffer()
        self._mode = _Mode.COMMAND
        self._eof = False
        self._errors = 0
        self._append: a.Append | None = None
        self._left = 0
        self._begin_command()

    def _begin_command(self) -> None:
        self._mode = _Mode.COMMAND
        self._parts: list[bytes] = []
        self._literals: list[bytes] = []
        self._literals_size = 0
        self._literal: list[bytes] = []
        self._tag = b"*"

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
        """TLS begins: nothing sent in the clear may be taken as sent under it (RFC 3207 §4.2)."""
        self._buffer.clear()

    def next(self) -> Event | None:
        """The next event; None while more octets are needed."""
        while True:
            try:
                event = self._step()
            except LineTooLong:
                event = self._too_long()
            if event is None:
                if self._eof and self._mode is not _Mode.ENDED:
                    self._mode = _Mode.ENDED
                    return Ended("")
                return None
            if event is not _AGAIN:
                return event

    def _step(self) -> Event | None:
        mode = self._mode
        if mode is _Mode.COMMAND:
            return self._line()
        if mode is _Mode.MESSAGE:
            return self._message()
        if mode is _Mode.LITERAL:
            return self._literal_octets()
        if mode is _Mode.AFTER_MESSAGE:
            return self._after_message()
        if mode is _Mode.SASL:
            return self._sasl()
        if mode is _Mode.IDLE:
            return self._idle()
        if mode is _Mode.DISCARD:
            return self._discard()
        if mode is _Mode.DISCARD_LINE:
            return self._discard_line()
        return None

    # Commands ---------------------------------------------------------------------------------

    def _line(self) -> Event | None:
        if self._errors >= self._errors_max():
            return self._give_up("too many errors")
        line = self._buffer.take_line(limits.LINE_OCTETS_MAX)
        if line is None:
            return None
        if not self._parts:
            if not line:
                return _AGAIN  # an empty line between commands harms nobody
            match = parse.TAG.match(line)
            self._tag = match.group() if match else b"*"
        if line.endswith((b"}", b"+}", b"-}")):
            match = _LITERAL_AT_END.search(line)
            if match is not None:
                return self._announced(line, int(match.group(1)), not match.group(2))
        self._parts.append(line)
        whole = line if len(self._parts) == 1 else b"".join(self._parts)
        literals = self._literals
        self._begin_command_keep_tag()
        try:
            return parse.command(whole, literals, self.state)
        except BadCommand as error:
            return self._refuse(error)

    def _begin_command_keep_tag(self) -> None:
        tag = self._tag
        self._begin_command()
        self._tag = tag

    def _announced(self, line: bytes, size: int, synchronising: bool) -> Event | None:
        """A literal stands at the end of the line."""
        self._parts.append(line + b"\r\n")
        if self.state in (State.AUTHENTICATED, State.SELECTED):
            try:
                append = self._append_head()
            except BadCommand as error:
                return self._refuse_literal(error, size, synchronising)
            if append is not None:
                self._append = append
                self._left = append.size
                self._mode = _Mode.DECISION
                return append
        before_login = self.state is State.NOT_AUTHENTICATED
        most = (
            limits.LITERALS_OCTETS_MAX_BEFORE_LOGIN if before_login else limits.LITERALS_OCTETS_MAX
        )
        self._literals_size += size + len(line)
        if self._literals_size > most or len(self._literals) >= limits.LITERALS_MAX:
            return self._refuse_literal(
                BadCommand("the literals of the command are too long", code="TOOBIG"),
                size,
                synchronising,
            )
        if synchronising:
            self.go_on("send the literal")
        self._left = size
        self._literal = []
        self._mode = _Mode.LITERAL
        return _AGAIN

    def _append_head(self) -> a.Append | None:
        """The APPEND whose message the literal is, or None when it is another literal."""
        c = Cursor(b"".join(self._parts), self._literals)
        match = c.match(_APPEND)
        if match is None:
            return None
        try:
            box = mailbox(c)
        except IndexError:
            return None  # the literal is the mailbox name, and not yet here
        append = parse.append_head(c, None, self._tag, box)
        if append is None:
            raise BadCommand("APPEND mailbox (flags) date {octets} expected")
        return append

    def _literal_octets(self) -> Event | None:
        piece = self._buffer.take(self._left)
        self._left -= len(piece)
        self._literal.append(piece)
        if self._left:
            return None
        self._literals.append(b"".join(self._literal))
        self._literal = []
        self._mode = _Mode.COMMAND
        return _AGAIN

    # APPEND -----------------------------------------------------------------------------------

    def take_message(self) -> None:
        """The driver wants the message that the last `Append` announced."""
        assert self._append is not None
        if self._append.synchronising:
            self.go_on("send the message")
        self._mode = _Mode.MESSAGE

    def refuse_message(self, text: str, code: str = "") -> None:
        """Answers NO before the message is sent; reads past it where it comes all the same."""
        assert self._append is not None
        append = self._append
        self.no(append.tag, text, code)
        self._skip_literal(append.size, append.synchronising)

    def _message(self) -> Event | None:
        piece = self._buffer.take(min(self._left, _PIECE))
        self._left -= len(piece)
        if not self._left:
            self._mode = _Mode.AFTER_MESSAGE
            return MessageData(piece, True)
        return MessageData(piece, False) if piece else None

    def _after_message(self) -> Event | None:
        assert self._append is not None
        line = self._buffer.take_line(limits.LINE_OCTETS_MAX)
        if line is None:
            return None
        append, tag = self._append, self._append.tag
        if not line:
            self._append = None
            self._begin_command()
            return AppendEnd(tag, False)
        try:
            following = parse.append_head(Cursor(line + b"\r\n"), append, tag, append.mailbox)
            if following is None:
                raise BadCommand("the end of APPEND or a further message expected")
        except BadCommand as error:
            match = _LITERAL_AT_END.search(line)
            self._append = None
            if match is not None:
                self._refuse_literal(error, int(match.group(1)), not match.group(2))
            else:
                self._begin_command_keep_tag()
                self._count(error)
            return AppendEnd(tag, True)
        self._append = following
        self._left = following.size
        self._mode = _Mode.DECISION
        return following

    # What is refused --------------------------------------------------------------------------

    def _errors_max(self) -> int:
        if self.state is State.NOT_AUTHENTICATED:
            return limits.ERRORS_MAX_BEFORE_LOGIN
        return limits.ERRORS_MAX

    def _refuse(self, error: BadCommand) -> Event | None:
        self._count(error)
        if self._errors >= self._errors_max():
            return self._give_up("too many errors")
        return _AGAIN

    def _count(self, error: BadCommand) -> None:
        if error.no:
            self.no(self._tag, str(error), error.code)
        else:
            self._errors += 1
            self.bad(self._tag, str(error), error.code)

    def _give_up(self, reason: str) -> Event:
        self._mode = _Mode.ENDED
        self._buffer.clear()
        return Ended(reason)

    def _refuse_literal(self, error: BadCommand, size: int, synchronising: bool) -> Event | None:
        event = self._refuse(error)
        if event is _AGAIN:
            self._skip_literal(size, synchronising)
        return event

    def _skip_literal(self, size: int, synchronising: bool) -> None:
        """Goes on behind a literal that was refused."""
        self._append = None
        self._begin_command()
        if synchronising:
            return  # the client does not send it, and its command is over
        if size > limits.DISCARD_OCTETS_MAX:
            # RFC 7888 §4: a server may close where the literal is too long to read past.
            self._mode = _Mode.DISCARD
            self._left = -1
            return
        self._left = size
        self._mode = _Mode.DISCARD

    def _discard(self) -> Event | None:
        if self._left < 0:
            return self._give_up("the literal is too long")
        self._left -= len(self._buffer.take(self._left))
        if self._left:
            return None
        self._mode = _Mode.DISCARD_LINE
        return _AGAIN

    def _discard_line(self) -> Event | None:
        line = self._buffer.take_line(limits.LINE_OCTETS_MAX)
        if line is None:
            return None
        match = _LITERAL_AT_END.search(line)
        if match is not None and match.group(2):
            self._skip_literal(int(match.group(1)), False)
        else:
            self._begin_command()
        return _AGAIN

    def _too_long(self) -> Event | None:
        """A line beyond the limit: refused as what it would have been."""
        mode, tag = self._mode, self._tag
        if mode is _Mode.COMMAND and not self._parts:
            self._tag = b"*"  # its tag is gone with it
        self._append = None
        self._begin_command_keep_tag()
        answer = self._refuse(BadCommand("the line is too long", code="TOOBIG"))
        if mode is _Mode.SASL:
            return SaslResponse(None)
        if mode is _Mode.IDLE:
            return IdleBroken()
        if mode is _Mode.AFTER_MESSAGE:
            return AppendEnd(tag, True)
        return answer

    # SASL and IDLE ----------------------------------------------------------------------------

    def challenge(self, octets: bytes) -> None:
        """Sends a SASL challenge; the next event is a `SaslResponse`."""
        self.sasl_challenge(octets)
        self._mode = _Mode.SASL

    def _sasl(self) -> Event | None:
        line = self._buffer.take_line(limits.SASL_LINE_OCTETS_MAX)
        if line is None:
            return None
        self._begin_command_keep_tag()
        if line == b"*":
            self._count(BadCommand("cancelled, as you wish"))
            return SaslResponse(None)
        try:
            return SaslResponse(parse.sasl_octets(line))
        except BadCommand as error:
            self._count(error)
            return SaslResponse(None)

    def begin_idle(self) -> None:
        """Sends "+"; the next event is `IdleDone`."""
        self.go_on("idling")
        self._mode = _Mode.IDLE

    def _idle(self) -> Event | None:
        line = self._buffer.take_line(limits.LINE_OCTETS_MAX)
        if line is None:
            return None
        self._begin_command_keep_tag()
        return IdleDone() if line.upper() == b"DONE" else self._not_done()

    def _not_done(self) -> Event | None:
        self._count(BadCommand("DONE expected"))
        return IdleBroken()


class IdleBroken(IdleDone):
    """What came was not DONE, and was answered BAD: the tagged OK must not follow."""

    __slots__ = ()


_APPEND = re.compile(parse.TAG.pattern + rb" [Aa][Pp][Pp][Ee][Nn][Dd] ")
_PIECE = 65_536
# Said by a step that did its work and has nothing for the driver.
_AGAIN: Event = IdleDone()
