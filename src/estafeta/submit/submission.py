"""Submission: the role of 465 and 587: who may say what, and a header made complete (RFC 6409).

Promises: MAIL FROM and From belong to the account; Bcc never leaves, it stands in the submitter's
own copy alone; Date and Message-ID are there; what no one could answer is refused; a message that
comes again because our 250 got lost is recognised for each recipient. A client within
`relay_networks` needs no account and writes as it likes. How many recipients an account writes to
is looked after by submit/outbound.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import msgspec

from estafeta.intake.limits import RECEIVED_FIELDS_MAX
from estafeta.intake.objection import Objection, objection
from estafeta.intake.role import Client, Transaction
from estafeta.intake.target import Directory, Target, is_full
from estafeta.intake.words import refusal
from estafeta.mail import header as fields
from estafeta.mail.dates import format_date
from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Reply
from estafeta.store import accounts, ledger
from estafeta.store.bodies import Body
from estafeta.store.engine import Store, Tx
from estafeta.store.rows import Account
from estafeta.store.sent import PRIVATE_FIELDS
from estafeta.store.tokens import Tokens
from estafeta.submit.blind import blind_copies
from estafeta.submit.outbound import Outbound
from estafeta.wire import replies
from estafeta.wire.replies import Template
from estafeta.wire.smtp_server.events import Mail
from estafeta.world.seams import Clock

REMEMBERED_MS = 15 * 60 * 1000
"""How long a message whose 250 may have got lost is recognised."""


Contents = Callable[[Transaction, Body], Awaitable[Sequence[Objection | None]]]
"""What the policies of those who are here object to in a message, by recipient."""


class SubmissionRole:
    """See intake.role.Role. remembers: the setting `remember_submissions`."""

    name: Literal["submission"] = "submission"

    def __init__(
        self,
        store: Store,
        directory: Directory,
        *,
        clock: Clock,
        tokens: Tokens,
        host_name: str,
        outbound: Outbound,
        contents: Contents,
        remembers: bool = True,
    ) -> None:
        self._store = store
        self._contents = contents
        self._outbound = outbound
        self._directory = directory
        self._clock = clock
        self._tokens = tokens
        self._host_name = host_name
        self.remembers = remembers

    async def sender(self, client: Client, mail: Mail) -> Reply:
        await self._tokens.ready()  # for a Message-ID
        address = mail.reverse_path
        if client.account is None:
            return replies.SENDER_OK if client.trusted else replies.AUTH_REQUIRED
        account = client.account = await self._speaking(client.account)

        def decide(tx: Tx) -> Reply:
            if not _may_come_in(tx, account):
                return replies.ACCOUNT_DISABLED
            if refusal := self._outbound.sender(tx, account, utf8=mail.smtputf8):
                return refusal
            # A receipt (RFC 8098 §3) has the null reverse-path.
            if address and not accounts.may_write_as(tx, account, address):
                own = account.address
                return _refusal(
                    client, mail, replies.SENDER_NOT_OWNED, address=address, account=own
                )
            return replies.SENDER_OK

        return await self._store.read(decide)

    async def _speaking(self, account: Account) -> Account:
        """With the language of its domain, where it has none of its own."""
        if account.language:
            return account
        domain = await self._store.read(lambda tx: accounts.domain(tx, account.domain))
        language = domain.language if domain is not None else ""
        return msgspec.structs.replace(account, language=language) if language else account

    async def recipient(
        self, client: Client, transaction: Transaction, recipient: Recipient
    ) -> Target | Reply:
        address, size = recipient.address, transaction.mail.size

        def decide(tx: Tx) -> Target | Objection:
            target = self._directory(tx, address)
            if not isinstance(target, Objection) and is_full(target, size):
                return objection(replies.MAILBOX_FULL, address=address)
            return target

        found = await self._store.read(decide)
        if isinstance(found, Objection):
            return self._said(client, transaction, found)
        if client.account is None:
            return found
        # Mistakes do not count: only those to whom a message would go.
        utf8 = transaction.mail.smtputf8
        return await self._outbound.recipient(client.account, utf8=utf8) or found

    def header(
        self, client: Client, transaction: Transaction, header: bytes, received: bytes
    ) -> bytes | Reply:
        examined, mail = fields.examine(header), transaction.mail
        if examined.received >= RECEIVED_FIELDS_MAX:
            return _refusal(client, mail, replies.LOOP)
        for problem in examined.problems:
            match problem.code:
                case "no-from":
                    return _refusal(client, mail, replies.FROM_MISSING)
                case "several-from":
                    return _refusal(client, mail, replies.FROM_SEVERAL)
                case "bad-from":
                    return _refusal(client, mail, replies.FROM_BAD, reason=problem.text)
        transaction.authors = examined.authors
        transaction.header = header
        added = [received]
        message_id = examined.message_id
        transaction.recognisable = bool(message_id)
        if not message_id:
            message_id = self._tokens.message_id(transaction.id, self._host_name)
            added.append(f"Message-ID: {message_id}\r\n".encode())
        transaction.message_id = message_id
        if not examined.dated:
            added.append(f"Date: {format_date(self._clock.now())}\r\n".encode())
        return b"".join((*added, fields.remove(header, PRIVATE_FIELDS)))

    async def verify(self, client: Client, transaction: Transaction) -> Reply | None:
        account = client.account
        if account is None:
            return None

        def decide(tx: Tx) -> Reply | bool:
            found = accounts.account_by_id(tx, account.id)
            if found is None or found.disabled:
                return replies.ACCOUNT_DISABLED
            for author in transaction.authors:
                if not accounts.may_write_as(tx, account, author):
                    return _refusal(
                        client,
                        transaction.mail,
                        replies.FROM_NOT_OWNED,
                        address=author,
                        account=account.address,
                    )
            return found.save_sent

        decided = await self._store.read(decide)
        if isinstance(decided, Reply):
            return decided
        utf8 = transaction.mail.smtputf8
        transaction.units.append(self._outbound.unit(account, utf8=utf8))
        if decided:
            transaction.sent = blind_copies(transaction.header, transaction.recipients)
        return None

    async def duplicates(
        self, client: Client, transaction: Transaction, digest: bytes
    ) -> Sequence[int | None]:
        account = client.account
        if account is None or not transaction.recognisable:
            return ()
        since = int(self._clock.now() * 1000) - REMEMBERED_MS

        def find(tx: Tx) -> Sequence[int | None]:
            had: dict[str, int] = {}
            for earlier in ledger.find_unconfirmed(
                tx,
                account.id,
                transaction.mail.reverse_path,
                transaction.message_id,
                digest,
                since,
            ):
                for recipient in ledger.recipients(tx, earlier.id):
                    had.setdefault(recipient.address, earlier.id)
            return [had.get(r.address) for r in transaction.recipients] if had else ()

        return await self._store.read(find)

    async def judge(
        self, client: Client, transaction: Transaction, body: Body
    ) -> Sequence[Reply | None]:
        """Policies of those who are here count for what comes from here too."""
        return [
            None if each is None else self._said(client, transaction, each)
            for each in await self._contents(transaction, body)
        ]

    def accepted(self, transaction: Transaction) -> None:
        """Nobody waits to hear of it."""

    def failed(self, transaction: Transaction, reply: Reply) -> None:
        """Nor of that."""

    def refused(self, transaction: Transaction, reply: Reply) -> Sequence[Reply]:
        return [reply] * len(transaction.recipients)

    @staticmethod
    def _said(client: Client, transaction: Transaction, found: Objection) -> Reply:
        """In the language of who sends."""
        language = client.account.language if client.account is not None else ""
        return found.said(language=language, utf8=transaction.mail.smtputf8)


def _refusal(client: Client, mail: Mail, entry: Reply | Template, **values: str) -> Reply:
    """In the language of who sends."""
    language = client.account.language if client.account is not None else ""
    return refusal(entry, language=language, utf8=mail.smtputf8, **values)


def _may_come_in(tx: Tx, account: Account) -> bool:
    """Still: a session may be older than what an administrator did."""
    found = accounts.account_by_id(tx, account.id)
    return found is not None and not found.disabled
