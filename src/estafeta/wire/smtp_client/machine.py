"""machine: the client's side of SMTP and LMTP, sans-IO.

Bytes in (`receive`), bytes out (`take_output`), events (`next_event`). One session: greeting,
EHLO with HELO as fallback (RFC 5321 §3.2) or LHLO (RFC 2033 §4.1), STARTTLS (RFC 3207), AUTH
(RFC 4954), any number of transactions, QUIT. Commands are grouped where PIPELINING is offered
(RFC 2920), else sent one by one. What the server does wrong ends in `Broken` or `Closing`;
what the driver does wrong raises ValueError.

Each command sent leaves in `_expected` the function that takes its reply; a reply that nobody
expects ends the session. So the table of states is this:

    state     takes                       leads to
    OPENING   greeting, EHLO/HELO/LHLO    READY
    READY     start_tls                   TLS       -> tls_started -> OPENING
    READY     authenticate                AUTH      -> READY
    READY     begin                       ENVELOPE  -> CONTENT (354) or READY
    CONTENT   content, end_content        ENDING    -> READY
    OPENING   (the server wants nobody)   DECLINED
    READY, DECLINED   quit                QUITTING  -> DONE
    any       421, bad bytes, end         DONE
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Literal

from estafeta.mail.envelope import Envelope
from estafeta.mail.outcome import Reply
from estafeta.wire.sasl import ClientMechanism
from estafeta.wire.smtp_client.commands import mail_command, rcpt_command
from estafeta.wire.smtp_client.dots import DotStuffer
from estafeta.wire.smtp_client.events import (
    Authenticated,
    AuthenticationFailed,
    Broken,
    Bye,
    Closing,
    ContentWanted,
    Declined,
    Event,
    Finished,
    Ready,
    TlsDeclined,
    TlsProceed,
)
from estafeta.wire.smtp_client.login import Login
from estafeta.wire.smtp_client.offer import Offer, parse_offer
from estafeta.wire.smtp_client.replies import MalformedReply, ReplyReader

BEHIND_STARTTLS = "bytes in the clear behind the reply to STARTTLS"
"""RFC 3207 §4.2: they could be anybody's; nothing is believed any more."""


class State(Enum):
    OPENING = "opening"
    READY = "ready"
    TLS = "tls"
    AUTH = "auth"
    ENVELOPE = "envelope"
    CONTENT = "content"
    ENDING = "ending"
    QUITTING = "quitting"
    DECLINED = "declined"
    DONE = "done"


