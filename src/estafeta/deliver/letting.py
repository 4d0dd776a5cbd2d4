"""Letting in: what an owner's word does on port 25.

Promises: only the account's own admission counts, for the sender it was given for, and only for
what its policy leaves to its owner; one that was used by another message at the same instant lets
none in besides: the unit of acceptance fails, and the message is answered as if nobody had said so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from estafeta.deliver.folding import folded
from estafeta.deliver.policy.book import Book
from estafeta.deliver.visitor import Visitor
from estafeta.intake.prepared import RefusedInUnit
from estafeta.mail.outcome import Reply
from estafeta.store import accounts, admissions, knocks
from estafeta.store.admissions import KINDS, Admission, NotLetIn
from estafeta.store.engine import Tx
from estafeta.store.rows import Account


def grant(
    tx: Tx, book: Book, account: Account, knock_id: int, now: int, *, id: int, size_max: int = 0
) -> Admission:
    """What is told of in that row of the account's journal comes in next time. See
    `admissions.grant`. Raises NotLetIn."""
    row = knocks.knock(tx, account.id, knock_id)
    if row is None:
        raise NotLetIn("unknown")
    if len(accounts.targets(tx, row.named)) > 1:
        raise NotLetIn("shared")  # whoever else stands behind that address has a say too
    # What holds for the address that was asked for.
    domain = row.named.rpartition("@")[2] or account.domain
    allowed = book.of(tx, domain, account).let_in
    return admissions.grant(
        tx, account.id, knock_id, now, id=id, allowed=allowed, size_max=size_max
    )


def admitted(
    tx: Tx, account: int, visitor: Visitor, reverse_path: str, now: int
) -> Admission | None:
    """By which a message of this sender may come in to the account. reverse_path: as written."""
    return admissions.find(
        tx,
        account,
        organisation=visitor.organisation,
        network=visitor.network,
        sender=folded(reverse_path),
        aligned=visitor.aligned(reverse_path.rpartition("@")[2]),
        now=now,
    )


def lets_in(admission: Admission | None, cause: str, allowed: Collection[str]) -> bool:
    """Whether a refusal for `cause` does not count. allowed: Effective.let_in."""
    return admission is not None and KINDS.get(cause) in allowed


def used(admission: Admission, acceptance: int, now: int, refusal: Reply) -> Callable[[Tx], None]:
    """For Incoming.units, of each admission that was needed. refusal: what would have been answered
    without it, and is where it is used up."""

    def unit(tx: Tx) -> None:
        if not admissions.consume(tx, admission.account, admission.id, acceptance, now):
            raise RefusedInUnit(refusal)

    return unit
