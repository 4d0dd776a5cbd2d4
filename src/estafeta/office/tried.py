"""Tried: a row of an account's journal and what its owner said of it, as programs get them: by the
API, and by `estafeta tried --json`."""

from __future__ import annotations

import msgspec

from estafeta.deliver.tried import sentences
from estafeta.store import admissions
from estafeta.store.admissions import Admission
from estafeta.store.engine import Tx
from estafeta.store.ids import queue_id
from estafeta.store.knocks import Knock
from estafeta.store.rows import Account


class LetIn(msgspec.Struct, frozen=True):
    """One message comes in: of the servers of `domain`, for addresses of it; where that is "", of
    this sender from this network. used_by: the queue id of the message that did, or null. Times in
    ms since 1970."""

    domain: str
    network: str
    sender: str
    at: int
    until: int
    used_by: str | None


class Tried(msgspec.Struct, frozen=True):
    """A row of an account's journal. words: all of it for a person. proven: the sender's domain is
    that of the server; else who it says it is. arrived: when it came in after all, or null.
    subject: of a message that was there. Times in ms since 1970."""

    row: str
    words: list[str]
    who: str
    sender: str
    proven: bool
    named: str
    cause: str
    reply: str
    first: int
    last: int
    times: int
    arrived: int | None
    network: str
    organisation: str
    hello: str
    size: int
    subject: str
    finding: str
    admission: LetIn | None


def given_by(tx: Tx, owner: Account) -> dict[int, Admission]:
    """The last one of each row."""
    return {each.knock: each for each in reversed(admissions.admissions(tx, owner.id))}


def tried_row(knock: Knock, owner: Account, admission: Admission | None, language: str) -> Tried:
    detail = knock.detail
    return Tried(
        row=queue_id(knock.id),
        words=sentences(knock, language, address=owner.address, admission=admission),
        who=knock.who,
        sender=detail.sender,
        proven=detail.aligned,
        named=knock.named,
        cause=knock.cause,
        reply=detail.reply,
        first=knock.first,
        last=knock.last,
        times=knock.times,
        arrived=knock.arrived or None,
        network=detail.network,
        organisation=detail.organisation,
        hello=detail.hello,
        size=detail.size,
        subject=detail.subject,
        finding=detail.finding,
        admission=None if admission is None else let_in_row(admission),
    )


def let_in_row(admission: Admission) -> LetIn:
    return LetIn(
        domain=admission.domain,
        network=admission.network,
        sender=admission.sender,
        at=admission.at,
        until=admission.until,
        used_by=None if admission.used is None else queue_id(admission.used),
    )
