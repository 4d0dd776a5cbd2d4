"""Settle: from the outcomes of one attempt to one unit that changes every fate they change.

Promises: the rows, the ledger, the event and the bounce of an attempt are one transaction; an
outcome that comes after its lease was lost changes nothing and leaves an event; a null reverse-path
is never returned to (RFC 5321 §4.5.5), nor a recipient whose NOTIFY is NEVER (RFC 3461 §4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Deferred, Delivered, Outcome
from estafeta.queue import backoff, parked, returns, rows, wish
from estafeta.queue.contract import Note, Prepared
from estafeta.queue.notices import Failure
from estafeta.store import ledger, tracker
from estafeta.store.engine import Tx
from estafeta.store.rows import Acceptance, Dropped, Expanded, Fate, Relayed, Returned


class Attempted(msgspec.Struct):
    """One job after its attempt. Sequences are parallel to leased.numbers.

    next_tries: milliseconds since 1970, None to give up; read for `Deferred` alone.
    child: the acceptance that takes over those in `in_child` (indices), who are ours after all.
    seen: hosts that failed or answer again. waits_for: what the destination waits for from now on.
    untried: no host had time, and so no attempt was made. parks: by index, those that are held for
    a fault of ours. meant: the addresses probably meant, or () for none. tried: False where what
    was held for too long is returned without an attempt. together: who failed is returned with
    those of other jobs (queue/returns.py). last: by number, when those were tried last that are
    given up without an attempt.
    """

    leased: rows.Leased
    acceptance: Acceptance
    recipients: Sequence[Recipient]
    outcomes: Sequence[Outcome]
    notes: Sequence[Note]
    next_tries: Sequence[int | None]
    began: int
    ended: int
    child: Prepared | None = None
    in_child: frozenset[int] = frozenset()
    seen: Sequence[backoff.Seen] = ()
    waits_for: Sequence[str] = ()
    untried: bool = False
    parks: dict[int, parked.Park] = {}
    meant: Sequence[str] = ()
    tried: bool = True
    together: bool = False
    last: dict[int, int] = {}

    @property
    def silent(self) -> bool:
        """All were taken, and nobody is to be told of that: as a rule."""
        taken = all(isinstance(outcome, Delivered) for outcome in self.outcomes)
        return taken and not self.relayed_silently()

    def failures(self) -> list[Failure]:
        """Recipients that end here without having arrived, and whose sender is told of it."""
        if not self.acceptance.reverse_path:
            return []
        return [each for each in self._unarrived().values() if wants_failure(each.recipient)]

    def returning(self) -> dict[int, Failure]:
        """Those of them, by index, that wait for the recipients of other jobs."""
        if not (self.together and self.acceptance.reverse_path):
            return {}
        return {n: each for n, each in self._unarrived().items() if wants_failure(each.recipient)}

    def lost(self) -> list[Failure]:
        """Recipients that end so, and nobody can be told: there is no return address."""
        return [] if self.acceptance.reverse_path else list(self._unarrived().values())

    def _unarrived(self) -> dict[int, Failure]:
        return {
            n: Failure(
                recipient=recipient,
                outcome=self.outcomes[n],
                at=self.last.get(self.leased.numbers[n], self.ended),
                first=0 if self.leased.attempts[n] else self.began,
                attempts=self.leased.attempts[n] + (self.tried and not self.untried),
                meant=self.meant[n] if self.meant else "",
                expired=isinstance(self.outcomes[n], Deferred),
            )
            for n, recipient in enumerate(self.recipients)
            if self.ends_unarrived(n)
        }

    def ends_unarrived(self, n: int) -> bool:
        """Refused for good, or deferred once too often."""
        if n in self.parks:
            return False
        outcome = self.outcomes[n]
        if isinstance(outcome, Deferred):
            return self.next_tries[n] is None
        return not isinstance(outcome, Delivered)

    def relayed_silently(self) -> list[int]:
        """Recipients taken by a server that does not report, whose sender wants to be told."""
        return [
            n
            for n, outcome in enumerate(self.outcomes)
            if isinstance(outcome, Delivered)
            and not outcome.reports
            and n not in self.in_child
            and "SUCCESS" in self.recipients[n].notify
            and self.acceptance.reverse_path
        ]


def wants_failure(recipient: Recipient) -> bool:
    """RFC 3461 §4.1: without NOTIFY, failures are reported."""
    return not recipient.notify or "FAILURE" in recipient.notify


def settle(
    tx: Tx, done: Attempted, event_id: int, notices: Sequence[Prepared]
) -> tuple[str, int] | None:
    """The unit of outcome. notices: what tells of failures, if anything, first. Raises LateOutcome.

    Returns what the destination waits for from now on, and until when; None for nothing.
    """
    leased, acceptance = done.leased, done.acceptance
    for host in done.seen:
        backoff.note(tx, host, done.ended)
    waiting = done.returning()
    bounce = notices[0].id if notices and (done.failures() or done.lost()) else 0
    for n, (number, outcome) in enumerate(zip(leased.numbers, done.outcomes, strict=True)):
        due = done.next_tries[n]
        if isinstance(outcome, Deferred) and due is not None:
            last = msgspec.json.encode(outcome).decode()
            wished = rows.defer(tx, leased, number, due=due, last=last)
            wish.grant(tx, acceptance.id, number, wished, done.ended)
            continue
        if n in done.parks:
            last = msgspec.json.encode(outcome).decode()
            wished = parked.park(tx, leased, number, done.parks[n], now=done.ended, last=last)
            wish.grant(tx, acceptance.id, number, wished, done.ended)
            continue
        if n in waiting:
            returns.begin(tx, leased, number, waiting[n], done.ended)
            continue
        rows.finish(tx, leased, number)
        fate: Fate
        if n in done.in_child and done.child is not None:
            fate = Expanded(done.child.id)
        elif isinstance(outcome, Delivered):
            fate = Relayed(outcome.host, str(outcome.reply))
        else:
            fate = _fate_of_failure(done, n, bounce)
        ledger.end(tx, acceptance.id, number, fate, done.ended)
    kind = "attempt" if done.tried else "unparked"
    ledger.add_event(
        tx, event_id, acceptance.id, done.began, ledger.ALL_RECIPIENTS, kind, _detail(done)
    )
    if done.child is not None:
        done.child.apply(tx)
    for notice in notices:
        notice.apply(tx)
    tracker.follow(tx, acceptance)
    waits = None
    if done.waits_for or leased.probe:
        waits = backoff.after(tx, leased.destination, leased.probe, done.waits_for)
    return waits


def _fate_of_failure(done: Attempted, n: int, bounce: int) -> Fate:
    if not done.acceptance.reverse_path:
        return Expanded(bounce) if bounce else Dropped("double-bounce")
    if not wants_failure(done.recipients[n]):
        return Dropped("notify-never")
    return Returned(bounce)


def record_late(tx: Tx, done: Attempted, event_id: int) -> None:
    """Says in the journey, once, that an attempt ended after its lease was lost."""
    if ledger.has_event(tx, done.acceptance.id, event_id):
        return
    ledger.add_event(
        tx,
        event_id,
        done.acceptance.id,
        done.began,
        ledger.ALL_RECIPIENTS,
        "late-outcome",
        _detail(done),
    )


def _detail(done: Attempted) -> dict[str, Any]:
    """Outcomes and notes are structs, which become JSON with the rest."""
    more: dict[str, Any] = {}
    if any(done.meant):
        more["meant"] = done.meant
    if done.parks:
        more["parked"] = {str(done.leased.numbers[n]): each for n, each in done.parks.items()}
    return {
        **more,
        "destination": done.leased.destination,
        "recipients": done.leased.numbers,
        "outcomes": done.outcomes,
        "next": done.next_tries,
        "ended": done.ended,
        "notes": done.notes,
    }
