"""Scene: a store in which many things are under way, and the units that sessions, the queue, upkeep
and the commands give to it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from tests.support.interleave import Unit
from tests.support.stores import NOON, TEXT, Stand, StandingClock

from estafeta.explain.faults import Checked
from estafeta.intake.prepared import RefusedInUnit
from estafeta.mail.envelope import Recipient
from estafeta.mail.message import summary
from estafeta.mail.outcome import Deferred, Delivered, Refused, Reply
from estafeta.queue import correct, hand, parked, returns, rows
from estafeta.queue import stopped as queue_stopped
from estafeta.queue.notices import Failure
from estafeta.queue.settle import Attempted, settle
from estafeta.store import (
    admissions,
    bodies,
    buckets,
    greylist,
    knocks,
    ledger,
    mailboxes,
    messages,
    sent,
    stopped,
    tracker,
)
from estafeta.store.bodies import Body
from estafeta.store.buckets import Limit, Share
from estafeta.store.engine import Tx
from estafeta.store.ids import Ids
from estafeta.store.knocks import Arrival, Detail, Noted
from estafeta.store.ledger import DAY_MS
from estafeta.store.rows import Acceptance, Dropped, Returned, Stored
from estafeta.store.stopped import Stopped

DAYS_LATER = NOON + 3 * DAY_MS
TAKEN = Delivered(Reply(250, "2.0.0", "taken"), host="mx.b.example")
BUSY = Deferred(Reply(451, "4.3.0", "busy"), "other")
FAILED = Failure(
    recipient=Recipient("x@x.example"),
    outcome=Refused(Reply(550, "5.1.1", "no"), "unknown-user"),
    at=DAYS_LATER,
    attempts=1,
)
FAULT = parked.Parking("block-list", "192.0.2.1", "b.example")
FAULTY = Refused(Reply(550, "5.7.1", "blocked"), "blocked-ip", "mx.b.example")
UNTIL = DAYS_LATER + 7_200_000
TERMS = greylist.Terms(300_000, 2 * DAY_MS, 36 * DAY_MS, known_after=5, apart=60_000)
WAITS, WAITS_TOO, FORGOTTEN, UNSEEN = (greylist.key_of("a", "s", n) for n in "0123")
KNOCK, ADMISSION = 10, 11
"""Of one who is let in."""
BUCKET = Limit(5, 60.0)
Given = tuple[Unit, Sequence[int]]


class Scene:
    """What is there before: ana and luis with three messages each, ana with a box of two more;
    an acceptance of days ago; one for three people elsewhere, of whom one is leased; a body that
    nothing refers to."""

    def __init__(self) -> None:
        self.ids = Ids(StandingClock(DAYS_LATER), random.Random(11))

    async def fill(self, stand: Stand) -> None:
        self.ana = await stand.account("ana@a.example")
        self.luis = await stand.account("luis@a.example")
        self.inbox = await stand.inbox(self.ana)
        for who in (self.ana, self.luis):
            for n in range(3):
                await stand.append(who, await stand.inbox(who), b"Subject: %d\r\n\r\nx\r\n" % n)
        box = await stand.run(lambda tx: mailboxes.create(tx, self.ana, "Work"))
        self.work = box.id
        for _ in range(2):
            await stand.append(self.ana, self.work)
        self.sent, _ = await stand.deliver(self.ana, self.inbox)
        self.old = (await stand.bodies.from_bytes(b"nobody's")).id
        await stand.run(lambda tx: bodies.put(tx, Body(self.old, b"nobody's")))
        self.people = [Recipient(f"{name}@b.example") for name in ("bob", "carl", "dora")]
        self.out = await stand.accept(*((r.address, None) for r in self.people))
        (self.leased,) = await stand.run(partial(self._lease, tokens=[77], most=1))
        await stand.accept(("eva@b.example", None), ("fay@c.example", None))
        self.returned = await stand.accept(("gil@b.example", Returned(1)))
        self.back = await stand.accept(*((f"{n}@{n}.example", None) for n in ("hal", "ida", "jo")))
        for n, name in enumerate(("hal", "ida")):
            (leased,) = await stand.run(
                partial(self._lease, tokens=[90 + n], domain=f"{name}.example")
            )
            begin = partial(returns.begin, job=leased, n=n, failure=FAILED, now=DAYS_LATER)
            await stand.run(begin)
        self.kept = await stand.accept(("kim@k.example", None))
        (held,) = await stand.run(partial(self._lease, tokens=[95], domain="k.example"))
        await stand.run(lambda tx: self._park(tx, held))
        self.submitted = await stand.accept(
            ("tom@t.example", None), account=self.ana, message_id="<submitted@a.example>"
        )
        (self.tracked,) = await stand.run(partial(self._lease, tokens=[78], domain="t.example"))
        self.sent_box = await stand.read(lambda tx: mailboxes.by_role(tx, self.ana, "sent").id)
        unit, accounts = self.append_sent("<submitted@a.example>")
        await stand.run(unit, accounts)
        for key, at in ((WAITS, DAYS_LATER), (WAITS_TOO, DAYS_LATER), (FORGOTTEN, NOON - DAY_MS)):
            begin = partial(greylist.arrive, key=key, now=at - TERMS.delay, terms=TERMS)
            await stand.run(begin)
        stand.clock.ms = DAYS_LATER
        await stand.run(self.tries("known@x.example", id=KNOCK)[0])
        await stand.run(self.lets_in(KNOCK, id=ADMISSION)[0])

    # -- units ---------------------------------------------------------------------------------

    def deliver(self, *to: int, box: int | str = "INBOX") -> Given:
        """As an acceptance of port 25 places it."""
        row = Acceptance(
            self.ids.next(), DAYS_LATER, "smtp", "x@y.example", self.ids.next(), 9, len(to)
        )
        body = Body(row.body, b"delivered")

        def unit(tx: Tx) -> list[int]:
            bodies.put(tx, body)
            fates = []
            for account in to:
                placed = messages.append(
                    tx,
                    account,
                    box,
                    body=body,
                    size=9,
                    prefix=b"",
                    text=TEXT,
                    received=DAYS_LATER,
                )
                fates.append(Stored(account, placed.mailbox, placed.uid))
            ledger.open_acceptance(tx, row, [Recipient("ana@a.example")] * len(to), fates)
            return [fate.uid for fate in fates]

        return unit, to

    def _park(self, tx: Tx, leased: rows.Leased) -> str:
        last = msgspec.json.encode(FAULTY).decode()
        wanted = parked.Park(FAULT, UNTIL)
        wished = parked.park(tx, leased, leased.numbers[0], wanted, now=DAYS_LATER, last=last)
        rows.settle_destination(tx, leased.destination)
        return wished

    def park(self) -> Given:
        """Bob is refused for a fault of ours."""
        return alone(lambda tx: self._park(tx, self.leased))

    def unpark(self, event: int = 910) -> Given:
        """That fault is mended."""
        good = Checked(True, "not-listed")

        def unit(tx: Tx) -> int:
            return parked.release(
                tx, FAULT.fault, FAULT.about, good, now=DAYS_LATER, interval=600_000, event=event
            )

        return unit, ()

    def end_parked(self, token: int = 96) -> Given:
        """It was not mended in time."""

        def unit(tx: Tx) -> list[int]:
            ended = parked.take_ended(tx, UNTIL, until=UNTIL + 900_000, tokens=[token])
            return [each.leased.acceptance for each in ended]

        return unit, ()

    def touch_parked(self, act: Any) -> Given:
        def unit(tx: Tx) -> list[str]:
            keys = [(self.kept.id, 0)]
            found = hand.touch(tx, act, keys, who="root", now=DAYS_LATER, event=920)
            return [each.result for each in found]

        return unit, ()

    def accept(self, *domains: str, token: int | None = None) -> Given:
        """As a submission for people elsewhere."""
        row = Acceptance(
            self.ids.next(), DAYS_LATER, "submission", "x@y", self.ids.next(), 3, len(domains)
        )
        due = DAYS_LATER + (0 if token is None else 900_000)

        def unit(tx: Tx) -> None:
            bodies.put(tx, Body(row.body, b"out"))
            ledger.open_acceptance(
                tx, row, [Recipient(f"x@{d}") for d in domains], [None] * len(domains)
            )
            rows.enqueue(
                tx, [rows.Waiting(row.id, n, d, due, token) for n, d in enumerate(domains)]
            )

        return unit, ()

    def own(self, unit: Callable[..., Any], *given: Any, **named: Any) -> Given:
        """As ana's session does it."""
        return (lambda tx: unit(tx, self.ana, *given, **named)), (self.ana,)

    def _lease(
        self, tx: Tx, tokens: Sequence[int], most: int = 2, domain: str = "b.example"
    ) -> list[rows.Leased]:
        return rows.lease(
            tx,
            domain,
            now=DAYS_LATER,
            until=DAYS_LATER + 900_000,
            tokens=tokens,
            recipients_max=most,
        )

    def lease(self, token: int, domain: str = "b.example") -> Given:
        return (lambda tx: len(self._lease(tx, [token], domain=domain))), ()

    def append_sent(self, message_id: str) -> Given:
        """As ana's program does it."""
        data = f"From: ana@a.example\r\nMessage-ID: {message_id}\r\n\r\n".encode()
        made = summary(data)
        text = messages.Text(
            made.envelope,
            made.bodystructure,
            made.body,
            made.index,
            made.message_id,
            made.subject,
            made.preview,
        )
        given = sent.Given(Body(self.ids.next(), data), text, 0, "", DAYS_LATER)

        def unit(tx: Tx) -> int:
            bodies.put(tx, given.body)
            return sent.append(tx, self.ana, self.sent_box, given).uid

        return unit, (self.ana,)

    def submit(self, message_id: str, *, file: bool = False) -> Given:
        """As ana hands it in. file: we file the copy."""
        row = Acceptance(
            self.ids.next(),
            DAYS_LATER,
            "submission",
            "ana@a.example",
            self.ids.next(),
            3,
            1,
            account=self.ana,
            message_id=message_id,
        )
        body = Body(row.body, b"out")

        def unit(tx: Tx) -> None:
            bodies.put(tx, body)
            ledger.open_acceptance(tx, row, [Recipient("x@u.example")], [None])
            rows.enqueue(tx, [rows.Waiting(row.id, 0, "u.example", DAYS_LATER)])
            if file:
                sent.file(tx, row, sent.Copy(body, b"", TEXT))
            tracker.follow(tx, row)

        return unit, (self.ana,)

    def submit_unless_stopped(self) -> Given:
        """As ana hands it in, with what looks whether she may."""
        unit, accounts = self.submit("<late@a.example>")

        def checked(tx: Tx) -> None:
            unit(tx)
            if stopped.find(tx, self.ana) is not None:
                raise RefusedInUnit(Reply(550, "5.7.1", "stopped"))

        return checked, accounts

    def stop(self, event: int = 950) -> Given:
        """Ana is stopped, with what she has waiting."""

        def unit(tx: Tx) -> tuple[bool, int]:
            new = stopped.stop(tx, self.ana, "5/1h", DAYS_LATER)
            keys = queue_stopped.waiting(tx, self.ana).keys
            return new, queue_stopped.hold(tx, self.ana, keys, now=DAYS_LATER, event=event)

        return unit, (self.ana,)

    def let_go(self) -> Given:
        """She is let, with what is held for it."""

        def unit(tx: Tx) -> tuple[bool, int | None]:
            was = queue_stopped.let(tx, self.ana)
            keys = queue_stopped.held(tx, self.ana)
            done = queue_stopped.release(tx, self.ana, keys, who="root", now=DAYS_LATER, event=951)
            return was, done

        return unit, (self.ana,)

    def tell_of_luis(self) -> Given:
        """Two workers tell that he was stopped."""
        return (lambda tx: stopped.tell(tx, Stopped(self.luis, NOON, "5/1h"))), (self.luis,)

    def settle_tracked(self, outcome: Any, due: int | None = None) -> Given:
        event = self.ids.next()
        people = [Recipient("tom@t.example")]
        done = Attempted(
            self.tracked, self.submitted, people, [outcome], (), [due], DAYS_LATER, DAYS_LATER
        )
        return (lambda tx: settle(tx, done, event, ())), (self.ana,)

    def settle(self, outcome: Any, due: int | None = None) -> Given:
        event = self.ids.next()
        done = Attempted(
            self.leased, self.out, self.people[:1], [outcome], (), [due], DAYS_LATER, DAYS_LATER
        )
        return (lambda tx: settle(tx, done, event, ())), ()

    def give_back(self, *numbers: int) -> Given:
        """Those that wait to be returned, in a bounce that was written of them."""
        back, event = self.back, self.ids.next()
        row = Acceptance(self.ids.next(), DAYS_LATER, "bounce", "", 3, 3, 1)

        class Bounce:
            id = row.id

            @staticmethod
            def apply(tx: Tx) -> None:
                ledger.open_acceptance(tx, row, [Recipient("ana@a.example")], [Dropped("x")])

        def unit(tx: Tx) -> str:
            try:
                returns.return_all(tx, back, numbers, Bounce, event, DAYS_LATER)  # type: ignore[arg-type]
            except returns.Changed:
                return "others"
            return "returned"

        return unit, ()

    def fail_too(self) -> Given:
        """The last of them fails, and is to be returned with the others."""

        def unit(tx: Tx) -> bool:
            (leased,) = self._lease(tx, [99], domain="jo.example")
            returns.begin(tx, leased, 2, FAILED, DAYS_LATER)
            return returns.under_way(tx, self.back.id, DAYS_LATER)

        return unit, ()

    def tries(self, *senders: str, id: int, account: int = 0, arrives: bool = False) -> Given:
        """As the journal writes what it has collected of one second."""
        noted = [
            Noted(
                account=account or self.ana,
                id=id + n,
                who="y.example",
                sender=sender,
                cause="greylisted",
                named="ana@a.example",
                proof=1,
                first=DAYS_LATER + id,
                last=DAYS_LATER + id,
                times=1,
                detail=Detail(network="192.0.2.0/24", hello=str(id)),
            )
            for n, sender in enumerate(senders)
        ]
        came = Arrival(self.ana, "y.example", "known@x.example", DAYS_LATER + id)
        return alone(partial(knocks.write, noted=noted, arrivals=[came] if arrives else []))

    def lets_in(self, knock: int, id: int) -> Given:
        def unit(tx: Tx) -> str:
            try:
                allowed = ("greylist",)
                made = admissions.grant(tx, self.ana, knock, DAYS_LATER, id=id, allowed=allowed)
            except admissions.NotLetIn as refused:
                return refused.why
            return str(made.id)

        return unit, (self.ana,)

    def comes_in(self, acceptance: int) -> Given:
        return alone(lambda tx: admissions.consume(tx, self.ana, ADMISSION, acceptance, DAYS_LATER))

    def touch(self, act: Any, event: int = 900) -> Given:
        """As an operator does it, to bob: the one who is leased."""

        def unit(tx: Tx) -> list[str]:
            keys = [(self.out.id, 0)]
            found = hand.touch(tx, act, keys, who="root", now=DAYS_LATER, event=event)
            return [each.result for each in found]

        return unit, ()

    def correct(
        self, event: int = 900, to: str = "bill@b.example", of: Acceptance | None = None
    ) -> Given:
        """The first recipient is somebody else: bob, or that of another message."""
        was = of or self.out
        row = Acceptance(self.ids.next(), DAYS_LATER, "correction", "ana@a.example", was.body, 3, 1)

        class Child:
            id = row.id

            @staticmethod
            def apply(tx: Tx) -> None:
                ledger.open_acceptance(tx, row, [Recipient(to)], [None])
                rows.enqueue(tx, [rows.Waiting(row.id, 0, "b.example", DAYS_LATER)])

        def unit(tx: Tx) -> list[str]:
            found = correct.correct(
                tx,
                was.id,
                [correct.Correction(0, to)],
                Child,  # type: ignore[arg-type]
                who="root",
                now=DAYS_LATER,
                events=[event],
            )
            return [each.result for each in found]

        return unit, ()

    def copy_of_old_message(self) -> Given:
        """The message goes, its body lives on in a copy."""

        def unit(tx: Tx) -> None:
            messages.move(tx, self.ana, self.work, [1], self.inbox)

        return unit, (self.ana,)


def merge(*shares: Share) -> Given:
    """What a worker has taken of buckets."""
    return alone(partial(buckets.merge, shares=shares, now=DAYS_LATER))


def arrive(key: bytes, at: int = DAYS_LATER) -> Given:
    """A stranger, as two workers may see them."""
    return alone(partial(greylist.arrive, key=key, now=at, terms=TERMS))


def alone(unit: Unit) -> Given:
    """A unit that declares no account."""
    return unit, ()
