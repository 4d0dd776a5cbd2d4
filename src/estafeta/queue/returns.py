"""Returns: recipients of one message that failed together come back in one bounce.

A message to several domains is attempted at each of them at the same time, by jobs that know
nothing of each other. One that fails while others are under way does not end: its row becomes
*returning*, for RETURN_SECONDS at most. Whoever settles the last of them makes one bounce for all;
where nobody does, because he died or the others last, the row comes due and a job without an
attempt returns it.

Promises: rows out, fates, event and bounce are one unit, whoever makes it, so a recipient comes
back once; two who return at the same time wait for each other, and the second finds nothing left.
Who has one job for the whole message, as nearly all have, returns within its unit of outcome.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec
import structlog

from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Outcome
from estafeta.mail.protocols import Content
from estafeta.queue import rows
from estafeta.queue.conceal import written_in
from estafeta.queue.contract import Acceptor, Prepared
from estafeta.queue.insist import insistently
from estafeta.queue.notices import Failure, Notices
from estafeta.store import ledger, tracker
from estafeta.store.bodies import bring
from estafeta.store.engine import Store, StoreConflict, Tx
from estafeta.store.ids import Ids, queue_id
from estafeta.store.rows import Acceptance, Returned
from estafeta.world.seams import World

RETURN_SECONDS = 60.0
SOON_MS = 2000  # what is due so soon is about to be attempted too
REMEMBERED_MAX = 10_000  # messages of which one worker knows that somebody waits to be returned

log = structlog.get_logger("queue")


class Changed(StoreConflict):
    """Others returned some of them meanwhile, or more have failed."""


class Ended(msgspec.Struct, frozen=True):
    """What is kept in the row, beside the outcome, until it is returned. See notices.Failure."""

    destination: str
    at: int
    attempts: int
    expired: bool
    meant: str
    first: int = 0


class _Kept(msgspec.Struct, frozen=True):
    ended: Ended


def begin(tx: Tx, job: rows.Leased, n: int, failure: Failure, now: int) -> None:
    """Leased -> returning. Raises rows.LateOutcome."""
    ended = Ended(
        job.destination, failure.at, failure.attempts, failure.expired, failure.meant, failure.first
    )
    # The outcome as it stands in every other row, and more.
    last = {**msgspec.to_builtins(failure.outcome), "ended": msgspec.to_builtins(ended)}
    rows.begin_return(
        tx,
        job,
        n,
        due=now + int(RETURN_SECONDS * 1000),
        last=msgspec.json.encode(last).decode(),
    )


def under_way(tx: Tx, acceptance: int, now: int) -> bool:
    """Whether recipients of the message are being attempted, or are about to be."""
    return (
        tx.value(
            "SELECT 1 FROM queue WHERE acceptance = ? AND destination <> ? AND held = ''"
            " AND (lease IS NOT NULL OR (due <= ? AND NOT EXISTS (SELECT 1 FROM destination"
            " WHERE name = queue.destination AND waits_for <> ''))) LIMIT 1",
            (acceptance, rows.RETURNING, now + SOON_MS),
        )
        is not None
    )


def returning(tx: Tx, acceptance: int) -> dict[int, Failure]:
    """Those that wait to be returned, by their number."""
    found: dict[int, Failure] = {}
    for n, last in tx.rows(
        "SELECT n, last FROM queue WHERE acceptance = ? AND destination = ? AND held = ''"
        " AND wish = '' ORDER BY n",
        (acceptance, rows.RETURNING),
    ):
        ended = msgspec.json.decode(last, type=_Kept).ended
        found[n] = Failure(
            recipient=ledger.recipient(tx, acceptance, n),
            outcome=msgspec.json.decode(last, type=Outcome),
            at=ended.at,
            attempts=ended.attempts,
            expired=ended.expired,
            meant=ended.meant,
            first=ended.first,
        )
    return found


def destination_of(last: str) -> str:
    """Where it was to go, of the column of a row that is returning."""
    return msgspec.json.decode(last, type=_Kept).ended.destination


def return_all(
    tx: Tx, acceptance: Acceptance, numbers: Sequence[int], notice: Prepared, event: int, now: int
) -> None:
    """Returning -> no row, for all of them. Raises Changed."""
    # Who returns others of the same message waits here.
    tx.rows("SELECT id FROM acceptance WHERE id = ? /*postgresql: FOR UPDATE */", (acceptance.id,))
    # And who holds or cancels one of them.
    tx.rows(
        "SELECT n FROM queue WHERE acceptance = ? AND destination = ? ORDER BY n"
        " /*postgresql: FOR UPDATE */",
        (acceptance.id, rows.RETURNING),
    )
    if list(returning(tx, acceptance.id)) != list(numbers):
        raise Changed("others return them")
    for n in numbers:
        rows.finish_return(tx, acceptance.id, n)
        ledger.end(tx, acceptance.id, n, Returned(notice.id), now)
    detail = {"recipients": list(numbers), "notice": queue_id(notice.id)}
    ledger.add_event(tx, event, acceptance.id, now, ledger.ALL_RECIPIENTS, "returned", detail)
    notice.apply(tx)
    tracker.follow(tx, acceptance)


async def as_written(
    store: Store, acceptance: Acceptance, failures: Sequence[Failure]
) -> Sequence[Failure]:
    """With the sender's own address for each, where the ledger alone knows it."""
    if acceptance.origin != "alias" or not failures:
        return failures

    def unit(tx: Tx) -> list[Failure]:
        return [
            msgspec.structs.replace(each, written=written_to(tx, acceptance, each.recipient))
            for each in failures
        ]

    return await store.read(unit)


