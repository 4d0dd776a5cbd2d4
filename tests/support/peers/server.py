"""server: what every foreign SMTP server under test is to the matrix: one contract for them all.

A server's module offers `SERVER`, which is a `ForeignServer`: what the program is, what it cannot
do and why, and how it is started. `start` gives a `RunningServer`, which is asked the same things
whoever wrote the program. Nothing here knows any of them by name.

What a server cannot do is data (`cannot`), with the reason in a short sentence: the matrix tries
it all the same, and a declaration that is not true fails there.
"""

from __future__ import annotations

import enum
import smtplib
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from .process import LOOPBACK

MAIL_TIMEOUT_S = 30.0

Tls = Literal["none", "starttls", "implicit"]


class Direction(enum.StrEnum):
    """Who gives the message to whom, seen from the foreign server."""

    SENDS = "sends"  # it is the client, we are the server
    RECEIVES = "receives"  # we are the client, it is the server


class Feature(enum.StrEnum):
    """What a case of the matrix is about; the text stands in docs/interop.md."""

    PLAIN = "plain, 1 KiB"
    STARTTLS = "STARTTLS"
    IMPLICIT_TLS = "implicit TLS"
    OPPORTUNISTIC_TLS = "TLS where it works"
    LARGE = "10 MiB"
    EIGHT_BIT = "8-bit body"
    SMTPUTF8 = "SMTPUTF8 addresses"
    CHUNKING = "BDAT"
    NO_CHUNKING = "CHUNKING off"
    PIPELINING = "PIPELINING"
    NO_PIPELINING = "PIPELINING off"
    MANY = "50 recipients in one transaction"
    DSN_PARAMETERS = "DSN parameters passed on"
    DSN_SUCCESS = "DSN of success"
    DSN_NEVER = "NOTIFY=NEVER"
    REFUSED = "refused recipient bounces"
    DEFERRED = "4xx waits, delivered later"
    BUSY = "busy: 421 waits, delivered later"
    GREYLISTED = "greylisting: 451 waits as long as it says"
    RATE = "too many messages: 450 waits, delivered later"
    FULL = "mailbox full: 452, tried as set, then returned and explained"
    FORBIDDEN = "refused attachment explained"
    REFUSED_OTHERWISE = "any other refusal explained, with its words"
    SMARTHOST = "smarthost with AUTH"
    WE_KNOW_NOBODY = "we know no such user: 550 5.1.1"
    WE_HAVE_CLOSED = "we have closed the account: 550 5.2.1"
    WE_ARE_FULL = "our mailbox is full: 452 4.2.2 waits, delivered later"
    WE_ARE_FULL_FOR_GOOD = "our mailbox is full, set to `reject`: 552 5.2.2"
    WE_FORBID = "we refuse a type of attachment: 554 5.7.1 names the file"
    WE_TAKE_NO_MORE = "we refuse what is too big: 552 5.3.4"
    WE_GREYLIST = "we greylist: 451 4.7.1 waits, delivered later"
    WE_LIMIT = "we limit: 450 4.7.1 waits, delivered later"
    WE_ARE_BUSY = "we are busy: 421 waits, delivered later"
    WE_LOOK_UP = "we refuse who is on a list in the DNS: 554 5.7.1"
    WE_WANT_TLS = "we want TLS: refused in the clear, taken under TLS"
    PRDR = "PRDR: one taken, one refused after the message"


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where a server relays what is not local.

    tls: "none" (even where offered), "starttls" (demanded) or "implicit".
    """

    host: str
    port: int
    tls: Tls = "none"


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """How one instance is set up.

    hostname: its name in greeting, EHLO and Received. host: the loopback address that it listens
    on and connects from. domains: domain -> local parts that have a mailbox; any other local part
    of these domains is refused with 550 at RCPT. A local part may be UTF-8. answers: address of
    one of those -> the reply that it gets at RCPT instead, with its code and status. forbidden: how
    names of attachments end that are refused after DATA, such as ".mov". next_hop: takes
    everything else that its own users or loopback clients hand in; None: there is nothing else.
    certificate: PEM with key and chain; without it no TLS is offered. ca: PEM of the authorities
    that it trusts as a client. pipelining, chunking: whether it offers and uses them, where it can
    be told. credentials: user name and password; where given there is a submission port: it takes
    mail to anybody from those who log in (after STARTTLS if there is a certificate) and from nobody
    else.
    smtp_port, smtps_port, submission_port: 0 takes a free one. size_max: octets.

    Starting again in the same workspace, with whatever specification, goes on with the queue and
    the mailboxes that are there.
    """

    hostname: str = "peer.example"
    host: str = LOOPBACK
    domains: Mapping[str, Sequence[str]] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    forbidden: str = ""
    next_hop: NextHop | None = None
    certificate: Path | None = None
    ca: Path | None = None
    pipelining: bool = True
    chunking: bool = True
    credentials: tuple[str, str] | None = None
    smtp_port: int = 0
    smtps_port: int = 0
    submission_port: int = 0
    size_max: int = 50 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Dsn:
    """What a sender asks to be told: RFC 3461 §4.

    notify: as NOTIFY lists it, empty for none. orcpt: address -> xtext after "rfc822;". ret:
    "FULL", "HDRS" or "". envid: xtext.
    """

    notify: Sequence[str] = ()
    orcpt: Mapping[str, str] = field(default_factory=dict)
    ret: str = ""
    envid: str = ""


NOTHING_ASKED = Dsn()


class RunningServer(Protocol):
    """One instance that accepts connections.

    smtps_port: implicit TLS, for mail to its own domains; None where it cannot or has no
    certificate. submission_port: demands the specification's credentials; None where none are
    given or it cannot.
    """

    @property
    def host(self) -> str: ...
    @property
    def smtp_port(self) -> int: ...
    @property
    def smtps_port(self) -> int | None: ...
    @property
    def submission_port(self) -> int | None: ...

    def submit(
        self, message: bytes, sender: str, recipients: Sequence[str], dsn: Dsn = NOTHING_ASKED
    ) -> None:
        """Hands a message to its queue as its own users would: by its sendmail command or SMTP.

        One transaction for all recipients. message: lines end in CRLF. Raises where it does not
        take the message.
        """

    def received(self, recipient: str) -> list[bytes]:
        """What lies in a local recipient's mailbox, in no order, with the trace fields that the
        delivery put on top; lines end in LF or CRLF."""

    def wait_received(self, recipient: str, count: int = 1) -> list[bytes]:
        """The same, once there are that many. Raises: DidNotHappen with the log's end."""

    def queue(self) -> str:
        """What is queued, in its own words; "" if nothing is, and never "" if anything is."""

    def flush(self) -> None:
        """Has it try everything queued now."""

    def log(self) -> str:
        """All it logged so far."""


