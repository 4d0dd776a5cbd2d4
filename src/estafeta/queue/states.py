"""Queue states: what a row of `queue` may be, how it changes, and what a crash leaves.

The table is data: docs/queue-states.md is made from it, and tests/queue/test_states.py drives each
transition and crashes in the middle of it. The commit instant of every transition is the COMMIT of
the one unit named; before it the old state holds, after it the new one.
"""

from __future__ import annotations

import msgspec


class State(msgspec.Struct, frozen=True):
    """One state and the columns that say so."""

    name: str
    columns: str
    meaning: str
    after_crash: str


class Transition(msgspec.Struct, frozen=True):
    """from_, to: names of states, "" for no row. unit: the function that commits it."""

    from_: str
    to: str
    when: str
    unit: str
    ledger: str


STATES = (
    State(
        "waiting",
        "lease IS NULL, held = '', due = when it is tried next",
        "nobody works on it",
        "waits on; tried when due",
    ),
    State(
        "leased",
        "lease = token of the worker's job, due = end of the lease",
        "a worker is attempting it",
        "when its worker is known to be dead it is due at once, else when the lease ends, and is "
        "taken by whoever comes first. The attempt may be made twice, the outcome is recorded once",
    ),
    State(
        "wished",
        "lease = token of the worker's job, wish = what somebody wants of it",
        "a worker is attempting it, and somebody has held or cancelled it meanwhile",
        "as leased; then it is not attempted again, the wish is granted",
    ),
    State(
        "returning",
        "destination = '(returning)', due = a minute after it failed; leased by whoever returns it",
        "it failed while other recipients of the message were under way, and waits for them, to be "
        "in one bounce with those that fail too",
        "returned when due, by a job without an attempt, with all of the message that wait then",
    ),
    State(
        "held",
        "held = reason, lease IS NULL, due = never",
        "an operator or a rule stopped it",
        "stays held",
    ),
)

TRANSITIONS = (
    Transition(
        "", "waiting", "accepted for a domain that is not ours", "rows.enqueue", "recipient open"
    ),
    Transition(
        "",
        "leased",
        "accepted, and this worker has room for the destination: no second transaction to take it",
        "rows.enqueue",
        "recipient open",
    ),
    Transition("waiting", "leased", "due, and the destination has room", "rows.lease", "unchanged"),
    Transition("leased", "", "taken by the next server", "rows.finish", "relayed"),
    Transition("leased", "", "refused, or given up", "rows.finish", "returned, or dropped by rule"),
    Transition(
        "leased",
        "returning",
        "refused, or given up, and the message has recipients in other jobs",
        "rows.begin_return",
        "unchanged; an event",
    ),
    Transition(
        "returning",
        "",
        "no other recipient is under way, or it is due: one bounce for all that wait",
        "returns.return_all",
        "returned; an event",
    ),
    Transition("leased", "", "ours after all, and placed", "rows.finish", "stored"),
    Transition("leased", "waiting", "deferred", "rows.defer", "unchanged; an event"),
    Transition(
        "leased",
        "waiting",
        "its turn came while its host had no time: no attempt",
        "rows.postpone",
        "unchanged",
    ),
    Transition(
        "leased",
        "waiting",
        "its worker has ended",
        "rows.give_back",
        "unchanged",
    ),
    Transition("waiting", "waiting", "tried now by hand", "hand.retry", "unchanged; an event"),
    Transition("waiting", "held", "put on hold", "hand.hold", "unchanged; an event"),
    Transition("held", "waiting", "released: due now", "hand.release", "unchanged; an event"),
    Transition("waiting", "", "cancelled", "hand.cancel", "cancelled; an event"),
    Transition("held", "", "cancelled", "hand.cancel", "cancelled; an event"),
    Transition(
        "waiting",
        "",
        "corrected: a child acceptance goes to the other address",
        "correct.correct",
        "cancelled; an event",
    ),
    Transition(
        "leased",
        "wished",
        "put on hold, cancelled or corrected while it is being attempted",
        "wish.wish",
        "unchanged; an event",
    ),
    Transition("wished", "leased", "the hold is released", "wish.wish", "unchanged; an event"),
    Transition(
        "wished",
        "",
        "taken, refused or given up: the attempt has ended it",
        "rows.finish",
        "relayed, or as it was refused",
    ),
    Transition("wished", "held", "deferred, and to be held", "wish.grant", "unchanged"),
    Transition("wished", "", "deferred, and cancelled", "wish.grant", "cancelled"),
    Transition(
        "wished",
        "held",
        "its worker has ended, and it was to be held",
        "wish.grant_due",
        "unchanged",
    ),
    Transition(
        "wished", "", "its worker has ended, and it was cancelled", "wish.grant_due", "cancelled"
    ),
    Transition(
        "leased",
        "held",
        "refused for a fault of our own set-up, and park_max is not over",
        "parked.park",
        "unchanged; an event",
    ),
    Transition(
        "held",
        "waiting",
        "that fault is mended: due now",
        "parked.release",
        "unchanged; an event",
    ),
    Transition(
        "held",
        "leased",
        "that fault was not mended in time: a worker returns it, without an attempt",
        "parked.take_ended",
        "unchanged",
    ),
)
