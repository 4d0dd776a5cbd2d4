"""Listing: the rows of the queue as people and programs see them, a page at a time."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from estafeta.mail.outcome import Deferred, Outcome, Refused
from estafeta.queue import backoff, returns, wish
from estafeta.queue.hand import OF_SENDER
from estafeta.queue.rows import RETURNING
from estafeta.queue.suspended import Standing, standing
from estafeta.store.engine import Row, Tx
from estafeta.store.ids import parse_queue_id, queue_id

State = Literal["waiting", "sending", "held", "suspended", "returning"]
STATES: tuple[State, ...] = ("waiting", "sending", "held", "suspended", "returning")

_SELECT = (
    "SELECT q.acceptance, q.n, r.address, a.reverse_path, q.destination, a.size, a.at, q.due,"
    " q.attempts, q.lease IS NOT NULL, q.held, q.wish, q.last"
    " FROM queue q JOIN acceptance a ON a.id = q.acceptance"
    " JOIN recipient r ON r.acceptance = q.acceptance AND r.n = q.n"
)


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """All that is given must fit. older_than: accepted at that time or before, in milliseconds.

    account: whose messages, see hand.OF_SENDER; None: everybody's. cause: of the last attempt.
    """

    acceptance: int | None = None
    sender: str = ""
    recipient: str = ""
    destination: str = ""
    state: State | Literal[""] = ""
    cause: str = ""
    older_than: int | None = None
    account: int | None = None


class Waiting(msgspec.Struct, frozen=True):
    """One recipient that waits. Times in milliseconds since 1970.

    due: when it is tried next; 0 where nobody can say.
    returning: it failed, and waits for others of its message to be in one bounce with them.
    reason: why it is held or suspended, or what happens to it once it is not being sent any more.
    waits_for: the host, or "@" and the domain, that is left alone for the time being. cursor: to
    go on behind this row.
    """

    cursor: str
    queue_id: str
    recipient: str
    sender: str
    destination: str
    size: int
    accepted: int
    due: int
    attempts: int
    state: State
    reason: str
    cause: str
    reply: str
    waits_for: str


class Page(msgspec.Struct, frozen=True):
    """next: the cursor of the page behind, "" where this is the last."""

    rows: list[Waiting]
    next: str


def page(tx: Tx, wanted: Filter, *, cursor: str = "", limit: int) -> Page:
    """The oldest first. cursor: of the page before. Raises ValueError: it is none."""
    said = standing(tx)
    where, given = _where(wanted, said)
    after = _after(cursor) if cursor else (0, -1)
    found = tx.rows(
        f"{_SELECT} WHERE (q.acceptance, q.n) > (?, ?){where} ORDER BY q.acceptance, q.n LIMIT ?",
        [*after, *given, limit + 1],
    )
    shown = found[:limit]
    waits = {name: _waits_for(tx, name) for name in {row[4] for row in shown}}
    listed = [_waiting(row, said, waits[row[4]]) for row in shown]
    return Page(listed, listed[-1].cursor if len(found) > limit else "")


def _after(cursor: str) -> tuple[int, int]:
    """Raises ValueError."""
    id, _, n = cursor.partition(".")
    if not (n.isascii() and n.isdigit() and len(n) < 10):
        raise ValueError(f"{cursor!r} is not a cursor: the one of the page before was expected")
    return parse_queue_id(id), int(n)


def _where(wanted: Filter, said: Standing) -> tuple[str, list[Any]]:
    where: list[str] = []
    given: list[Any] = []
    for condition, value in (
        ("q.acceptance = ?", wanted.acceptance),
        (OF_SENDER, wanted.account),
        ("lower(a.reverse_path) = ?", _lowered(wanted.sender)),
        ("lower(r.address) = ?", _lowered(wanted.recipient)),
        ("q.destination = ?", wanted.destination or None),
        ("a.at <= ?", wanted.older_than),
        # Codes are letters and hyphens; in JSON another's words have their quotes escaped.
        ("q.last LIKE ?", f'%"cause":"{wanted.cause}"%' if wanted.cause else None),
    ):
        if value is not None:
            where.append(condition)
            given.append(value)
    conditions, names = _state(wanted.state, said)
    return "".join(f" AND {each}" for each in [*where, *conditions]), [*given, *names]


def _state(state: str, said: Standing) -> tuple[list[str], list[str]]:
    names = sorted(said.suspensions)
    marks = ", ".join("?" * len(names))
    match state:
        case "sending":
            return ["q.lease IS NOT NULL", f"q.destination <> '{RETURNING}'"], []
        case "returning":
            return ["q.held = ''", f"q.destination = '{RETURNING}'"], []
        case "held":
            return ["q.lease IS NULL", "q.held <> ''"], []
        case "waiting" | "suspended" as which:
            idle = ["q.lease IS NULL", "q.held = ''", f"q.destination <> '{RETURNING}'"]
            if said.all:
                return [*idle, "1 = 1" if which == "suspended" else "1 = 0"], []
            if not names:
                return [*idle, "1 = 0" if which == "suspended" else "1 = 1"], []
            among = "IN" if which == "suspended" else "NOT IN"
            return [*idle, f"q.destination {among} ({marks})"], names
    return [], []


def _waiting(row: Row, said: Standing, waits_for: tuple[str, int]) -> Waiting:
    id, n, address, sender, destination, size, at, due, attempts, leased, held, wished, last = row
    outcome = msgspec.json.decode(last, type=Outcome) if last else None
    state, reason = _standing(leased, held, wished, said, destination)
    name, until = waits_for
    return Waiting(
        cursor=f"{queue_id(id)}.{n}",
        queue_id=queue_id(id),
        recipient=address,
        sender=sender,
        destination=returns.destination_of(last) if state == "returning" else destination,
        size=size,
        accepted=at,
        due=max(due, until) if state == "waiting" else 0,
        attempts=attempts,
        state=state,
        reason=reason,
        cause=outcome.cause if isinstance(outcome, Deferred | Refused) else "",
        reply=str(outcome.reply) if outcome is not None else "",
        waits_for=name if state == "waiting" else "",
    )


def _standing(
    leased: bool, held: str, wished: str, said: Standing, destination: str
) -> tuple[State, str]:
    """In which state a row is, and why."""
    if destination == RETURNING and not held:
        return "returning", ""
    if leased:
        wanted = wish.wished(wished)
        if wanted is None:
            return "sending", ""
        then = "held" if wanted.kind == "hold" else "cancelled"
        return "sending", f"{then} unless it is taken: {wanted.text}"
    if held:
        return "held", held
    suspension = said.suspends(destination)
    return ("waiting", "") if suspension is None else ("suspended", suspension.reason)


def _waits_for(tx: Tx, destination: str) -> tuple[str, int]:
    """What its destination waits for, and until when at least; "" and 0 for nothing."""
    found = backoff.waits_for(tx, destination)
    return ("", 0) if found is None else (found.name, found.not_before)


def _lowered(address: str) -> str | None:
    """ASCII alone, as lower() of SQL does on either engine."""
    return address.encode("utf-8", "replace").lower().decode() if address else None
