"""events: what the SMTP server machine tells its driver, one at a time.

Those marked *answer* owe the peer a reply: the machine goes on after `reply`, `reply_each` or
`challenge`. The others are told only.
"""

from __future__ import annotations

import msgspec

from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Reply


class Connected(msgspec.Struct, frozen=True):
    """*answer*: 220 greets, anything else ends the session (RFC 5321 §3.1).

    A driver that waits first, to catch who talks early, may `receive` in the meantime: EarlyTalk
    or Lost comes then, and no answer is owed any more.
    """


class EarlyTalk(msgspec.Struct, frozen=True):
    """The peer spoke before the greeting; it was answered 554 and the session ends."""


class Hello(msgspec.Struct, frozen=True):
    """*answer*. HELO, EHLO or LHLO. A positive answer ends a transaction as Reset does.

    name: as the peer gave it, with "?" for what cannot stand in a domain or an address literal, so
    that it is safe in a Received field; not checked otherwise. esmtp: False for HELO.
    """

    name: str
    verb: str
    esmtp: bool


class StartTls(msgspec.Struct, frozen=True):
    """220 is in the output: send it, do the handshake, call `tls_started`.

    Everything that was known of the peer is forgotten then (RFC 3207 §4.2).
    """


class AuthBegin(msgspec.Struct, frozen=True):
    """*answer* or challenge. mechanism: in upper case, one of the profile's.

    initial: the initial response decoded; None where there was none (RFC 4954 §4).
    """

    mechanism: str
    initial: bytes | None


class AuthData(msgspec.Struct, frozen=True):
    """*answer* or challenge. The peer's response to a challenge, decoded."""

    data: bytes


class AuthCancelled(msgspec.Struct, frozen=True):
    """The exchange is over without an answer of the driver: "*", bad base64, or too long."""


class Mail(msgspec.Struct, frozen=True):
    """*answer*. MAIL FROM. reverse_path: canonical, "" for the null one.

    size: declared octets or 0 (RFC 1870). body: "7BIT", "8BITMIME" or "" (RFC 6152).
    ret: "FULL", "HDRS" or ""; envid: decoded (RFC 3461 §4.3, §4.4).
    auth: what AUTH= said, decoded; None where it was not given, "" for <> (RFC 4954 §5).
    prdr: each recipient is to be answered after the message (draft-hall-prdr-00).
    """

    reverse_path: str
    size: int = 0
    body: str = ""
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    auth: str | None = None
    prdr: bool = False


class Rcpt(msgspec.Struct, frozen=True):
    """*answer*. RCPT TO, at most `recipients_max` accepted ones in a transaction."""

    recipient: Recipient


class Data(msgspec.Struct, frozen=True):
    """*answer*. The message is about to come. chunked: by BDAT; 354 is then not sent."""

    chunked: bool


class Chunk(msgspec.Struct, frozen=True):
    """Octets of the message, dot-unstuffed, as many as there were; together below size_max."""

    data: bytes


class EndOfData(msgspec.Struct, frozen=True):
    """*answer*; LMTP and PRDR: one for each accepted recipient (RFC 2033 §4.2, draft-hall-prdr-00).

    problem: why the machine refuses the message; it must not be accepted then, and Chunks may
    be missing.
    """

    problem: Reply | None = None


class Reset(msgspec.Struct, frozen=True):
    """RSET: the transaction is gone; answered already."""


class Vrfy(msgspec.Struct, frozen=True):
    """*answer*. VRFY and its argument, printable."""

    argument: str


class Lost(msgspec.Struct, frozen=True):
    """The peer ended its stream without QUIT. during: name of the `State` it was in.

    What was begun is not to be accepted: a cut inside DATA is no end of data.
    """

    during: str


Event = (
    Connected
    | EarlyTalk
    | Hello
    | StartTls
    | AuthBegin
    | AuthData
    | AuthCancelled
    | Mail
    | Rcpt
    | Data
    | Chunk
    | EndOfData
    | Reset
    | Vrfy
    | Lost
)
