"""Correspondents: whom somebody has written to before, and reached.

For naming the address that was probably meant. Only what the account itself sent counts: who writes
to somebody must not be able to have themselves named to them later. Nor do the targets of an alias
count, which whoever writes to the alias does not know.
"""

from __future__ import annotations

from estafeta.store import trail
from estafeta.store.engine import Tx
from estafeta.store.limits import (
    CORRESPONDENCE_MAX,
    CORRESPONDENTS_MAX,
    OWN_DOMAINS_NAMED_MAX,
    WRITTEN_RECENT,
    WRITTEN_RECIPIENTS_MAX,
    WRITTEN_TO_MAX,
)

_SLICE = 100

_RECENT = (
    "SELECT 1 FROM (SELECT id, origin, recipients FROM acceptance WHERE account = ?"
    " ORDER BY id DESC LIMIT ?) AS a JOIN recipient r ON r.acceptance = a.id"
    " WHERE a.origin <> 'alias' AND a.recipients <= ? AND lower(r.address) = ? LIMIT 1"
)
_OLDER = (
    "SELECT 1 FROM (SELECT acceptance FROM trail WHERE key = ?"
    " ORDER BY acceptance DESC LIMIT ?) AS t JOIN acceptance a ON a.id = t.acceptance"
    " JOIN recipient r ON r.acceptance = a.id"
    " WHERE a.account = ? AND a.origin <> 'alias' AND a.recipients <= ?"
    " AND lower(r.address) = ? LIMIT 1"
)


def correspondents(tx: Tx, account: int, address: str) -> list[str]:
    """Addresses that `account`, writing as `address`, reached in its newest messages, the last one
    first. As the ledger has them: canonical."""
    found: dict[str, None] = {}
    ids = trail.newest(tx, address, CORRESPONDENCE_MAX)
    for start in range(0, len(ids), _SLICE):
        some = ids[start : start + _SLICE]
        marks = ", ".join("?" * len(some))
        rows = tx.rows(
            "SELECT r.address FROM acceptance a JOIN recipient r ON r.acceptance = a.id"  # noqa: S608
            f" WHERE a.id IN ({marks}) AND a.account = ? AND a.origin <> 'alias'"
            " AND r.fate IN ('relayed', 'stored', 'expanded') ORDER BY a.id DESC, r.n",
            (*some, account),
        )
        found.update(dict.fromkeys(address for (address,) in rows))
        if len(found) >= CORRESPONDENTS_MAX:
            break
    return list(found)[:CORRESPONDENTS_MAX]


def has_written(tx: Tx, account: int, address: str) -> bool:
    """`account` itself wrote to `address` lately, whether or not it got there yet. Among its newest
    messages, and among the newest that `address` has to do with, but for those to very many; costs
    the same in a full store."""
    key = trail.lowered(address)
    recent = tx.value(_RECENT, (account, WRITTEN_RECENT, WRITTEN_RECIPIENTS_MAX, key))
    if recent is not None:
        return True
    older = tx.value(_OLDER, (key, WRITTEN_TO_MAX, account, WRITTEN_RECIPIENTS_MAX, key))
    return older is not None


def own_domains(tx: Tx) -> list[str]:
    """Names of our domains; not all of very many."""
    rows = tx.rows("SELECT name FROM domain ORDER BY name LIMIT ?", (OWN_DOMAINS_NAMED_MAX,))
    return [name for (name,) in rows]
