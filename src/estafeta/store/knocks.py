"""Knocks: who tried to reach an account and did not get in, or not yet.

Attempts by the same server's organisation (or network) and sender for the same cause are one row,
which says how often, and whether it came in after all. Promises: an account has KNOCKS_MAX rows at
most, of one organisation KNOCKS_OF_ONE_MAX at most; attempts that find no row of their own are
counted in one of many ("*"), so that no flood makes them disappear; of too many rows those go that
tell least. Rows are one account's: nothing that concerns another is looked at.
"""

# ruff: noqa: S608  (names of our own columns are all that is put into SQL)

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from estafeta.store import counters
from estafeta.store.engine import Row, Tx
from estafeta.store.limits import KNOCK_AGE_MS, KNOCKS_ERASED, KNOCKS_MAX, KNOCKS_OF_ONE_MAX

MANY = "*"
"""Instead of a sender, and of who sent: more than are told one by one."""

PROVEN, NAMED, UNKNOWN = 2, 1, 0
"""What is known of who sends: the sender's own server, a server with a confirmed name, neither."""

_LOCK = "knocks"
"""Held by whoever writes rows: a row of many is counted on, whoever makes it."""

_COLUMNS = (
    "account, id, who, sender, cause, named, proof, first, began, last, times, arrived, detail"
)
_ALONE = (
    # Not EXISTS: PostgreSQL would walk the admissions of everybody for it.
    "id NOT IN (SELECT knock FROM admission WHERE account = ? AND used IS NULL)"
)
_LEAST_TELLING = (
    "SELECT id, cause, first, last, times FROM knock WHERE account = ? AND who <> '*'"
    f" ORDER BY CASE WHEN {_ALONE} THEN 0 ELSE 1 END, proof,"
    " CASE WHEN times > 1 THEN 1 ELSE 0 END, last, id LIMIT ?"
)
"""First what was tried once by a server without a name; what its owner lets in comes last."""