class ForeignServer(Protocol):
    """A server program.

    name: as people call it. cannot: (direction, feature) -> why, a short sentence. refolds: the
    lower-case names of fields whose white space it changes as it passes them on.
    """

    @property
    def name(self) -> str: ...
    @property
    def cannot(self) -> Mapping[tuple[Direction, Feature], str]: ...
    @property
    def refolds(self) -> Collection[str]: ...

    def version(self) -> str:
        """The package's version, whole. Fetches it if need be. Raises: packages.Unavailable."""

    def start(self, workspace: Path, spec: ServerSpec) -> AbstractContextManager[RunningServer]:
        """An instance that lives below `workspace` (a folder that is there or can be made) and
        stops at the end of the block, with everything it started.

        Entering raises: packages.Unavailable where it cannot run here, DidNotHappen.
        """


def submit_by_smtp(
    host: str,
    port: int,
    message: bytes,
    sender: str,
    recipients: Sequence[str],
    dsn: Dsn = NOTHING_ASKED,
) -> None:
    """One transaction at a server that takes mail from loopback. message: lines end in CRLF.

    BODY=8BITMIME and SMTPUTF8 are said where the message and the addresses need them.
    Raises: smtplib.SMTPException, at the first recipient that is refused too.
    """
    parameters: list[str] = []
    if not message.isascii():
        parameters.append("BODY=8BITMIME")
    if not all(address.isascii() for address in (sender, *recipients)):
        parameters.append("SMTPUTF8")
    parameters += [f"RET={dsn.ret}"] if dsn.ret else []
    parameters += [f"ENVID={dsn.envid}"] if dsn.envid else []
    with smtplib.SMTP(host, port, "client.example", timeout=MAIL_TIMEOUT_S) as client:
        client.ehlo_or_helo_if_needed()
        client.command_encoding = "utf-8"
        code, answer = client.mail(sender, parameters)
        if code != 250:
            raise smtplib.SMTPSenderRefused(code, answer, sender)
        for recipient in recipients:
            options = [f"NOTIFY={','.join(dsn.notify)}"] if dsn.notify else []
            if original := dsn.orcpt.get(recipient):
                options.append(f"ORCPT=rfc822;{original}")
            code, answer = client.rcpt(recipient, options)
            if code not in (250, 251):
                raise smtplib.SMTPRecipientsRefused({recipient: (code, answer)})
        code, answer = client.data(message)
        if code != 250:
            raise smtplib.SMTPDataError(code, answer)
