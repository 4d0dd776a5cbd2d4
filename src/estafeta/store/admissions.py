"""Admissions: whom the owner of an account lets in, once, although greylisting, a rate or what the
message holds would keep them out.

Promises: one is for one account, of which it opens no other; it is given for an attempt that is in
that account's journal, and only where cause and policy allow it; it lets one message in, however
many come at the same instant, and none after ADMISSION_MS. It holds for the domain of a sender whom
the server is proven to belong to; else for this sender from this network and no other.
"""

# ruff: noqa: S608  (names of our own columns are all that is put into SQL)

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import msgspec

from estafeta.store import knocks
from estafeta.store.engine import Row, Tx
from estafeta.store.limits import ADMISSION_MS, ADMISSIONS_ERASED, ADMISSIONS_MAX, KNOCK_AGE_MS

Kind = Literal["greylist", "rate", "type", "size"]

KINDS: dict[str, Kind] = {
    "greylisted": "greylist",
    "rate-limited": "rate",
    "policy-attachment": "type",
    "message-too-large": "size",
}
"""Causes of attempts that an owner may let in. What only an administrator may is not among them."""

WhyNot = Literal["unknown", "many", "shared", "cause", "policy", "size", "too-many"]

_COLUMNS = "id, knock, domain, network, sender, at, until, used"


class NotLetIn(Exception):
    """It cannot be let in. why: "unknown": no such row in this journal; "many": it stands for many;
    "shared": it was for an address behind which others stand too;
    "cause": what kept it out is not an owner's matter; "policy": it is not this owner's; "size": it
    is larger than anything that is taken here; "too-many": as many as there may be are open."""

    def __init__(self, why: WhyNot) -> None:
        super().__init__(why)
        self.why: WhyNot = why


class Admission(msgspec.Struct, frozen=True):
    """One row of `admission`. domain: of an aligned sender; "": network and sender count.

    used: the acceptance that came in by it. Times in milliseconds since 1970.
    """

    account: int
    id: int
    knock: int
    domain: str
    network: str
    sender: str
    at: int
    until: int
    used: int | None = None


def grant(
    tx: Tx,
    account: int,
    knock_id: int,
    now: int,
    *,
    id: int,
    allowed: Collection[str],
    size_max: int = 0,
) -> Admission:
    """For who is told of in that row; the one that is open already, where there is one.

    To be run with `accounts=(account,)`. id: of the new one. allowed: kinds that the policy of the
    account lets its owner decide (Effective.let_in). size_max: octets that anybody may send here at
    most, 0: not known. Raises NotLetIn.
    """
    row = knocks.knock(tx, account, knock_id)
    if row is None:
        raise NotLetIn("unknown")
    if row.of_many:
        raise NotLetIn("many")
    kind = KINDS.get(row.cause)
    if kind is None:
        raise NotLetIn("cause")
    if kind not in allowed:
        raise NotLetIn("policy")
    if size_max and row.detail.size > size_max:
        raise NotLetIn("size")
    open_ones = _open(tx, account, now)
    for each in open_ones:
        if each.knock == knock_id:
            return each
    if len(open_ones) >= ADMISSIONS_MAX:
        raise NotLetIn("too-many")
    aligned = row.detail.aligned and row.detail.organisation != ""
    made = Admission(
        account,
        id,
        knock_id,
        row.detail.organisation if aligned else "",
        row.detail.network,
        row.sender,
        now,
        now + ADMISSION_MS,
    )
    tx.run(
        f"INSERT INTO admission (account, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        msgspec.structs.astuple(made),
    )
    return made


def find(
    tx: Tx,
    account: int,
    *,
    organisation: str,
    network: str,
    sender: str,
    aligned: bool,
    now: int,
) -> Admission | None:
    """The one that lets this sender in, the oldest first; None: nobody said so.

    organisation, network, aligned: as `deliver.visitor` knows the client. sender: folded
    (`deliver.folding`). It is used up by `consume`, in the unit that takes the message.
    """
    for each in _open(tx, account, now):
        if each.domain:
            if aligned and organisation == each.domain:
                return each
        elif (network, sender) == (each.network, each.sender):
            return each
    return None


def consume(tx: Tx, account: int, id: int, acceptance: int, now: int) -> bool:
    """Used up by that acceptance; False: somebody else was faster, or it is over. Atomic."""
    used = tx.run(
        "UPDATE admission SET used = ? WHERE account = ? AND id = ? AND used IS NULL AND until > ?",
        (acceptance, account, id, now),
    )
    return used == 1


def revoke(tx: Tx, account: int, knock_id: int) -> bool:
    """Nobody comes in any more by what was given for that row; False: there was nothing open."""
    gone = tx.run(
        "DELETE FROM admission WHERE account = ? AND knock = ? AND used IS NULL",
        (account, knock_id),
    )
    return gone > 0


def admissions(tx: Tx, account: int) -> list[Admission]:
    """The last ones first, those that are used or over among them."""
    rows = tx.rows(
        f"SELECT {_COLUMNS} FROM admission WHERE account = ? ORDER BY id DESC",
        (account,),
    )
    return [_admission(account, row) for row in rows]


def erase_old(tx: Tx, now: int, limit: int = ADMISSIONS_ERASED) -> bool:
    """Some that ended as long ago as the journal goes back; True when there were no more."""
    old = tx.rows(
        "SELECT account, id FROM admission WHERE until < ? ORDER BY until LIMIT ?",
        (now - KNOCK_AGE_MS, limit),
    )
    tx.run_many("DELETE FROM admission WHERE account = ? AND id = ?", old)
    return len(old) < limit


def _open(tx: Tx, account: int, now: int) -> list[Admission]:
    rows = tx.rows(
        f"SELECT {_COLUMNS} FROM admission WHERE account = ? AND until > ?"
        " AND used IS NULL ORDER BY id",
        (account, now),
    )
    return [_admission(account, row) for row in rows]


def _admission(account: int, row: Row) -> Admission:
    return Admission(account, *row)