class Detail(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of the last attempt.

    sender: the reverse-path as it was written. aligned: its domain is the server's own. reply: what
    was answered. hello: how the client named itself. size: octets, 0 where it was not said.
    subject: of a message that was there. finding: what it was refused for, such as a file's name.
    """

    network: str = ""
    organisation: str = ""
    sender: str = ""
    reply: str = ""
    hello: str = ""
    aligned: bool = False
    size: int = 0
    subject: str = ""
    finding: str = ""


class Knock(msgspec.Struct, frozen=True):
    """One row of `knock`. Times in milliseconds since 1970; arrived 0: it has not come in.

    who, sender: by which it is merged. began: the first of the attempts since it last came in.
    """

    account: int
    id: int
    who: str
    sender: str
    cause: str
    named: str
    proof: int
    first: int
    began: int
    last: int
    times: int
    arrived: int
    detail: Detail

    @property
    def of_many(self) -> bool:
        return self.sender == MANY


class Noted(msgspec.Struct):
    """Attempts that are to be written: `times` of them, by one, for one cause."""

    account: int
    id: int
    who: str
    sender: str
    cause: str
    named: str
    proof: int
    first: int
    last: int
    times: int
    detail: Detail


class Arrival(msgspec.Struct, frozen=True):
    """Somebody whom a temporary reply had held up came in."""

    account: int
    who: str
    sender: str
    at: int


HELD_UP = (
    *("greylisted", "rate-limited", "mailbox-full"),
    *("server-busy", "server-full", "server-trouble", "not-now"),
)
"""Causes after which the same message comes again; an `Arrival` ends their rows."""


def write(tx: Tx, noted: Sequence[Noted], arrivals: Sequence[Arrival] = ()) -> None:
    """Merges them with what is there. Those of an account that is gone are forgotten."""
    counters.hold(tx, _LOCK)
    there = _accounts(tx, {each.account for each in noted})
    grown = set()
    for each in noted:
        if each.account in there and not _merged(tx, each):
            _insert(tx, each)
            grown.add(each.account)
    for account in sorted(grown):
        _bound(tx, account)
    marks = ", ".join(f"'{cause}'" for cause in HELD_UP)
    for arrival in arrivals:
        tx.send(
            "UPDATE knock SET arrived = ? WHERE account = ? AND who = ? AND sender = ?"
            f" AND arrived = 0 AND last <= ? AND cause IN ({marks})",
            (arrival.at, arrival.account, arrival.who, arrival.sender, arrival.at),
        )


def knocks(
    tx: Tx, account: int, *, limit: int = KNOCKS_MAX, before: tuple[int, int] | None = None
) -> list[Knock]:
    """The last ones first. before: (last, id) of the row behind which to go on."""
    where, values = "", [account]
    if before is not None:
        where, values = " AND (last, id) < (?, ?)", [account, *before]
    rows = tx.rows(
        f"SELECT {_COLUMNS} FROM knock WHERE account = ?{where}"
        " ORDER BY last DESC, id DESC LIMIT ?",
        (*values, limit),
    )
    return [_knock(row) for row in rows]


def knock(tx: Tx, account: int, id: int) -> Knock | None:
    """None where it is not there, or another account's."""
    sql = f"SELECT {_COLUMNS} FROM knock WHERE account = ? AND id = ?"
    row = tx.row(sql, (account, id))
    return None if row is None else _knock(row)


def remove_of(tx: Tx, account: int) -> None:
    """With the account, whose row is gone: who writes at the same time sees that, or we what he
    wrote."""
    counters.hold(tx, _LOCK)
    tx.run("DELETE FROM knock WHERE account = ?", (account,))
    tx.run("DELETE FROM admission WHERE account = ?", (account,))


def erase_old(tx: Tx, now: int, limit: int = KNOCKS_ERASED) -> bool:
    """Up to `limit` rows that are too old; True when there were no more."""
    counters.hold(tx, _LOCK)
    old = tx.rows(
        "SELECT account, id FROM knock WHERE last < ? ORDER BY last LIMIT ?",
        (now - KNOCK_AGE_MS, limit),
    )
    tx.run_many("DELETE FROM knock WHERE account = ? AND id = ?", old)
    return len(old) < limit


def _accounts(tx: Tx, wanted: set[int]) -> set[int]:
    if not wanted:
        return set()
    marks = ", ".join("?" * len(wanted))
    rows = tx.rows(
        f"SELECT id FROM account WHERE id IN ({marks})",
        sorted(wanted),
    )
    return {int(id) for (id,) in rows}


def _merged(tx: Tx, noted: Noted) -> bool:
    """Whether there was a row of the same."""
    return bool(
        tx.run(
            "UPDATE knock SET times = times + ?, last = CASE WHEN last < ? THEN ? ELSE last END,"
            " began = CASE WHEN arrived = 0 THEN began ELSE ? END, arrived = 0, named = ?,"
            " proof = ?, detail = ? WHERE account = ? AND who = ? AND sender = ? AND cause = ?",
            (
                noted.times,
                noted.last,
                noted.last,
                noted.first,
                noted.named,
                noted.proof,
                msgspec.json.encode(noted.detail).decode(),
                noted.account,
                noted.who,
                noted.sender,
                noted.cause,
            ),
        )
    )


def _insert(tx: Tx, noted: Noted) -> None:
    """A row of its own, or, where who sent has enough of them, one for all further senders."""
    if noted.sender != MANY:
        rows = tx.value(
            "SELECT count(*) FROM knock WHERE account = ? AND who = ?", (noted.account, noted.who)
        )
        if rows >= KNOCKS_OF_ONE_MAX:
            noted = many_senders(noted)
            if _merged(tx, noted):
                return
    tx.send(
        "INSERT INTO knock (account, id, who, sender, cause, named, proof, first, began, last,"
        " times, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            noted.account,
            noted.id,
            noted.who,
            noted.sender,
            noted.cause,
            noted.named,
            noted.proof,
            noted.first,
            noted.first,
            noted.last,
            noted.times,
            msgspec.json.encode(noted.detail).decode(),
        ),
    )


def many_senders(noted: Noted) -> Noted:
    """The same, told of all further senders of who sent."""
    was = noted.detail
    detail = Detail(network=was.network, organisation=was.organisation, reply=was.reply)
    return msgspec.structs.replace(noted, sender=MANY, proof=min(noted.proof, NAMED), detail=detail)


def many_places(noted: Noted) -> Noted:
    """The same, told of everybody who is not told one by one."""
    return msgspec.structs.replace(
        noted, who=MANY, sender=MANY, named="", proof=UNKNOWN, detail=Detail()
    )


def _bound(tx: Tx, account: int) -> None:
    """Takes away what is too much, and counts its attempts among those of many."""
    while (rows := _rows(tx, account)) > KNOCKS_MAX:
        # One more, as the row of many may have to be made.
        gone = tx.rows(_LEAST_TELLING, (account, account, rows - KNOCKS_MAX + 1))
        tx.run_many(
            "DELETE FROM knock WHERE account = ? AND id = ?", [(account, id) for id, *_ in gone]
        )
        for id, cause, first, last, times in gone:
            rest = Noted(account, id, MANY, MANY, cause, "", UNKNOWN, first, last, times, Detail())
            if not _merged(tx, rest):
                _insert(tx, rest)


def _rows(tx: Tx, account: int) -> int:
    return int(tx.value("SELECT count(*) FROM knock WHERE account = ?", (account,)))


def _knock(row: Row) -> Knock:
    *values, detail = row
    return Knock(*[*values, msgspec.json.decode(detail, type=Detail)])
