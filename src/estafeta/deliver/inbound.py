"""Inbound: the role of port 25 and of LMTP: only our own recipients (RFC 5321 §3.6, RFC 2033)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from estafeta.intake.limits import RECEIVED_FIELDS_MAX
from estafeta.intake.role import Client, Transaction
from estafeta.intake.target import Directory, Target, ToRemote, is_full
from estafeta.mail import header as fields
from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Reply
from estafeta.store.bodies import Body
from estafeta.store.engine import Store, Tx
from estafeta.wire import replies
from estafeta.wire.smtp_server.events import Mail


class InboundRole:
    """See intake.role.Role."""

    remembers = False

    def __init__(self, name: Literal["mx", "lmtp"], store: Store, directory: Directory) -> None:
        self.name = name
        self._store = store
        self._directory = directory

    async def sender(self, client: Client, mail: Mail) -> Reply:
        return replies.SENDER_OK

    async def recipient(
        self, client: Client, transaction: Transaction, recipient: Recipient
    ) -> Target | Reply:
        """Known, enabled and with room for what SIZE declared, or the reply that says what not."""
        address, size = recipient.address, transaction.mail.size

        def decide(tx: Tx) -> Target | Reply:
            target = self._directory(tx, address)
            if isinstance(target, ToRemote):
                return replies.RELAY_DENIED(address=address)
            if not isinstance(target, Reply) and is_full(target, size):
                return replies.MAILBOX_FULL(address=address)
            return target

        return await self._store.read(decide)

    def header(
        self, client: Client, transaction: Transaction, header: bytes, received: bytes
    ) -> bytes | Reply:
        if fields.count(header, "Received") >= RECEIVED_FIELDS_MAX:
            return replies.LOOP
        transaction.message_id = fields.message_id(header)
        return received + header

    async def verify(self, client: Client, transaction: Transaction) -> Reply | None:
        return None

    async def duplicates(
        self, client: Client, transaction: Transaction, digest: bytes
    ) -> Sequence[int | None]:
        return ()

    async def judge(
        self, client: Client, transaction: Transaction, body: Body
    ) -> Sequence[Reply | None]:
        return ()
