"""Role: what differs between MX, submission and LMTP, as seen by the one session driver.

The driver owns the dialogue, the body and the answer; a role decides about senders and recipients
and about the header. Roles live to the left (`deliver`, `submit`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from estafeta.intake.target import Target
from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Reply
from estafeta.store.bodies import Body
from estafeta.store.engine import Tx
from estafeta.store.rows import Account
from estafeta.wire.smtp_server.events import Mail
from estafeta.wire.smtp_server.profile import Role as RoleName
from estafeta.world.seams import Endpoint, TlsInfo


class Client(msgspec.Struct):
    """What is known of the peer by now. hello: as it named itself, "" before.

    trusted: its address is in `relay_networks`: it may submit without an account.
    plaintext_auth: its address is in `plaintext_auth_networks`. exempt: it is in the
    `exempt_networks` of the rates, and never waits for an answer.
    """

    peer: Endpoint
    tls: TlsInfo | None = None
    hello: str = ""
    esmtp: bool = False
    account: Account | None = None
    trusted: bool = False
    plaintext_auth: bool = False
    exempt: bool = False


class Transaction(msgspec.Struct):
    """One mail transaction. id: what becomes the acceptance; recipients, targets: parallel.

    authors: addresses in From, where the role looks at them. recognisable: the client gave it a
    Message-ID of its own, so that it can be known again. header: as the client gave it, where a
    copy may be filed. sent: with which fields the copy in the submitter's \\Sent begins; None: none
    is filed. each: every recipient gets an answer of its own after the message, by LMTP or PRDR.
    visitor: who the client is, where the role found out; notes: whatever the role keeps for itself.
    units: what is to be done in the unit that accepts the message; see prepared.Incoming.
    """

    id: int
    mail: Mail
    recipients: list[Recipient] = []
    targets: list[Target] = []
    message_id: str = ""
    authors: Sequence[str] = ()
    recognisable: bool = False
    header: bytes = b""
    sent: bytes | None = None
    each: bool = False
    visitor: object | None = None
    notes: Any = None
    units: list[Callable[[Tx], None]] = []

    @property
    def prdr(self) -> bool:
        """The client asked for an answer for each recipient (draft-hall-prdr-00)."""
        return self.mail.prdr


class Role(Protocol):
    """The decisions of one kind of listener."""

    @property
    def name(self) -> RoleName: ...

    @property
    def remembers(self) -> bool:
        """Are messages whose 250 may have got lost to be recognised when they come again?"""
        ...

    async def sender(self, client: Client, mail: Mail) -> Reply:
        """MAIL FROM: a positive reply takes it."""
        ...

    async def recipient(
        self, client: Client, transaction: Transaction, recipient: Recipient
    ) -> Target | Reply:
        """RCPT TO: where it leads, or why it is refused."""
        ...

    def header(
        self, client: Client, transaction: Transaction, header: bytes, received: bytes
    ) -> bytes | Reply:
        """The header as it is to be kept, `received` on top, or why the message is refused.

        header: up to and without the empty line; sets message_id and authors of the transaction.
        """
        ...

    async def verify(self, client: Client, transaction: Transaction) -> Reply | None:
        """What the header says, checked against the store: a reply refuses the message."""
        ...

    async def duplicates(
        self, client: Client, transaction: Transaction, digest: bytes
    ) -> Sequence[int | None]:
        """By recipient: the acceptance that has it already, or None; empty: nothing known."""
        ...

    async def judge(
        self, client: Client, transaction: Transaction, body: Body
    ) -> Sequence[Reply | None]:
        """By recipient: why the whole message does not come in, or None; empty: for all it does.

        Called when the body is complete, before anything is written. Where one answer stands for
        all (`transaction.each` is False) and some are refused, the message is refused for all,
        unless every one of them is refused for a full mailbox: those wait in the queue.
        """
        ...

    def accepted(self, transaction: Transaction) -> None:
        """The message is committed, for those whom `judge` let have it."""
        ...

    def refused(self, transaction: Transaction, reply: Reply) -> Sequence[Reply]:
        """The unit that was to accept the message refused it (`units` of the transaction): the
        answer for each recipient."""
        ...

    def failed(self, transaction: Transaction, reply: Reply) -> None:
        """The message is refused for all, by the session itself."""
        ...
