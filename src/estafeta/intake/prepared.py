"""Prepared: an acceptance whose rows are ready, to be applied in one unit.

`apply` is SQL only and may run twice. An alias becomes a child acceptance of its own, so that every
recipient row has exactly one fate; a mailbox that one message reaches twice gets one copy, and the
second way there is a `duplicate`. What fails to be placed becomes a queue row, never a refusal of
the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec
import structlog

from estafeta.intake.target import Target, ToAccount, ToAlias, ToRemote, accounts_of, is_full
from estafeta.mail.address import split
from estafeta.mail.envelope import Envelope, Recipient
from estafeta.mail.outcome import Outcome, Reply
from estafeta.mail.protocols import Content, Meter
from estafeta.queue import rows
from estafeta.queue.contract import Prepared
from estafeta.store import bodies, ledger, sent, tracker
from estafeta.store.bodies import Body
from estafeta.store.engine import Tx
from estafeta.store.ids import Ids, queue_id
from estafeta.store.messages import Text
from estafeta.store.rows import Acceptance, Dropped, Duplicate, Expanded, Fate, Stored

RECIPIENTS_PER_JOB_MAX = 100

log = structlog.get_logger("accept")


class Parcel(msgspec.Struct, frozen=True):
    """One copy for one mailbox. prefix: header fields of this copy; received: ms since 1970."""

    account: int
    body: Body
    text: Text
    prefix: bytes
    received: int


Place = Callable[[Tx, Parcel], "Stored | Outcome"]
"""`deliver.place`: puts the copy into the account's mailbox, or says why it cannot."""


class RefusedInUnit(Exception):
    """Raised by one of Incoming.units: nothing is committed, and `reply` is the answer."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class Incoming(msgspec.Struct, frozen=True):
    """A message to be accepted.

    targets, duplicates: parallel to envelope.recipients. A target None is nobody: the recipient is
    dropped as a double bounce. duplicates: the acceptance that already has this recipient, or None;
    empty where nothing was looked up. sent: with which fields the copy that we file for `account`
    begins; None: we file none. units: SQL of others that stands or falls with the acceptance, done
    when its rows are there; each may raise RefusedInUnit.
    """

    id: int
    origin: str
    envelope: Envelope
    targets: tuple[Target | None, ...]
    body: Body
    message_id: str = ""
    parent: int | None = None
    account: int | None = None
    peer: str = ""
    tls: str = ""
    digest: bytes | None = None
    duplicates: tuple[int | None, ...] = ()
    sent: bytes | None = None
    units: tuple[Callable[[Tx], None], ...] = ()


class Jobs(Protocol):
    """The part of the queue's runner that takes work on without a transaction of its own."""

    def claim(self, destination: str) -> int | None:
        """A lease token if a job for `destination` may begin now."""
        ...

    def release(self, destination: str) -> None:
        """Gives back what `claim` gave, unused."""
        ...

    def doubt(self, token: int) -> None:
        """A lease by that token may be in the store, and nobody works on it."""
        ...

    def lease_end(self) -> int:
        """When a lease taken now ends, in milliseconds since 1970."""
        ...

    def start(
        self,
        leased: rows.Leased,
        acceptance: Acceptance,
        recipients: Sequence[Recipient],
        content: Content,
    ) -> None: ...

    def keep(
        self, acceptance: Acceptance, recipients: Sequence[Recipient], content: Content
    ) -> None:
        """Rows of it found no place: they are leased as soon as there is one."""
        ...


class Entry(msgspec.Struct):
    """One acceptance of the tree that an incoming message becomes.

    Parallel to recipients: targets; children, 0 for none; had, the acceptance that has this
    recipient already, or None.
    """

    row: Acceptance
    recipients: tuple[Recipient, ...]
    targets: tuple[Target | None, ...]
    children: tuple[int, ...]
    had: tuple[int | None, ...]


class Claim(msgspec.Struct):
    """Queue rows that this worker takes on at once. token None: they wait for the next lease.

    ours: whoever leases them must look whose the destination is.
    """

    destination: str
    token: int | None
    numbers: list[int]
    ours: bool