class SmtpClient:
    """One session with one server. hello: our name, a domain or an address literal."""

    __slots__ = (
        "_accepted",
        "_events",
        "_expected",
        "_hello",
        "_lmtp",
        "_login",
        "_mail_failure",
        "_next_recipient",
        "_out",
        "_reader",
        "_reset_first",
        "_stuffer",
        "_todo",
        "dot_sent",
        "greeting",
        "offer",
        "replies",
        "state",
    )

    def __init__(self, hello: str, *, lmtp: bool = False) -> None:
        self._hello = hello
        self._lmtp = lmtp
        self._reader = ReplyReader()
        self._events: deque[Event] = deque()
        self._expected: deque[Callable[[Reply], None]] = deque((self._on_greeting,))
        self._out: list[bytes] = []
        self._todo: deque[tuple[bytes, Callable[[Reply], None]]] = deque()
        self._login: Login | None = None
        self._reset_first = False
        self._accepted: list[int] = []
        self._mail_failure: Reply | None = None
        self._next_recipient = 0
        self._stuffer = DotStuffer()
        self.state = State.OPENING
        self.offer = Offer()
        self.greeting = ""
        self.replies: list[Reply | None] = []
        """Of the transaction begun last: each recipient's final reply, None where there is none."""
        self.dot_sent = False
        """Whether the end of the content went out in that transaction."""

    @property
    def mail_failed(self) -> bool:
        """Whether MAIL of that transaction was refused, for now or for good."""
        return self._mail_failure is not None

    # What the pump calls.

    def receive(self, data: bytes) -> None:
        """Bytes from the server; b"" is the end of its stream."""
        if self.state is State.DONE:
            return
        if not data:
            self._break("the server closed the connection without a reply", "cut")
            return
        try:
            replies = self._reader.feed(data)
            for reply in replies:
                self._take(reply)
        except MalformedReply as fault:
            self._break(str(fault), "malformed")
            return
        if self.state is State.TLS and not self._expected and self._reader.pending:
            self._break(BEHIND_STARTTLS, "malformed")

    def take_output(self) -> bytes:
        """What is to be sent, once."""
        if not self._out:
            return b""
        out = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        return out

    def next_event(self) -> Event | None:
        return self._events.popleft() if self._events else None

    # What the driver asks for.

    def start_tls(self) -> None:
        self._need(State.READY)
        self.state = State.TLS
        self._send(b"STARTTLS\r\n", self._on_starttls)

    def tls_started(self) -> None:
        """The handshake succeeded: all that was learnt before is forgotten (RFC 3207 §4.2)."""
        self._need(State.TLS)
        self.state = State.OPENING
        self.offer = Offer()
        self._reset_first = False
        self._say_hello()

    def authenticate(self, mechanism: ClientMechanism) -> None:
        self._need(State.READY)
        self.state = State.AUTH
        self._login = Login(mechanism)
        self._send(self._login.first_line(), self._on_auth)

    def begin(
        self, envelope: Envelope, *, size: int = 0, eight_bit: bool = False, smtputf8: bool = False
    ) -> None:
        """MAIL, RCPT and (grouped, where offered) DATA.

        size: octets of the content; eight_bit, smtputf8: what the message needs. Whether the
        server offers what is needed is the driver's to see before.
        """
        self._need(State.READY)
        if not envelope.recipients:
            raise ValueError("no recipients")
        offer = self.offer
        lines = [mail_command(envelope, offer, size=size, eight_bit=eight_bit, smtputf8=smtputf8)]
        lines += [
            rcpt_command(recipient, offer, smtputf8=smtputf8) for recipient in envelope.recipients
        ]
        takers: list[Callable[[Reply], None]] = [self._on_mail]
        takers += [self._on_rcpt] * len(envelope.recipients)
        if self._reset_first:
            lines.insert(0, "RSET")
            takers.insert(0, self._on_rset)
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
            raise ValueError("a line end within an address or parameter")
        self.state = State.ENVELOPE
        self.replies = [None] * len(envelope.recipients)
        self.dot_sent = False
        self._accepted = []
        self._mail_failure = None
        self._next_recipient = 0
        self._reset_first = True
        if offer.pipelining:
            self._out.append(f"{text}\r\nDATA\r\n".encode())
            self._expected.extend(takers)
            self._expected.append(self._on_data)
        else:
            self._todo.extend(
                (f"{line}\r\n".encode(), taker) for line, taker in zip(lines, takers, strict=True)
            )
            self._todo.append((b"DATA\r\n", self._on_data))
            self._advance()

    def content(self, chunk: bytes) -> bytes:
        """The bytes to send for one piece of the message."""
        return self._stuffer.chunk(chunk)

    def end_content(self) -> bytes:
        """The bytes that end the message. From here on its fate is the server's to tell."""
        self._need(State.CONTENT)
        self.state = State.ENDING
        self.dot_sent = True
        if self._lmtp:
            # RFC 2033 §4.2: one reply for each recipient that was taken.
            self._expected.extend([self._on_end_of_one] * len(self._accepted))
        else:
            self._expected.append(self._on_end)
        return self._stuffer.end()

    def quit(self) -> None:
        if self.state is not State.DECLINED:
            self._need(State.READY)
        self.state = State.QUITTING
        self._send(b"QUIT\r\n", self._on_quit)

    def abandon(self, text: str) -> None:
        """The driver waits no longer, or its connection broke; `text` says why."""
        if self.state is not State.DONE:
            self._break(text, "abandoned")

    # Opening.

    def _on_greeting(self, reply: Reply) -> None:
        self.greeting = reply.text
        if reply.code // 100 == 2:
            self._say_hello()
        else:
            # RFC 5321 §3.1: 554 instead of 220; RFC 7504: 521.
            self._decline("greeting", reply)

    def _say_hello(self) -> None:
        verb = "LHLO" if self._lmtp else "EHLO"
        self._send(f"{verb} {self._hello}\r\n".encode(), self._on_ehlo)

    def _on_ehlo(self, reply: Reply) -> None:
        if reply.code // 100 == 2:
            self._ready(parse_offer(reply))
        elif reply.permanent and not self._lmtp:
            # RFC 5321 §3.2: a server that does not know EHLO is greeted with HELO.
            self._send(f"HELO {self._hello}\r\n".encode(), self._on_helo)
        else:
            self._decline("hello", reply)

    def _on_helo(self, reply: Reply) -> None:
        if reply.code // 100 == 2:
            self._ready(Offer())
        else:
            self._decline("hello", reply)

    def _ready(self, offer: Offer) -> None:
        self.offer = offer
        self.state = State.READY
        self._events.append(Ready(offer))

    def _decline(self, stage: Literal["greeting", "hello"], reply: Reply) -> None:
        # RFC 5321 §3.1: such a server waits for QUIT.
        self.state = State.DECLINED
        self._events.append(Declined(stage, reply))

    # TLS and AUTH.

    def _on_starttls(self, reply: Reply) -> None:
        if reply.code // 100 == 2:
            self._events.append(TlsProceed())
        else:
            self.state = State.READY
            self._events.append(TlsDeclined(reply))

    def _on_auth(self, reply: Reply) -> None:
        assert self._login is not None
        if reply.code == 334:
            self._send(self._login.answer(reply), self._on_auth)
        elif reply.code // 100 == 2:
            self._login.succeeded()
            self.state = State.READY
            self._events.append(Authenticated(reply))
        else:
            self.state = State.READY
            self._events.append(AuthenticationFailed(reply))

    # The transaction.

    def _advance(self) -> None:
        """Lock-step: the next command of the transaction."""
        if self._todo:
            self._send(*self._todo.popleft())

    def _on_rset(self, reply: Reply) -> None:
        """RFC 5321 §4.1.1.5 knows only 250; what else comes shows itself at MAIL."""
        self._advance()

    def _on_mail(self, reply: Reply) -> None:
        if reply.code // 100 == 2:
            self._advance()
        elif reply.code // 100 == 3:
            raise MalformedReply(f"{reply.code} in reply to MAIL")
        else:
            self._mail_failure = reply
            self.replies = [reply] * len(self.replies)
            if self._todo:
                self._finish()

    def _on_rcpt(self, reply: Reply) -> None:
        recipient = self._next_recipient
        self._next_recipient += 1
        if self._mail_failure is not None:
            return
        if reply.code // 100 == 2:
            self._accepted.append(recipient)
        elif reply.code // 100 == 3:
            raise MalformedReply(f"{reply.code} in reply to RCPT")
        else:
            self.replies[recipient] = reply
        if len(self._todo) == 1 and not self._accepted:
            # Lock-step and nobody taken: DATA is not sent at all (RFC 5321 §3.3).
            self._finish()
        else:
            self._advance()

    def _on_data(self, reply: Reply) -> None:
        if reply.code // 100 == 3:
            if self._accepted:
                self.state = State.CONTENT
                self._stuffer = DotStuffer()
                self._events.append(ContentWanted())
            else:
                # RFC 2920 §3.1: nobody was taken and yet 354: an empty message ends it.
                self._send(b".\r\n", self._on_end_of_nothing)
        elif reply.code // 100 == 2:
            raise MalformedReply(f"{reply.code} in reply to DATA")
        else:
            self._settle(reply)
            self._finish()

    def _on_end(self, reply: Reply) -> None:
        if reply.code // 100 == 3:
            raise MalformedReply(f"{reply.code} in reply to the end of the message")
        self._settle(reply)
        self._reset_first = False
        self._finish()

    def _on_end_of_one(self, reply: Reply) -> None:
        if reply.code // 100 == 3:
            raise MalformedReply(f"{reply.code} in reply to the end of the message")
        self.replies[self._accepted.pop(0)] = reply
        if not self._accepted:
            self._reset_first = False
            self._finish()

    def _on_end_of_nothing(self, reply: Reply) -> None:
        self._finish()

    def _settle(self, reply: Reply) -> None:
        for recipient in self._accepted:
            self.replies[recipient] = reply
        self._accepted = []

    def _finish(self) -> None:
        self._todo.clear()
        self.state = State.READY
        self._events.append(Finished(tuple(reply for reply in self.replies if reply is not None)))

    # The end.

    def _on_quit(self, reply: Reply) -> None:
        self.state = State.DONE
        self._events.append(Bye(reply))

    def _take(self, reply: Reply) -> None:
        if self.state is State.DONE:
            return
        if reply.code == 421 and self._expected and self._expected[0] != self._on_greeting:
            # RFC 5321 §3.8: 421 answers anything, and the connection ends.
            self._close(reply)
        elif self._expected:
            self._expected.popleft()(reply)
        elif self.state is State.TLS:
            raise MalformedReply(BEHIND_STARTTLS)
        elif reply.code >= 400:
            self._close(reply)
        else:
            raise MalformedReply(f"a reply to nothing: {reply}"[:200])

    def _close(self, reply: Reply) -> None:
        self._end(Closing(reply))

    def _break(self, text: str, why: Literal["cut", "abandoned", "malformed"]) -> None:
        self._end(Broken(text, why))

    def _end(self, event: Event) -> None:
        """What the driver was about to be asked for is void; how a transaction ended is not."""
        self.state = State.DONE
        self._events = deque(known for known in self._events if isinstance(known, Finished))
        self._events.append(event)

    def _send(self, line: bytes, taker: Callable[[Reply], None]) -> None:
        self._out.append(line)
        self._expected.append(taker)

    def _need(self, state: State) -> None:
        if self.state is not state:
            raise ValueError(f"not in state {self.state.value}")
