"""events: what the SMTP client machine tells its driver."""

from __future__ import annotations

from typing import Literal

import msgspec

from estafeta.mail.outcome import Reply
from estafeta.wire.smtp_client.offer import Offer


class Ready(msgspec.Struct, frozen=True):
    """Greeted and introduced (again after TLS): transactions may begin."""

    offer: Offer


class Declined(msgspec.Struct, frozen=True):
    """The server does not want this session; all that is left is `quit`."""

    stage: Literal["greeting", "hello"]
    reply: Reply


class TlsProceed(msgspec.Struct, frozen=True):
    """220 to STARTTLS, and nothing behind it: handshake now, then `tls_started`."""


class TlsDeclined(msgspec.Struct, frozen=True):
    """STARTTLS was refused; the session goes on in the clear, if the driver wants that."""

    reply: Reply


class Authenticated(msgspec.Struct, frozen=True):
    reply: Reply


class AuthenticationFailed(msgspec.Struct, frozen=True):
    reply: Reply


class ContentWanted(msgspec.Struct, frozen=True):
    """354: `content` for each piece of the message, then `end_content`."""


class Finished(msgspec.Struct, frozen=True):
    """The transaction has ended: one reply for each recipient, in their order."""

    replies: tuple[Reply, ...]


class Closing(msgspec.Struct, frozen=True):
    """The server ends the session of its own accord (421, or a reply nobody asked for).

    `SmtpClient.replies` says what each recipient of an open transaction got before that.
    """

    reply: Reply


class Bye(msgspec.Struct, frozen=True):
    """Answer to QUIT."""

    reply: Reply


class Broken(msgspec.Struct, frozen=True):
    """The session is over without a reply: the connection ended, the driver gave up waiting
    (`abandon`), or the peer does not speak SMTP."""

    text: str
    why: Literal["cut", "abandoned", "malformed"]


Event = (
    Ready
    | Declined
    | TlsProceed
    | TlsDeclined
    | Authenticated
    | AuthenticationFailed
    | ContentWanted
    | Finished
    | Closing
    | Bye
    | Broken
)
