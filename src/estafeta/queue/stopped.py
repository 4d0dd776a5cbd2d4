"""Stopped: what an account that was stopped has in the queue is held, and released with it.

Slices are looked for outside and done in units, each of which looks again whether the account is
still stopped: who releases and who holds at the same time do not undo each other. What somebody
holds for another reason stays theirs; what waits for a fault of ours to be repaired would go with
the repair, so it is held here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from estafeta.queue import hand, wish
from estafeta.queue.hand import Hold, Release
from estafeta.queue.limits import STOPPED_MESSAGES, TOUCHED_ROWS
from estafeta.queue.wish import Wish
from estafeta.store import buckets, stopped
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import Ids
from estafeta.store.rows import FAULT_HELD
from estafeta.world.seams import Clock

Key = tuple[int, int]
Place = tuple[str, int]

BEGIN: Place = ("", 0)

WHO = "outbound limit"
"""Who held it, as the journey tells."""

_WISH = msgspec.json.encode(Wish("hold", stopped.HELD)).decode()
_FREE = f"q.wish = '' AND (q.held = '' OR substr(q.held, 1, {len(FAULT_HELD)}) = ?)"


def bucket_of(account: int) -> str:
    """In which its recipients are counted."""
    return f"sends {account}"


class Found(msgspec.Struct, frozen=True):
    """Rows of the queue. next: where to go on; None: there are no more."""

    keys: list[Key]
    next: Place | None


def waiting(tx: Tx, account: int, after: Place = BEGIN) -> Found:
    """Rows to be held, of the next messages that the account has sent. Reads alone."""
    some = tx.rows(
        "SELECT message_id, id FROM acceptance WHERE account = ? AND (message_id, id) > (?, ?)"
        " ORDER BY message_id, id LIMIT ?",
        (account, *after, STOPPED_MESSAGES),
    )
    if not some:
        return Found([], None)
    marks = ", ".join("?" * len(some))
    keys = tx.rows(
        f"SELECT q.acceptance, q.n FROM queue q WHERE q.acceptance IN ({marks}) AND {_FREE}"  # noqa: S608
        " ORDER BY q.acceptance, q.n LIMIT ?",
        (*(id for _, id in some), FAULT_HELD, TOUCHED_ROWS),
    )
    # Of messages to very many the rest comes when these are held.
    again = after if len(keys) == TOUCHED_ROWS else None
    last = (some[-1][0], some[-1][1])
    return Found([(a, n) for a, n in keys], again or (last if _more(some) else None))


def hold(tx: Tx, account: int, keys: Sequence[Key], *, now: int, event: int) -> int | None:
    """Waiting -> held. Returns how many, which are being sent and held afterwards included; None:
    the account may send again."""
    if stopped.find(tx, account) is None:
        return None
    still = [
        key
        for key in sorted(keys)
        if tx.row(
            f"SELECT 1 FROM queue q WHERE q.acceptance = ? AND q.n = ? AND {_FREE}"  # noqa: S608
            " /*postgresql: FOR UPDATE */",
            (*key, FAULT_HELD),
        )
    ]
    return len(hand.touch(tx, Hold(stopped.HELD), still, who=WHO, now=now, event=event))


def held(tx: Tx, account: int, limit: int = TOUCHED_ROWS) -> list[Key]:
    """Rows that are held for this, or are to be after the attempt under way."""
    found = []
    for condition, text in (
        ("q.held = ? AND q.held <> ''", stopped.HELD),
        ("q.wish = ? AND q.wish <> ''", _WISH),
    ):
        found += tx.rows(
            f"SELECT q.acceptance, q.n FROM queue q JOIN acceptance a ON a.id = q.acceptance"  # noqa: S608
            f" WHERE {condition} AND a.account = ? ORDER BY q.acceptance, q.n LIMIT ?",
            (text, account, limit),
        )
    return [(a, n) for a, n in found][:limit]


def count_held(tx: Tx, account: int) -> int:
    """Recipients."""
    return int(
        tx.value(
            "SELECT COUNT(*) FROM queue q JOIN acceptance a ON a.id = q.acceptance"
            " WHERE q.held = ? AND q.held <> '' AND a.account = ?",
            (stopped.HELD, account),
        )
    )


def let(tx: Tx, account: int) -> bool:
    """It may send again, and as much as if it had not sent; False: it might before."""
    buckets.empty_out(tx, bucket_of(account))
    return stopped.let(tx, account)


def release(
    tx: Tx, account: int, keys: Sequence[Key], *, who: str, now: int, event: int
) -> int | None:
    """Held -> waiting, due now. None: the account was stopped again."""
    if stopped.find(tx, account) is not None:
        return None
    still = [key for key in sorted(keys) if _is_held(tx, key)]
    return len(hand.touch(tx, Release(), still, who=who, now=now, event=event))


class Let(msgspec.Struct, frozen=True):
    """What a release came to. was_stopped: before it. released: recipients of its mail."""

    was_stopped: bool
    released: int


async def let_go(store: Store, account: int, *, ids: Ids, clock: Clock, who: str) -> Let:
    """An administrator lets it send again; what was held for that, and for nothing else, goes on.

    Broken off, it may be done again. Raises StoreError.
    """

    def now() -> int:
        return int(clock.now() * 1000)

    was = await store.run(partial(let, account=account), accounts=(account,))
    total = 0
    while keys := await store.read(partial(held, account=account)):
        done = await store.run(
            partial(
                release,
                account=account,
                keys=keys,
                who=who,
                now=now(),
                event=ids.next(),
            ),
            accounts=(account,),
        )
        if not done:
            break  # stopped again, or somebody else releases
        total += done
    return Let(was, total)


def _is_held(tx: Tx, key: Key) -> bool:
    row = tx.row(
        "SELECT held, wish FROM queue WHERE acceptance = ? AND n = ? /*postgresql: FOR UPDATE */",
        key,
    )
    if row is None:
        return False
    wanted = wish.wished(row[1])
    return bool(row[0] == stopped.HELD or (wanted is not None and wanted.text == stopped.HELD))


def _more(some: Sequence[object]) -> bool:
    return len(some) == STOPPED_MESSAGES
