"""Inbound: the role of port 25 and of LMTP: only our own recipients (RFC 5321 §3.6, RFC 2033)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from estafeta.deliver.reception import Reception
from estafeta.intake.limits import RECEIVED_FIELDS_MAX
from estafeta.intake.role import Client, Transaction
from estafeta.intake.target import Target
from estafeta.mail import header as fields
from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Reply
from estafeta.store.bodies import Body
from estafeta.wire import replies
from estafeta.wire.smtp_server.events import Mail


class InboundRole:
    """See intake.role.Role."""

    remembers = False

    def __init__(self, name: Literal["mx", "lmtp"], reception: Reception) -> None:
        self.name = name
        self._reception = reception

    async def sender(self, client: Client, mail: Mail) -> Reply:
        self._reception.expect(client)
        return replies.SENDER_OK

    async def recipient(
        self, client: Client, transaction: Transaction, recipient: Recipient
    ) -> Target | Reply:
        return await self._reception.recipient(client, transaction, recipient.address)

    def header(
        self, client: Client, transaction: Transaction, header: bytes, received: bytes
    ) -> bytes | Reply:
        if fields.count(header, "Received") >= RECEIVED_FIELDS_MAX:
            return replies.LOOP
        transaction.message_id = fields.message_id(header)
        self._reception.header(transaction, header)
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
        return await self._reception.judge(client, transaction, body)

    def accepted(self, transaction: Transaction) -> None:
        self._reception.accepted(transaction)

    def failed(self, transaction: Transaction, reply: Reply) -> None:
        self._reception.failed(transaction, reply)

    def refused(self, transaction: Transaction, reply: Reply) -> Sequence[Reply]:
        return self._reception.refused(transaction, reply)