def written_to(tx: Tx, acceptance: Acceptance, recipient: Recipient) -> str:
    """The address as the sender wrote it. Behind an alias that is the one that came in there,
    whatever ORCPT says: who guesses where it leads is not told that he is right."""
    if acceptance.origin == "alias":
        written = ledger.as_written(tx, acceptance.id, recipient.address)
        if written != recipient.address:
            return written
    return written_in(recipient.orcpt) or recipient.address


class Returns:
    """One of each worker."""

    def __init__(
        self, *, store: Store, ids: Ids, world: World, acceptor: Acceptor, notices: Notices
    ) -> None:
        self._store = store
        self._ids = ids
        self._world = world
        self._acceptor = acceptor
        self._notices = notices
        self._waiting: dict[int, None] = {}  # messages that somebody waits to be returned of

    def expect(self, acceptance: int) -> None:
        """A unit that makes some of its rows returning is about to be run."""
        self._waiting[acceptance] = None
        if len(self._waiting) > REMEMBERED_MAX:
            del self._waiting[next(iter(self._waiting))]  # it comes due

    async def settled(self, acceptance: Acceptance, content: Content) -> None:
        """A job of that message has ended: the last one returns all that wait for it."""
        if acceptance.id not in self._waiting:
            return
        now = self._now()
        if await insistently(
            lambda: self._store.read(partial(under_way, acceptance=acceptance.id, now=now))
        ):
            return
        await self.all(acceptance, content)

    async def all(self, acceptance: Acceptance, content: Content) -> None:
        """Returns those that wait, in one bounce. Raises what the store will not do ever."""
        while True:
            found = await insistently(
                lambda: self._store.read(partial(returning, acceptance=acceptance.id))
            )
            if not found or await self._return(acceptance, found, content):
                self._waiting.pop(acceptance.id, None)
                return

    async def _return(
        self, acceptance: Acceptance, found: dict[int, Failure], content: Content
    ) -> bool:
        """Whether it is done; else it is to be looked at again."""
        await insistently(lambda: bring(content))
        failures = await insistently(
            lambda: as_written(self._store, acceptance, list(found.values()))
        )
        partly = acceptance.recipients > len(failures)
        made = await insistently(
            lambda: self._notices.failure(acceptance, failures, content, partly=partly)
        )
        notice = await insistently(lambda: self._acceptor.prepare_notice(made))
        event = self._ids.next()
        unit = partial(
            return_all,
            acceptance=acceptance,
            numbers=list(found),
            notice=notice,
            event=event,
            now=self._now(),
        )
        touched = set(notice.accounts)
        if acceptance.account is not None:
            touched.add(acceptance.account)  # whose copy tells what becomes of it
        try:
            await insistently(lambda: self._store.run(unit, accounts=sorted(touched)))
        except Changed:
            if not await insistently(
                lambda: self._store.read(lambda tx: ledger.has_event(tx, acceptance.id, event))
            ):
                notice.abandoned()
                return False
            # We returned them ourselves, by a COMMIT whose answer was lost.
        except BaseException:
            notice.abandoned()
            raise
        notice.committed()
        log.info("returned", queue_id=queue_id(acceptance.id), recipients=len(found))
        return True

    def _now(self) -> int:
        return int(self._world.clock.now() * 1000)
