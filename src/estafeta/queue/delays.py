"""Delays: whoever sent a message that has not arrived after some time is told so, once.

Promises: each acceptance passes the line of age once, in the order of acceptance, and is told of as
it does: the mark moves on, the notice is accepted and the event is written in one unit. So nobody
is told twice, whichever worker looks, and delivered mail pays nothing. Told are those that asked
for it or said nothing (RFC 3461 §4.1), of all that wait at that moment in one notice; an address
behind which several wait, an alias, is told of once. A null reverse-path is never told (RFC 5321
§4.5.5).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import structlog

from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Deferred, Outcome, Reply
from estafeta.mail.protocols import Content
from estafeta.queue import backoff, parked, rows
from estafeta.queue.contract import Acceptor, Prepared
from estafeta.queue.notices import Failure, Notices
from estafeta.queue.returns import written_to
from estafeta.queue.tries import tries
from estafeta.store import counters, ledger
from estafeta.store.bodies import Bodies, BodyMissing, bring
from estafeta.store.engine import Store, StoreClosed, StoreConflict, StoreError, Tx
from estafeta.store.ids import Ids, first_at, queue_id
from estafeta.store.rows import Acceptance
from estafeta.world.seams import World

LOOK_SECONDS = 30.0
LOOK_SECONDS_MIN = 0.2
LOOKS_EACH_DELAY = 20  # where little time is given to each message, looks are as near
PASSED_MAX = 500  # acceptances that nobody is told of, passed over in one unit

UNTRIED = Deferred(Reply(451, "4.4.0", "not tried yet"), "still-trying")

_MARK = "delay"

log = structlog.get_logger("queue")


class Passed(StoreConflict):
    """Somebody else was faster, or it is not as it was when it was looked at."""


class Late(msgspec.Struct):
    """The next acceptance past the line. mark: as it stood. failures: who is to be told of, by
    number, none where nobody is. numbers: all of its recipients that wait."""

    mark: int
    acceptance: Acceptance
    numbers: Sequence[int] = ()
    failures: dict[int, Failure] = {}
    content: Content | None = None


Until = Callable[[str, int], int | None]
"""(destination, accepted) -> when it is given up, in milliseconds since 1970; None: not by age."""


class Delays:
    """One of each worker."""

    def __init__(
        self,
        *,
        store: Store,
        bodies: Bodies,
        ids: Ids,
        world: World,
        acceptor: Acceptor,
        notices: Notices,
        until: Until,
    ) -> None:
        self._store = store
        self._bodies = bodies
        self._ids = ids
        self._world = world
        self._acceptor = acceptor
        self._notices = notices
        self._until = until

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            after = self._notices.settings.delay_after
            wait = min(max(after / LOOKS_EACH_DELAY, LOOK_SECONDS_MIN), LOOK_SECONDS)
            try:
                while after and await self.tell_next():
                    after = self._notices.settings.delay_after
            except StoreClosed:
                return
            except (StoreError, OSError) as error:
                log.warning("delays cannot be told", error=str(error))
            except Exception:
                log.exception("delays cannot be told")
            await asyncio.sleep(wait if after else LOOK_SECONDS)

    async def tell_next(self) -> bool:
        """Of one acceptance, if there is one past the line. Raises StoreError, OSError."""
        before = self._now() - int(self._notices.settings.delay_after * 1000)
        late = await self._store.read(partial(self._next, before=before))
        if late is None:
            return False
        notice: Prepared | None = None
        try:
            if late.failures and late.content is not None:
                notice = await self._notice(late, late.content)
            event = self._ids.next()
            await self._store.run(
                partial(_tell, late=late, notice=notice, event=event, now=self._now()),
                accounts=() if notice is None else notice.accounts,
            )
        except BaseException as failed:
            if notice is not None:
                notice.abandoned()
            if isinstance(failed, Passed):
                return True
            raise
        if notice is not None:
            notice.committed()
            log.info(
                "delay told", queue_id=queue_id(late.acceptance.id), recipients=len(late.failures)
            )
        return True

    async def _notice(self, late: Late, content: Content) -> Prepared | None:
        """None where its body is lost: a matter for `audit`, and does not keep the others."""
        try:
            await bring(content)
            made = await self._notices.delayed(
                late.acceptance, list(late.failures.values()), content
            )
        except (BodyMissing, FileNotFoundError) as error:
            log.error(
                "body cannot be loaded", queue_id=queue_id(late.acceptance.id), why=str(error)
            )
            late.failures.clear()
            return None
        return await self._acceptor.prepare_notice(made)

    # -- units -----------------------------------------------------------------------------------

    def _next(self, tx: Tx, before: int) -> Late | None:
        mark = _mark(tx)
        at, late = mark, None
        for _ in range(PASSED_MAX):
            found = tx.value(
                "SELECT MIN(acceptance) FROM queue WHERE acceptance > ? AND acceptance < ?",
                (at, first_at(before)),
            )
            if found is None:
                break
            at = int(found)
            late = self._late(tx, mark, at)
            if late.failures:
                break
        return late

    def _late(self, tx: Tx, mark: int, id: int) -> Late:
        acceptance = ledger.acceptance(tx, id)
        waiting = tx.rows(
            "SELECT n, destination, due, attempts, held, last FROM queue"
            " WHERE acceptance = ? AND destination <> ? ORDER BY n",
            (id, rows.RETURNING),
        )
        late = Late(mark, acceptance, [row[0] for row in waiting])
        if not acceptance.reverse_path:
            return late
        told = _told_of(tx, acceptance)
        parked_until = parked.limits(tx, id, late.numbers)
        tried = tries(tx, id)
        failures: dict[int, Failure] = {}
        for n, destination, due, attempts, held, last in waiting:
            recipient = ledger.recipient(tx, id, n)
            if not wants_delay(recipient):
                continue
            written = written_to(tx, acceptance, recipient)
            if written in told:
                continue
            until = parked_until.get(n) if held else None
            failures[n] = Failure(
                recipient=recipient,
                outcome=_outcome(tx, destination, last),
                at=tried.get(n, acceptance.at),
                attempts=attempts,
                written=written,
                next_try=0 if held or due >= backoff.NEVER else due,
                until=until or self._until(destination, acceptance.at) or 0,
            )
        if failures:
            try:
                late.content = self._bodies.content(tx, acceptance.body)
                late.failures = failures
            except BodyMissing as error:
                # A matter for `audit`; it does not keep the others.
                log.error("body cannot be loaded", queue_id=queue_id(id), why=str(error))
        return late

    def _now(self) -> int:
        return int(self._world.clock.now() * 1000)


def _tell(tx: Tx, late: Late, notice: Prepared | None, event: int, now: int) -> None:
    """The unit in which an acceptance passes the line. Raises Passed."""
    counters.hold(tx, _MARK)
    id = late.acceptance.id
    if _mark(tx) != late.mark:
        raise Passed("another worker told of it")
    if late.failures:
        waiting = tx.rows(
            "SELECT n FROM queue WHERE acceptance = ? AND destination <> ? ORDER BY n",
            (id, rows.RETURNING),
        )
        if [n for (n,) in waiting] != late.numbers:
            raise Passed("somebody got it meanwhile")
    tx.send("UPDATE counter SET value = ? WHERE name = ?", (id, _MARK))
    if notice is None:
        return
    detail = {
        "notice": queue_id(notice.id),
        "recipients": list(late.failures),
        "addresses": [each.written for each in late.failures.values()],
    }
    ledger.add_event(tx, event, id, now, ledger.ALL_RECIPIENTS, "delay", detail)
    notice.apply(tx)


def wants_delay(recipient: Recipient) -> bool:
    """RFC 3461 §4.1: without NOTIFY it is for us to say, and people expect to be told."""
    return not recipient.notify or "DELAY" in recipient.notify


def _mark(tx: Tx) -> int:
    """The last acceptance that has passed the line."""
    return int(tx.value("SELECT value FROM counter WHERE name = ?", (_MARK,)) or 0)


def _told_of(tx: Tx, acceptance: Acceptance) -> set[str]:
    """Addresses that those who came from the same message were told of."""
    if acceptance.parent is None or acceptance.origin != "alias":
        return set()
    found: set[str] = set()
    for (detail,) in tx.rows(
        "SELECT event.detail FROM acceptance JOIN event ON event.acceptance = acceptance.id"
        " WHERE acceptance.parent = ? AND event.kind = 'delay'",
        (acceptance.parent,),
    ):
        found.update(msgspec.json.decode(detail).get("addresses", ()))
    return found


def _outcome(tx: Tx, destination: str, last: str) -> Outcome:
    """What the last attempt came to; of one that waits for its host untried, what holds that up."""
    if not last:
        last = tx.value(
            "SELECT backoff.why FROM destination JOIN backoff ON backoff.name = waits_for"
            " WHERE destination.name = ? AND waits_for <> ''",
            (destination,),
        )
    return msgspec.json.decode(last, type=Outcome) if last else UNTRIED
