"""Outcomes: what became of what an account wrote to somebody lately, for the account itself.

Promises: only its own messages are looked at, so that neither the answer nor the time it takes
tells of anybody else's; nor is anything told of what stands behind an alias. Costs the same
whatever the store holds.
"""

# ruff: noqa: S608  (marks are all that is put into SQL)

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import msgspec

from estafeta.store.engine import Tx
from estafeta.store.limits import LATELY_MESSAGES_MAX, LATELY_RECIPIENTS_MAX
from estafeta.store.trail import lowered

State = Literal["delivered", "waiting", "returned", "cancelled"]

_STATES: dict[str | None, State] = {
    None: "waiting",
    "returned": "returned",
    "cancelled": "cancelled",
}
_SLICE = 100
_ATTEMPTS = 20


class Last(msgspec.Struct, frozen=True):
    """at: when it ended, or was accepted where it has not; ms since 1970. cause: why it waits or
    came back, "" where that is not known."""

    state: State
    at: int
    cause: str = ""


class Lately(msgspec.Struct, frozen=True):
    """last: of those asked for, by address in lower case. reached: everybody who was, the last one
    first, as the ledger has them."""

    last: dict[str, Last]
    reached: list[str]


def lately(tx: Tx, account: int, addresses: Collection[str]) -> Lately:
    """Among the account's newest messages."""
    wanted = {lowered(address) for address in addresses}
    last: dict[str, tuple[int, int, str | None, int]] = {}
    reached: dict[str, None] = {}
    ids = _newest(tx, account)
    for start in range(0, len(ids), _SLICE):
        some = ids[start : start + _SLICE]
        rows = tx.rows(
            "SELECT r.address, a.id, r.n, r.fate, r.ended, a.at FROM acceptance a"
            " JOIN recipient r ON r.acceptance = a.id"
            f" WHERE a.id IN ({', '.join('?' * len(some))}) ORDER BY a.id DESC, r.n",
            some,
        )
        for address, id, n, fate, ended, at in rows:
            key = lowered(address)
            if key in wanted:
                last.setdefault(key, (id, n, fate, ended or at))
            if fate in ("relayed", "stored", "expanded"):
                reached[address] = None
    told = {
        key: Last(_STATES.get(fate, "delivered"), at, _cause(tx, id, n, fate))
        for key, (id, n, fate, at) in last.items()
    }
    return Lately(told, list(reached))


def _newest(tx: Tx, account: int) -> list[int]:
    """What it sent itself: not what stands behind an alias, however far."""
    rows = tx.rows(
        "SELECT a.id, a.recipients FROM acceptance a WHERE a.account = ? AND NOT EXISTS ("
        "WITH RECURSIVE above (parent, origin) AS ("
        "SELECT p.parent, p.origin FROM acceptance p WHERE p.id = a.id"
        " UNION ALL SELECT p.parent, p.origin FROM acceptance p JOIN above ON p.id = above.parent)"
        " SELECT 1 FROM above WHERE above.origin = 'alias') ORDER BY a.id DESC LIMIT ?",
        (account, LATELY_MESSAGES_MAX),
    )
    left, found = LATELY_RECIPIENTS_MAX, []
    for id, recipients in rows:
        left -= recipients
        if left < 0:
            break
        found.append(id)
    return found


def _cause(tx: Tx, id: int, n: int, fate: str | None) -> str:
    """Of its last attempt that is told of; "" where it did not fail."""
    if _STATES.get(fate) not in ("waiting", "returned"):
        return ""
    rows = tx.rows(
        "SELECT detail FROM event WHERE acceptance = ? AND kind IN ('attempt', 'late-outcome')"
        " ORDER BY at DESC, id DESC LIMIT ?",
        (id, _ATTEMPTS),
    )
    for (text,) in rows:
        detail: dict[str, Any] = msgspec.json.decode(text)
        numbers, outcomes = detail.get("recipients", []), detail.get("outcomes", [])
        if n in numbers and numbers.index(n) < len(outcomes):
            return str(outcomes[numbers.index(n)].get("cause", ""))
    return ""
