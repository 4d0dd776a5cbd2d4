"""Inside: what a judge reads in the stores of simulated installations."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import partial

from estafeta.store import accounts, mailboxes, messages
from estafeta.store.bodies import Bodies, Body, Shelf, bring_each
from estafeta.store.engine import Tx
from estafeta.store.ids import Ids

from .installation import SimInstallation
from .objects import SimObjects
from .stores import SimStore
from .world import SimMachine


def store_of(installation: SimInstallation) -> SimStore:
    """It must be up."""
    assert installation.store is not None
    return installation.store


async def inbox(installation: SimInstallation, address: str) -> list[bytes]:
    """The messages of an account, as they are read."""
    stored = await store_of(installation).read(
        partial(_stored, bodies=installation.bodies, address=address)
    )
    await bring_each((body, None) for _, body in stored)
    return [prefix + body.read() for prefix, body in stored]


async def double_bounces(installations: Iterable[SimInstallation]) -> frozenset[int]:
    """Letters of which a recipient was dropped because nobody could be told."""
    found: set[int] = set()
    for installation in installations:
        found.update(await store_of(installation).read(_dropped))
    return frozenset(found)


async def uids(installations: Iterable[SimInstallation]) -> dict[str, list[tuple[int, int]]]:
    """(uid, modseq of its arrival) of each message in INBOX, by account."""
    found: dict[str, list[tuple[int, int]]] = {}
    for installation in installations:
        for address, uid, created in await store_of(installation).read(_arrivals):
            found.setdefault(address, []).append((uid, created))
    return found


async def late_outcomes(installations: Iterable[SimInstallation]) -> int:
    """How many came after their lease."""
    return sum([await store_of(each).read(_late_outcomes) for each in installations])


async def waiting(installations: Iterable[SimInstallation]) -> list[list[tuple[object, ...]]]:
    """Some rows of each queue."""
    return [await store_of(each).read(_waiting) for each in installations]


def shelf_of(machine: SimMachine) -> Shelf | None:
    """The bucket of a machine as somebody sees it for whom it is never away."""
    if machine.bucket is None:
        return None
    ids = Ids(machine.clock, random.Random(0))  # noqa: S311 (none is given out)
    return Bodies(machine.disk, ids, objects=SimObjects(machine.bucket, sure=True)).shelf


def _stored(tx: Tx, bodies: Bodies, address: str) -> list[tuple[bytes, Body]]:
    account = accounts.account(tx, address)
    assert account is not None
    box = mailboxes.mailbox_by_name(tx, account.id, "INBOX")
    assert box is not None
    found = []
    for uid in messages.uids(tx, account.id, box.id):
        content = messages.content(tx, bodies, account.id, box.id, uid)
        assert content is not None
        found.append(content)
    return found


def _waiting(tx: Tx) -> list[tuple[object, ...]]:
    return tx.rows("SELECT destination, attempts, due, last FROM queue LIMIT 10")


def _arrivals(tx: Tx) -> list[tuple[str, int, int]]:
    found = tx.rows(
        "SELECT address, uid, message.created FROM message"
        " JOIN account ON account.id = message.account"
        " JOIN mailbox ON mailbox.account = message.account AND mailbox.id = message.mailbox"
        " WHERE mailbox.name = 'INBOX' ORDER BY address, uid"
    )
    return [(address, uid, created) for address, uid, created in found]


def _late_outcomes(tx: Tx) -> int:
    return int(tx.value("SELECT count(*) FROM event WHERE kind = 'late-outcome'"))


def _dropped(tx: Tx) -> list[int]:
    found = tx.rows(
        "SELECT DISTINCT message_id FROM acceptance JOIN recipient"
        " ON recipient.acceptance = acceptance.id"
        " WHERE fate = 'dropped' AND fate_text = 'double-bounce' AND message_id LIKE '<letter-%'"
    )
    return [int(text.partition("-")[2].partition("@")[0]) for (text,) in found]
