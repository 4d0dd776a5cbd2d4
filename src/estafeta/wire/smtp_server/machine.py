"""machine: the SMTP server, for MX, submission and LMTP, without any I/O.

Promises: events come one at a time and in the order of the commands, so that pipelined commands
need nothing special (RFC 2920 §3.2); every reply is given once and in order; what a peer sends
costs bounded memory; the events do not depend on how the bytes were split.
RFC 5321, 2033 (LMTP), 3030 (BDAT), 3207 (STARTTLS), 4954 (AUTH).

The driver's loop: while `next_event()` gives an event, act on it and answer where the event says
so; send `take_output()`; if `closing`, close; else read and `receive`. It reads only when
`next_event()` gave None without an answer being owed: that is what bounds the buffer.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from typing import Final

import msgspec

from estafeta.mail.outcome import Reply
from estafeta.wire import limits, replies
from estafeta.wire.lines import LineTooLong
from estafeta.wire.smtp_server import events
from estafeta.wire.smtp_server.events import Event
from estafeta.wire.smtp_server.order import FOREIGN_VERBS, ORDER, State
from estafeta.wire.smtp_server.profile import auth_offered, capabilities, offered_commands
from estafeta.wire.smtp_server.session import GoOn, LocalError, Step
from estafeta.wire.smtp_server.transaction import Transaction, chunk_size

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9._:\[\]-]")
"""What stands in no domain and no address literal (RFC 5321 §4.1.2, §4.1.3), but for "_"."""


class SmtpServer(Transaction):
    """One session. See the events for what each expects of the driver."""

    __slots__ = ()

    # --- What the driver calls -------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Octets from the peer; b"" is the end of its stream."""
        if not data:
            self._ended = True
        elif not self.closing:
            self._inbox.feed(data)
            if self._state is State.STARTTLS:
                self._refuse_pipelined_tls()

    def next_event(self) -> Event | None:
        """The next event; None when octets are needed, or the answer to the last event."""
        if self._state is State.START:
            return self._begin()
        while self._answer is None and not self.closing and self._state is not State.STARTTLS:
            state = self._state
            step: Step
            if state is State.DATA:
                step = self._read_text()
            elif state is State.CHUNK:
                step = self._read_chunk()
            elif self._discard:
                step = self._read_away()
            elif state is State.AUTH:
                step = self._read_auth()
            else:
                step = self._read_command()
            if not isinstance(step, GoOn):
                return step if step is not None else self._at_end()
        if self._state is State.STARTTLS and self._answer is None:
            return self._at_end()
        return None

    def challenge(self, data: bytes) -> None:
        """Answers AuthBegin or AuthData with a challenge (RFC 4954 §4)."""
        if self._answer != self._answer_auth:
            raise LocalError("no authentication exchange is open")
        self._answer = None
        # Not by the catalogue's template, which shortens: base64 is as long as it is.
        self._say(Reply(334, "", binascii.b2a_base64(data, newline=False).decode()))
        self._state = State.AUTH

    def offer_auth(self, mechanisms: tuple[str, ...]) -> None:
        """From now on these mechanisms instead of the profile's: TLS can make more possible."""
        self._profile = msgspec.structs.replace(self._profile, auth_mechanisms=mechanisms)

    def tls_started(self) -> None:
        """The handshake is done: whatever came in the clear is forgotten (RFC 3207 §4.2)."""
        if self._state is not State.STARTTLS:
            raise LocalError("no TLS handshake was due")
        self._end_transaction(accepted=False)
        self.tls = True
        self.authenticated = False
        self._state = State.FRESH

    def hang_up(self, reply: Reply) -> None:
        """Says `reply` (421 as a rule) and closes, whatever the state."""
        if self.closing:
            return
        self._answer = None
        self._take_back_tls()
        self._say(reply)
        self._close()

    # --- The greeting ----------------------------------------------------------------------------

    def _begin(self) -> Event | None:
        if len(self._inbox):
            return self._early_talk()
        if self._ended:
            # Gone while the driver was still thinking about the greeting: no answer is owed.
            self._answer = None
            return self._at_end()
        if self._answer is None:
            self._answer = self._answer_connected
            return events.Connected()
        return None

    def _early_talk(self) -> Event:
        # RFC 5321 §3.1: the client waits for the greeting. Who does not, spams or speaks TLS.
        self._answer = None
        self._say(replies.EARLY_TALK)
        self._close()
        return events.EarlyTalk()

    def _answer_connected(self, reply: Reply) -> None:
        if reply.code == 220 and len(self._inbox):
            # Still in START: next_event tells of the early talk.
            return
        self._say(reply)
        if reply.code == 220:
            self._state = State.FRESH
        else:
            self._close()

    # --- Commands --------------------------------------------------------------------------------

    def _read_command(self) -> Step:
        try:
            line = self._inbox.take_line(limits.AUTH_LINE_OCTETS_MAX)
        except LineTooLong:
            return self._fail(replies.LINE_TOO_LONG)
        if line is None:
            return None
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return self._fail(replies.NOT_UTF8)
        if not text.isprintable() and _CONTROL.search(text):
            return self._fail(replies.CONTROL_CHARACTER)
        # RFC 5321 §4.1.1: white space at the end is tolerated.
        verb, _, argument = text.rstrip(" ").partition(" ")
        verb = verb.upper()
        if len(line) > limits.COMMAND_OCTETS_MAX - 2 and verb != "AUTH":
            return self._fail(replies.LINE_TOO_LONG)
        handler = _HANDLERS.get(verb)
        if handler is None:
            return self._unknown(verb)
        refused = ORDER[self._state][verb]
        if refused is not None:
            return self._misplaced(verb, argument, refused)
        return handler(self, verb, argument)

    def _unknown(self, verb: str) -> Step:
        if verb in FOREIGN_VERBS:
            self._say(replies.FOREIGN_PROTOCOL)
            self._close()
            return None
        return self._fail(replies.UNKNOWN_COMMAND)

    def _misplaced(self, verb: str, argument: str, refused: Reply) -> Step:
        if verb == "DATA" and self._refused_any and self._profile.role != "lmtp":
            # RFC 5321 §3.3: RCPTs were sent and none was taken. RFC 2033 §4.2 wants 503 of LMTP.
            refused = replies.NO_VALID_RECIPIENTS
        if verb == "BDAT" and self._profile.chunking:
            # RFC 3030 §2: the octets come all the same.
            chunk = chunk_size(argument)
            if chunk is None:
                return self._bad_chunk()
            step = self._fail(refused)
            if not self.closing:
                self._discard_chunk(chunk[0])
            return step
        return self._fail(refused)

    def _hello(self, verb: str, argument: str) -> Step:
        if (verb == "LHLO") != (self._profile.role == "lmtp"):
            # RFC 2033 §4.1: LMTP knows LHLO only; SMTP does not know it.
            return self._fail(replies.UNKNOWN_COMMAND)
        name = argument.strip(" ")
        if not name:
            return self._fail(replies.SYNTAX(syntax=f"{verb} host-name"))
        if len(name) > limits.HELLO_OCTETS_MAX:
            return self._fail(replies.HELLO_TOO_LONG)
        if self._idles_too_much():
            return self._too_many_errors()
        esmtp = verb != "HELO"
        self._answer = self._answer_ehlo if esmtp else self._answer_helo
        return events.Hello(_NOT_IN_NAME.sub("?", name), verb, esmtp)

    def _answer_helo(self, reply: Reply) -> None:
        self._say(reply)
        if reply.positive:
            self._end_transaction(accepted=False)

    def _answer_ehlo(self, reply: Reply) -> None:
        if not reply.positive:
            # RFC 5321 §4.1.4: a refused EHLO changes nothing.
            self._say(reply)
            return
        self._end_transaction(accepted=False)
        lines = capabilities(self._profile, tls=self.tls, authenticated=self.authenticated)
        self._say(Reply(reply.code, "", "\n".join((reply.text, *lines))))

    def _starttls(self, verb: str, argument: str) -> Step:
        if not self._profile.tls_offered and not self.tls:
            return self._fail(replies.NOT_IMPLEMENTED)
        if self.tls:
            return self._fail(replies.TLS_ACTIVE)
        if argument:
            # RFC 3207 §4: no parameters.
            return self._fail(replies.NO_ARGUMENT(verb=verb))
        if len(self._inbox):
            self._say(replies.TLS_PIPELINED)
            self._close()
            return None
        self._state = State.STARTTLS
        self._say(replies.READY_FOR_TLS)
        return events.StartTls()

    def _refuse_pipelined_tls(self) -> None:
        """Plaintext behind STARTTLS could be an attacker's (RFC 3207 §6, CVE-2011-0411)."""
        self._take_back_tls()
        self._say(replies.TLS_PIPELINED)
        self._close()

    def _take_back_tls(self) -> None:
        """The 220 that is not sent yet is not sent."""
        if self._state is State.STARTTLS and self._output:
            self._output.pop()

    def _quit(self, verb: str, argument: str) -> Step:
        self._say(replies.BYE)
        self._close()
        return None

    def _noop(self, verb: str, argument: str) -> Step:
        return self._idle(replies.OK)

    def _help(self, verb: str, argument: str) -> Step:
        commands = offered_commands(self._profile, tls=self.tls, authenticated=self.authenticated)
        rfc = 2033 if self._profile.role == "lmtp" else 5321
        return self._idle(replies.HELP(commands=" ".join(commands), rfc=rfc))

    def _rset(self, verb: str, argument: str) -> Step:
        if argument:
            return self._fail(replies.NO_ARGUMENT(verb=verb))
        if self._state is not State.FRESH:
            self._end_transaction(accepted=False)
        self._idle(replies.OK)
        return events.Reset()

    def _vrfy(self, verb: str, argument: str) -> Step:
        if not argument:
            return self._fail(replies.SYNTAX(syntax="VRFY address"))
        if self._idles_too_much():
            return self._too_many_errors()
        if argument.upper().endswith(" SMTPUTF8"):
            # RFC 6531 §3.7.4.2: the client can read a reply in UTF-8.
            argument = argument[: -len(" SMTPUTF8")].rstrip(" ")
        self._answer = self._say
        return events.Vrfy(argument)

    def _not_implemented(self, verb: str, argument: str) -> Step:
        return self._fail(replies.NOT_IMPLEMENTED)

    # --- Authentication --------------------------------------------------------------------------

    def _auth(self, verb: str, argument: str) -> Step:
        if not self._profile.auth_mechanisms:
            return self._fail(replies.AUTH_NOT_HERE)
        if self.authenticated:
            # RFC 4954 §4: once only.
            return self._fail(replies.AUTH_ACTIVE)
        if not auth_offered(self._profile, tls=self.tls):
            return self._fail(replies.AUTH_NEEDS_TLS)
        mechanism, _, initial = argument.partition(" ")
        mechanism = mechanism.upper()
        if not mechanism or " " in initial:
            return self._fail(replies.SYNTAX(syntax="AUTH mechanism [initial-response]"))
        if mechanism not in self._profile.auth_mechanisms:
            return self._fail(replies.AUTH_MECHANISM_UNKNOWN)
        data: bytes | None = None
        if initial == "=":
            # RFC 4954 §4: an empty initial response.
            data = b""
        elif initial:
            data = _from_base64(initial.encode())
            if data is None:
                return self._fail(replies.AUTH_BAD_BASE64)
        self._answer = self._answer_auth
        return events.AuthBegin(mechanism, data)

    def _read_auth(self) -> Step:
        try:
            line = self._inbox.take_line(limits.AUTH_LINE_OCTETS_MAX)
        except LineTooLong:
            return self._auth_over(replies.AUTH_LINE_TOO_LONG)
        if line is None:
            return None
        if line == b"*":
            return self._auth_over(replies.AUTH_CANCELLED)
        data = _from_base64(line)
        if data is None:
            return self._auth_over(replies.AUTH_BAD_BASE64)
        self._answer = self._answer_auth
        return events.AuthData(data)

    def _auth_over(self, reply: Reply) -> Event:
        self._state = State.IDLE
        self._fail(reply)
        return events.AuthCancelled()

    def _answer_auth(self, reply: Reply) -> None:
        self._state = State.IDLE
        if reply.code == 235:
            self.authenticated = True
        elif reply.permanent:
            self._auth_failures += 1
            if self._auth_failures >= self._profile.auth_failures_max:
                self._say(replies.AUTH_TOO_MANY(host=self._profile.host_name))
                self._close()
                return
        self._say(reply)


