"""Pairs of real units, interleaved: whatever the order of their statements, what is left is what
one of the two orders one after the other would have left.

Units: what sessions, the queue, upkeep and the commands give to the store. Nothing here may rely on
SQLite, which runs one unit after another anyway.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
import pytest
from tests.support.interleave import Saved, Unit, connect, run_pair
from tests.support.stores import NOON, TEXT, Stand, StandingClock

from estafeta.explain.faults import Checked
from estafeta.intake.prepared import RefusedInUnit
from estafeta.mail.envelope import Recipient
from estafeta.mail.message import summary
from estafeta.mail.outcome import Deferred, Delivered, Refused, Reply
from estafeta.queue import correct, hand, holders, parked, returns, rows, suspended, wish
from estafeta.queue import stopped as queue_stopped
from estafeta.queue.hand import Cancel, Hold, Release, Retry
from estafeta.queue.notices import Failure
from estafeta.queue.settle import Attempted, settle
from estafeta.queue.suspended import Suspension
from estafeta.store import (
    accounts,
    admissions,
    bearers,
    bodies,
    buckets,
    counters,
    flags,
    garbage,
    greylist,
    knocks,
    ledger,
    mailboxes,
    messages,
    sent,
    stopped,
    tracker,
    trail,
)
from estafeta.store.audit import seal_slice
from estafeta.store.bodies import Body
from estafeta.store.buckets import Limit, Share
from estafeta.store.engine import Tx
from estafeta.store.ids import Ids
from estafeta.store.knocks import Arrival, Detail, Noted
from estafeta.store.ledger import DAY_MS
from estafeta.store.limits import KNOCK_AGE_MS
from estafeta.store.postgres.line import Line
from estafeta.store.rows import Acceptance, Dropped, Returned, Stored
from estafeta.store.stopped import Stopped

BREAKS_MAX = int(os.environ.get("ESTAFETA_INTERLEAVED", "8"))
"""Statements after which a unit breaks off; the first ones are those that take locks."""
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


def pairs(s: Scene) -> dict[str, tuple[Given, Given]]:
    ana, luis, inbox, work = s.ana, s.luis, s.inbox, s.work
    now = DAYS_LATER
    seen = partial(messages.store_flags, mode="add", flags=flags.SEEN)
    replace = partial(messages.store_flags, mode="set", flags=flags.FLAGGED)
    create, rename, delete = mailboxes.create, mailboxes.rename, mailboxes.delete
    far = holders.Life(node="other", run=5, alone=False)
    return {
        "deliver+deliver": (s.deliver(ana), s.deliver(ana)),
        "deliver to both+the other way round": (s.deliver(ana, luis), s.deliver(luis, ana)),
        "deliver+expunge": (s.deliver(ana), s.own(messages.expunge, inbox, [1, 2])),
        "deliver+delete its box": (s.deliver(ana, box=work), s.own(delete, "Work")),
        "deliver+remove the account": (
            s.deliver(ana, luis),
            alone(lambda tx: accounts.remove_account(tx, ana)),
        ),
        "flag+flag": (s.own(seen, inbox, [1, 2, 3]), s.own(replace, inbox, [2, 3])),
        "flag+expunge": (s.own(seen, inbox, [1, 2, 3]), s.own(messages.expunge, inbox, [2])),
        "expunge+expunge": (
            s.own(messages.expunge, inbox, [1, 2]),
            s.own(messages.expunge, inbox, [2, 3]),
        ),
        "move+move": (
            s.own(messages.move, inbox, [1, 2], work),
            s.own(messages.move, inbox, [2, 3], work),
        ),
        "copy+expunge": (
            s.own(messages.copy, inbox, [1, 2], work),
            s.own(messages.expunge, inbox, [1, 2]),
        ),
        "move+delete the target": (
            s.own(messages.move, inbox, [1], work),
            s.own(delete, "Work"),
        ),
        "create+create": (s.own(create, "New/One"), s.own(create, "New/One")),
        "create+create beside": (s.own(create, "New/One"), s.own(create, "New/Two")),
        "create undeclared+undeclared": (
            alone(lambda tx: create(tx, ana, "New/One").name),
            alone(lambda tx: create(tx, ana, "New/One").name),
        ),
        "rename undeclared+create": (
            alone(lambda tx: rename(tx, ana, "Work", "New")),
            alone(lambda tx: create(tx, ana, "Work/Deep").name),
        ),
        "delete undeclared+create below": (
            alone(lambda tx: delete(tx, ana, "Work").name),
            alone(lambda tx: create(tx, ana, "Work/Deep").name),
        ),
        "rename INBOX+deliver": (s.own(rename, "INBOX", "Past"), s.deliver(ana)),
        "create for two people": (s.own(create, "A"), alone(lambda tx: create(tx, luis, "A"))),
        "recent+recent": (
            alone(lambda tx: messages.take_recent(tx, ana, inbox)),
            alone(lambda tx: messages.take_recent(tx, ana, inbox)),
        ),
        "recent+deliver": (
            alone(lambda tx: messages.take_recent(tx, ana, inbox)),
            s.deliver(ana),
        ),
        "subscribe+subscribe": (
            s.own(mailboxes.subscribe, "Work"),
            s.own(mailboxes.subscribe, "Work"),
        ),
        "fold+fold": (
            alone(lambda tx: messages.fold_tombstones(tx, ana, inbox, keep=0)),
            s.own(messages.expunge, inbox, [1]),
        ),
        "erase+erase": (
            alone(lambda tx: mailboxes.erase_slice(tx, ana, 999)),
            alone(lambda tx: mailboxes.erase_slice(tx, ana, 999)),
        ),
        # Who is here
        "account+account": (
            alone(lambda tx: accounts.add_account(tx, "new@a.example", now).address),
            alone(lambda tx: accounts.add_account(tx, "new@a.example", now).address),
        ),
        "account+alias": (
            alone(lambda tx: accounts.add_account(tx, "new@a.example", now).address),
            alone(lambda tx: accounts.add_alias(tx, "new@a.example", "ana@a.example")),
        ),
        "account+remove its domain": (
            alone(
                lambda tx: (
                    accounts.add_domain(tx, "n.example", now),
                    accounts.add_account(tx, "new@n.example", now),
                )
            ),
            alone(lambda tx: accounts.remove_domain(tx, "n.example")),
        ),
        "rename account+alias": (
            alone(lambda tx: accounts.set_account(tx, luis, address="new@a.example")),
            alone(lambda tx: accounts.add_alias(tx, "new@a.example", "ana@a.example")),
        ),
        "token+remove the account": (
            alone(lambda tx: bearers.add(tx, "t", "secret", account=luis, now=now)),
            alone(lambda tx: accounts.remove_account(tx, luis)),
        ),
        "remove account+alias to it": (
            alone(lambda tx: accounts.remove_account(tx, luis)),
            alone(lambda tx: accounts.add_identity(tx, luis, "l@a.example")),
        ),
        "domain+domain": (
            alone(lambda tx: accounts.add_domain(tx, "n.example", now).name),
            alone(lambda tx: accounts.add_domain(tx, "n.example", now).name),
        ),
        "remove+remove": (
            alone(lambda tx: accounts.remove_account(tx, ana)),
            alone(lambda tx: accounts.remove_account(tx, ana)),
        ),
        "take+take": (
            alone(lambda tx: counters.take(tx, "n", 3)),
            alone(lambda tx: counters.take(tx, "n")),
        ),
        # The queue
        "accept+accept": (s.accept("b.example", "d.example"), s.accept("d.example", "b.example")),
        "accept+lease": (s.accept("b.example"), s.lease(80)),
        "accept in hand+lease": (s.accept("b.example", token=81), s.lease(80)),
        "accept+lease of all there is": (s.accept("c.example"), s.lease(80, "c.example")),
        "accept for a new destination+settle it": (
            s.accept("new.example"),
            alone(lambda tx: rows.settle_destination(tx, "new.example")),
        ),
        "accept in hand+lease of all there is": (
            s.accept("c.example", token=82),
            s.lease(80, "c.example"),
        ),
        "lease+defer": (s.lease(80), s.settle(BUSY, now + 60_000)),
        "lease+finish": (s.lease(80), s.settle(TAKEN)),
        "settle+settle": (s.settle(TAKEN), s.settle(BUSY, now + 60_000)),
        "settle+give back": (
            s.settle(TAKEN),
            alone(lambda tx: rows.give_back(tx, now)),
        ),
        "renew+give back": (
            alone(lambda tx: rows.renew(tx, [(77, s.out.id)], now + 900_000)),
            alone(lambda tx: rows.give_back(tx, now)),
        ),
        "give back+give back": (
            alone(lambda tx: rows.give_back(tx, now)),
            alone(lambda tx: rows.give_back(tx, now)),
        ),
        "begin+begin": (
            alone(lambda tx: holders.begin(tx, far, now)),
            alone(lambda tx: holders.begin(tx, holders.Life("third", 6, alone=False), now)),
        ),
        # By hand
        "cancel+taken": (s.touch(Cancel()), s.settle(TAKEN)),
        "cancel+deferred": (s.touch(Cancel()), s.settle(BUSY, now + 60_000)),
        "hold+deferred": (s.touch(Hold("x")), s.settle(BUSY, now + 60_000)),
        "cancel+give back": (s.touch(Cancel()), alone(lambda tx: rows.give_back(tx, now))),
        "cancel+hold": (s.touch(Cancel()), s.touch(Hold("x"), 901)),
        "retry+deferred": (s.touch(Retry()), s.settle(BUSY, now + 60_000)),
        "cancel+grant": (s.touch(Cancel()), alone(lambda tx: wish.grant_due(tx, "b.example", now))),
        "correct+taken": (s.correct(), s.settle(TAKEN)),
        "correct+deferred": (s.correct(), s.settle(BUSY, now + 60_000)),
        "correct+correct": (s.correct(), s.correct(901)),
        "correct+correct otherwise": (s.correct(), s.correct(901, "bell@b.example")),
        "correct what was returned+garbage": (
            s.correct(of=s.returned),
            alone(lambda tx: garbage._remove(tx, [s.returned.body])),
        ),
        "correct what was returned twice": (
            s.correct(of=s.returned),
            s.correct(901, of=s.returned),
        ),
        "suspend+suspend": (
            alone(lambda tx: suspended.suspend(tx, Suspension("b.example", "x", "root", now))),
            alone(lambda tx: suspended.suspend(tx, Suspension("b.example", "y", "root", now))),
        ),
        "return+return": (s.give_back(0, 1), s.give_back(0, 1)),
        "return+fail too": (s.give_back(0, 1), s.fail_too()),
        "return all+fail too": (s.give_back(0, 1, 2), s.fail_too()),
        # Held for a fault of ours
        "park+taken": (s.park(), s.settle(TAKEN)),
        "park+cancel": (s.park(), s.touch(Cancel())),
        "park+tidy": (s.park(), alone(lambda tx: parked.tidy(tx, now))),
        "park+unpark": (s.park(), s.unpark()),
        "unpark+unpark": (s.unpark(), s.unpark(911)),
        "unpark+end": (s.unpark(), s.end_parked()),
        "unpark+release": (s.unpark(), s.touch_parked(Release())),
        "unpark+cancel": (s.unpark(), s.touch_parked(Cancel())),
        "end+end": (s.end_parked(), s.end_parked(97)),
        "end+cancel": (s.end_parked(), s.touch_parked(Cancel())),
        "told+told": (
            alone(lambda tx: parked.told(tx, FAULT, now)),
            alone(lambda tx: parked.told(tx, FAULT, now)),
        ),
        # Copies of what was sent
        "append to Sent+taken": (s.append_sent("<submitted@a.example>"), s.settle_tracked(TAKEN)),
        "append to Sent+deferred": (
            s.append_sent("<submitted@a.example>"),
            s.settle_tracked(BUSY, now + 60_000),
        ),
        "append to Sent+submit": (s.append_sent("<new@a.example>"), s.submit("<new@a.example>")),
        "append to Sent+submit and file": (
            s.append_sent("<new@a.example>"),
            s.submit("<new@a.example>", file=True),
        ),
        "submit and file twice": (
            s.submit("<new@a.example>", file=True),
            s.submit("<new@a.example>", file=True),
        ),
        "submit again+taken": (s.submit("<submitted@a.example>"), s.settle_tracked(TAKEN)),
        "copy what was sent+taken": (
            s.own(messages.copy, s.sent_box, [1], work),
            s.settle_tracked(TAKEN),
        ),
        "move what was sent+taken": (
            s.own(messages.move, s.sent_box, [1], work),
            s.settle_tracked(TAKEN),
        ),
        "expunge what was sent+taken": (
            s.own(messages.expunge, s.sent_box, [1]),
            s.settle_tracked(TAKEN),
        ),
        "flag what was sent+taken": (s.own(replace, s.sent_box, [1]), s.settle_tracked(TAKEN)),
        "delete Sent+taken": (s.own(delete, "Sent"), s.settle_tracked(TAKEN)),
        "delete Sent+submit and file": (
            s.own(delete, "Sent"),
            s.submit("<new@a.example>", file=True),
        ),
        "remove account+taken": (
            alone(lambda tx: accounts.remove_account(tx, ana)),
            s.settle_tracked(TAKEN),
        ),
        # Strangers
        "first try+first try": (arrive(UNSEEN), arrive(UNSEEN)),
        "second try+second try": (arrive(WAITS), arrive(WAITS)),
        "second tries of one message": (arrive(WAITS), arrive(WAITS_TOO)),
        "second tries of two messages": (arrive(WAITS), arrive(WAITS_TOO, now + TERMS.apart)),
        "a try after the end+removing it": (
            arrive(FORGOTTEN),
            alone(lambda tx: greylist.expire(tx, now)),
        ),
        "removing+removing": (
            alone(lambda tx: greylist.expire(tx, now)),
            alone(lambda tx: greylist.expire(tx, now)),
        ),
        # Who tried to come in
        "try+try": (s.tries("new@x.example", id=20), s.tries("new@x.example", id=30)),
        "try+try the other way round": (
            s.tries("known@x.example", "new@x.example", id=20),
            s.tries("new@x.example", "known@x.example", id=30),
        ),
        "try+come in after all": (
            s.tries("known@x.example", id=20),
            s.tries(id=30, arrives=True),
        ),
        "try+remove the account": (
            s.tries("new@x.example", id=20),
            alone(lambda tx: accounts.remove_account(tx, ana)),
        ),
        "try+erase": (
            s.tries("known@x.example", id=20),
            alone(lambda tx: knocks.erase_old(tx, now + KNOCK_AGE_MS + KNOCK + 1)),
        ),
        "let in+let in": (s.lets_in(KNOCK, id=50), s.lets_in(KNOCK, id=51)),
        "let in+remove the account": (
            s.lets_in(KNOCK, id=50),
            alone(lambda tx: accounts.remove_account(tx, ana)),
        ),
        "let in+take back": (
            s.lets_in(KNOCK, id=50),
            alone(lambda tx: admissions.revoke(tx, ana, KNOCK)),
        ),
        "come in by it+come in by it": (s.comes_in(60), s.comes_in(61)),
        "come in by it+take back": (
            s.comes_in(60),
            alone(lambda tx: admissions.revoke(tx, ana, KNOCK)),
        ),
        "come in by it+remove the account": (
            s.comes_in(60),
            alone(lambda tx: accounts.remove_account(tx, ana)),
        ),
        # Limits
        "merge+merge": (merge(Share("new", BUCKET, 3, 4)), merge(Share("new", BUCKET, 1, 4))),
        "merge+merge, the other way round": (
            merge(Share("new", BUCKET, 3), Share("old", BUCKET, 1)),
            merge(Share("old", BUCKET, 2), Share("new", BUCKET, 4)),
        ),
        "merge+forget what is full": (
            merge(Share("old", BUCKET, 3), Share("new", BUCKET, 1)),
            alone(partial(buckets.forget_full, now=now)),
        ),
        "forget+forget": (
            alone(partial(buckets.forget_full, now=now)),
            alone(partial(buckets.forget_full, now=now)),
        ),
        "stop+stop": (s.stop(), s.stop(952)),
        "stop+submit": (s.stop(), s.submit_unless_stopped()),
        "stop+let go": (s.stop(), s.let_go()),
        "stop+outcome": (s.stop(), s.settle_tracked(BUSY, now + 60_000)),
        "stop+delivered": (s.stop(), s.settle_tracked(TAKEN)),
        "tell+tell": (s.tell_of_luis(), s.tell_of_luis()),
        "tell+let": (
            s.tell_of_luis(),
            ((lambda tx: queue_stopped.let(tx, s.luis)), (luis,)),
        ),
        "stop+remove the account": (
            s.stop(),
            alone(lambda tx: accounts.remove_account(tx, ana)),
        ),
        # Upkeep
        "seal+seal": (
            alone(lambda tx: seal_slice(tx, now, limit=1)),
            alone(lambda tx: seal_slice(tx, now, limit=1)),
        ),
        "seal+accept": (alone(lambda tx: seal_slice(tx, now)), s.accept("b.example")),
        "trail+trail": (
            alone(lambda tx: trail.extend(tx, now, limit=1)),
            alone(lambda tx: trail.extend(tx, now)),
        ),
        "garbage+garbage": (
            alone(lambda tx: garbage._remove(tx, [s.old])),
            alone(lambda tx: garbage._remove(tx, [s.old])),
        ),
        "garbage+put": (
            alone(lambda tx: garbage._remove(tx, [s.old])),
            s.deliver(ana),
        ),
        "garbage+move": (
            alone(lambda tx: garbage._remove(tx, sorted(_bodies_of(tx, ana)))),
            s.copy_of_old_message(),
        ),
        "confirm+confirm": (
            alone(lambda tx: ledger.confirm(tx, s.sent.id)),
            alone(lambda tx: ledger.confirm(tx, s.sent.id)),
        ),
    }


def _bodies_of(tx: Tx, account: int) -> list[int]:
    return [id for (id,) in tx.rows("SELECT body FROM message WHERE account = ?", (account,))]


def orders(steps: Sequence[int], dice: random.Random) -> Iterator[str]:
    """One breaks off after each of its statements, or after some of many, and lets the other go
    first; then in turns; then some by chance."""
    for first, second, count in (("a", "b", steps[0]), ("b", "a", steps[1])):
        for n in sorted({1 + k * count // BREAKS_MAX for k in range(BREAKS_MAX)} | {count}):
            yield first * n + second * 200
    yield "ab" * 100
    for _ in range(2):
        yield "".join(dice.choice("ab") for _ in range(80))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, list[Line], Saved]]:
    stand = Stand(tmp_path_factory.mktemp("scene"), "postgresql")
    scene = Scene()

    async def fill() -> None:
        await scene.fill(stand)
        await stand.store.close()

    asyncio.run(fill())
    saved = Saved(stand.url)
    lines = [connect(stand.url), connect(stand.url)]
    yield scene, lines, saved
    for each in (*lines, saved):
        each.close()
    stand.clear()


NAMES = list(
    pairs(
        type(
            "Nothing",
            (),
            {
                "__getattr__": lambda self, name: lambda *_, **__: (lambda tx: None, ()),
                "out": None,
                "returned": None,
                "back": None,
            },
        )()
    )
)


@pytest.mark.parametrize("name", NAMES)
def test_any_order_is_one_after_the_other(
    scene: tuple[Scene, list[Line], Saved], name: str
) -> None:
    whole, lines, saved = scene
    pair = pairs(whole)[name]
    expected = []
    counts: list[list[int]] = []
    for serial in ("a" * 100 + "b" * 100, "b" * 100 + "a" * 100):
        saved.restore()
        outcomes, steps = run_pair(lines, saved.admin, pair, serial)
        expected.append((outcomes, told_by(saved)))
        counts.append(steps)
    seed = random.SystemRandom().randrange(1 << 30)
    for order in orders([max(c) for c in zip(*counts, strict=True)], random.Random(seed)):
        saved.restore()
        outcomes, _ = run_pair(lines, saved.admin, pair, order)
        state = told_by(saved)
        assert (outcomes, state) in expected, _told(name, seed, order, outcomes, state, expected)
        assert not overlooked(saved), order


def told_by(saved: Saved) -> list[tuple[str, str]]:
    """All rows but when destinations are looked at, which may be too early: see `overlooked`."""
    return [row for row in saved.dump() if row[0] != "destination"]


def overlooked(saved: Saved) -> list[Any]:
    """Rows of the queue that nobody will look at in time."""
    return saved.admin.execute(
        "SELECT queue.* FROM queue LEFT JOIN destination ON name = destination"
        " WHERE name IS NULL OR destination.due > queue.due"
    ).fetchall()


def _told(name: str, seed: int, order: str, outcomes: Any, state: Any, expected: Any) -> str:
    lines = [f"{name}, seed {seed}, {order.rstrip(order[-1])}{order[-1]}…: {outcomes}"]
    for label, (wanted, there) in zip(("a, b", "b, a"), expected, strict=True):
        lines.append(f"  {label} would give {wanted}")
        lines += [f"    here alone: {row}" for row in state if row not in there]
        lines += [f"    there alone: {row}" for row in there if row not in state]
    return "\n".join(lines)


def test_no_row_is_leased_twice(scene: tuple[Scene, list[Line], Saved]) -> None:
    """Who comes second passes over what the first has locked, and may find less than there is; it
    is there for the next look."""
    whole, lines, saved = scene
    pair = (whole.lease(80), whole.lease(81))
    for order in orders([8, 8], random.Random(1)):
        saved.restore()
        outcomes, _ = run_pair(lines, saved.admin, pair, order)
        tokens = saved.admin.execute(
            "SELECT lease, count(*) FROM queue WHERE destination IN ('b.example', 'c.example')"
            " GROUP BY lease"
        ).fetchall()
        by_token = dict(tokens)
        assert sum(by_token.values()) == 5
        assert [by_token.get(80, 0), by_token.get(81, 0)] != [0, 0]
        for token, jobs in zip((80, 81), outcomes, strict=True):
            assert jobs == (1 if by_token.get(token) else 0)
        assert not overlooked(saved), order