class PreparedAcceptance:
    """See queue.contract.Prepared."""

    def __init__(
        self,
        incoming: Incoming,
        *,
        text: Text | None,
        at: int,
        ids: Ids,
        place: Place,
        jobs: Jobs | None,
        meter: Meter,
        sent_copy: sent.Copy | None = None,
    ) -> None:
        self._incoming = incoming
        self._text = text
        self._sent = sent_copy
        self._not_filed = ""
        self._at = at
        self._ids = ids
        self._place = place
        self._jobs = jobs
        self._meter = meter
        self._entries: list[Entry] = []
        self._sent_to: dict[tuple[str, frozenset[str]], int] = {}
        self._expanded: set[tuple[tuple[str, ...], frozenset[str]]] = set()
        self._also: list[Prepared] = []
        self._plan(
            incoming.id, incoming.origin, incoming.envelope, incoming.targets, incoming.parent
        )
        self._claims = [self._claim(entry) for entry in self._entries]

    @property
    def id(self) -> int:
        return self._incoming.id

    @property
    def row(self) -> Acceptance:
        """The acceptance itself, without its children."""
        return self._entries[0].row

    @property
    def content(self) -> Body:
        return self._incoming.body

    @property
    def local(self) -> list[Recipient]:
        """Those with a mailbox of ours, aliases followed; not those that had the message before,
        nor whose mailbox was full when it was looked up."""
        return [
            recipient
            for entry in self._entries
            for recipient, target, first in zip(
                entry.recipients, entry.targets, entry.had, strict=True
            )
            if isinstance(target, ToAccount) and first is None and not is_full(target, 0)
        ]

    @property
    def wants_success(self) -> bool:
        """Somebody asked to be told of arrival, and can be told."""
        envelope = self._incoming.envelope
        return envelope.reverse_path != "" and any(
            recipient.notify and "SUCCESS" in recipient.notify for recipient in envelope.recipients
        )

    @property
    def accounts(self) -> Sequence[int]:
        found = accounts_of(self._incoming.targets)
        if self._incoming.account is not None:
            found.add(self._incoming.account)  # whose copy tells what becomes of it
        for other in self._also:
            found.update(other.accounts)
        return sorted(found)

    def also(self, other: Prepared) -> None:
        """Applies `other` in the same unit."""
        self._also.append(other)

    # -- before the unit -----------------------------------------------------------------------

    def _plan(
        self,
        id: int,
        origin: str,
        envelope: Envelope,
        targets: tuple[Target | None, ...],
        parent: int | None,
    ) -> None:
        incoming = self._incoming
        row = Acceptance(
            id=id,
            at=self._at,
            origin=origin,
            reverse_path=envelope.reverse_path,
            body=incoming.body.id,
            size=incoming.body.size,
            recipients=len(envelope.recipients),
            parent=parent,
            account=incoming.account,
            message_id=incoming.message_id,
            smtputf8=envelope.smtputf8,
            eight_bit=envelope.eight_bit,
            ret=envelope.ret,
            envid=envelope.envid,
            peer=incoming.peer,
            tls=incoming.tls,
            digest=incoming.digest if parent is None else None,
            unconfirmed=incoming.digest is not None and parent is None,
        )
        had = self._had(id, envelope.recipients, targets)
        # An alias that had the message before stands for nobody now.
        children = tuple(
            self._child(recipient, target) if first is None else 0
            for recipient, target, first in zip(envelope.recipients, targets, had, strict=True)
        )
        self._entries.append(Entry(row, envelope.recipients, targets, children, had))
        for recipient, target, child in zip(envelope.recipients, targets, children, strict=True):
            if isinstance(target, ToAlias) and child:
                named = recipient.orcpt or f"rfc822;{recipient.address}"
                expanded = Envelope(
                    envelope.reverse_path,
                    tuple(Recipient(a, recipient.notify, named) for a in target.addresses),
                    smtputf8=envelope.smtputf8,
                    eight_bit=envelope.eight_bit,
                    ret=envelope.ret,
                    envid=envelope.envid,
                )
                self._plan(child, "alias", expanded, target.targets, id)

    def _child(self, recipient: Recipient, target: Target | None) -> int:
        """The id of the acceptance that an alias becomes; 0 for what is none, or was named before.

        A list that is named a thousand times would multiply the message by a thousand.
        """
        if not isinstance(target, ToAlias):
            return 0
        key = (target.addresses, recipient.notify)
        if key in self._expanded:
            return 0
        self._expanded.add(key)
        return self._ids.next()

    def _claim(self, entry: Entry) -> list[Claim]:
        """Groups the remote recipients by destination and takes on what there is room for."""
        open_claims: dict[str, Claim] = {}
        claims: list[Claim] = []
        for n, target in enumerate(entry.targets):
            if not isinstance(target, ToRemote) or entry.had[n] is not None:
                continue
            claim = open_claims.get(target.destination)
            if claim is None or len(claim.numbers) == RECIPIENTS_PER_JOB_MAX:
                token = None
                if self._jobs is not None and not target.ours:
                    token = self._jobs.claim(target.destination)
                claim = Claim(target.destination, token, [], target.ours)
                open_claims[target.destination] = claim
                claims.append(claim)
            claim.numbers.append(n)
        return claims

    def _had(
        self, id: int, recipients: Sequence[Recipient], targets: Sequence[Target | None]
    ) -> tuple[int | None, ...]:
        """By recipient: the acceptance that has it already. Besides what was remembered, that is
        this message itself where it names an address elsewhere again, be it behind an alias."""
        remembered = self._incoming.duplicates if id == self._incoming.id else ()
        had: list[int | None] = list(remembered) or [None] * len(recipients)
        for n, (recipient, target) in enumerate(zip(recipients, targets, strict=True)):
            if had[n] is None and isinstance(target, ToRemote):
                key = (recipient.address, recipient.notify)
                had[n] = self._sent_to.get(key)
                self._sent_to.setdefault(key, id)
        return tuple(had)

    # -- in the unit ---------------------------------------------------------------------------

    def apply(self, tx: Tx) -> None:
        bodies.put(tx, self._incoming.body)
        reached: set[int] = set()
        for entry, claims in zip(self._entries, self._claims, strict=True):
            waiting = self._waiting(entry, claims)
            fates: list[Fate | None] = []
            for n, (target, child) in enumerate(zip(entry.targets, entry.children, strict=True)):
                first = entry.had[n]
                if first is not None:
                    fates.append(Duplicate(first))
                elif target is None:
                    fates.append(Dropped("double-bounce"))
                elif isinstance(target, ToAlias):
                    fates.append(Expanded(child) if child else Duplicate(self._incoming.id))
                elif isinstance(target, ToRemote):
                    fates.append(None)
                elif target.account.id in reached:
                    fates.append(Duplicate(self._incoming.id))
                else:
                    fate = self._place_copy(tx, entry, target)
                    fates.append(fate)
                    if fate is None:
                        domain = split(entry.recipients[n].address)[1]
                        waiting.append(rows.Waiting(entry.row.id, n, domain, self._at))
                    else:
                        reached.add(target.account.id)
            ledger.open_acceptance(tx, entry.row, entry.recipients, fates)
            rows.enqueue(tx, waiting)
        for unit in self._incoming.units:
            unit(tx)
        if self._sent is not None:
            self._not_filed = sent.file(tx, self.row, self._sent)
        if self.row.parent is None:
            tracker.follow(tx, self.row)  # who opens a child ends something, and follows then
        for other in self._also:
            other.apply(tx)

    def _waiting(self, entry: Entry, claims: list[Claim]) -> list[rows.Waiting]:
        end = self._jobs.lease_end() if self._jobs else 0
        return [
            rows.Waiting(
                entry.row.id, n, claim.destination, end if claim.token else self._at, claim.token
            )
            for claim in claims
            for n in claim.numbers
        ]

    def _place_copy(self, tx: Tx, entry: Entry, target: ToAccount) -> Stored | None:
        assert self._text is not None
        prefix = (
            f"Return-Path: <{entry.row.reverse_path}>\r\nDelivered-To: {target.delivered_to}\r\n"
        )
        parcel = Parcel(
            target.account.id, self._incoming.body, self._text, prefix.encode(), self._at
        )
        result = self._place(tx, parcel)
        return result if isinstance(result, Stored) else None

    # -- after the unit ------------------------------------------------------------------------

    def committed(self) -> None:
        if self._not_filed:
            log.warning("no copy in Sent", queue_id=queue_id(self.id), why=self._not_filed)
        for entry, claims in zip(self._entries, self._claims, strict=True):
            self._meter.count("estafeta_messages_accepted_total", origin=entry.row.origin)
            for claim in claims:
                if self._jobs is None:
                    continue
                if claim.token is None:
                    if not claim.ours:
                        self._jobs.keep(entry.row, entry.recipients, self._incoming.body)
                    continue
                leased = rows.Leased(
                    claim.token,
                    entry.row.id,
                    claim.destination,
                    tuple(claim.numbers),
                    (0,) * len(claim.numbers),
                )
                recipients = [entry.recipients[n] for n in claim.numbers]
                self._jobs.start(leased, entry.row, recipients, self._incoming.body)
        for other in self._also:
            other.committed()

    def abandoned(self) -> None:
        for jobs, destination, _ in self._taken():
            jobs.release(destination)
        for other in self._also:
            other.abandoned()

    def doubted(self) -> None:
        """Instead of `abandoned`, when it is not known whether the unit happened."""
        for jobs, destination, token in self._taken():
            jobs.release(destination)
            jobs.doubt(token)
        for other in self._also:
            other.doubted()

    def _taken(self) -> Iterator[tuple[Jobs, str, int]]:
        """(queue, destination, token) of what this worker has taken on."""
        for claims in self._claims:
            for claim in claims:
                if claim.token is not None and self._jobs is not None:
                    yield self._jobs, claim.destination, claim.token