def _from_base64(data: bytes) -> bytes | None:
    """Decoded strictly (RFC 4648 §3.3); None where it is not base64."""
    try:
        return binascii.a2b_base64(data, strict_mode=True)
    except binascii.Error:
        return None


_HANDLERS: Final[dict[str, Callable[[SmtpServer, str, str], Step]]] = {
    "HELO": SmtpServer._hello,
    "EHLO": SmtpServer._hello,
    "LHLO": SmtpServer._hello,
    "MAIL": SmtpServer._mail,
    "RCPT": SmtpServer._rcpt,
    "DATA": SmtpServer._data,
    "BDAT": SmtpServer._bdat,
    "RSET": SmtpServer._rset,
    "NOOP": SmtpServer._noop,
    "HELP": SmtpServer._help,
    "VRFY": SmtpServer._vrfy,
    "QUIT": SmtpServer._quit,
    "STARTTLS": SmtpServer._starttls,
    "AUTH": SmtpServer._auth,
    "EXPN": SmtpServer._not_implemented,
    "ETRN": SmtpServer._not_implemented,
    "TURN": SmtpServer._not_implemented,
    "SEND": SmtpServer._not_implemented,
    "SOML": SmtpServer._not_implemented,
    "SAML": SmtpServer._not_implemented,
}
