"""Backoff: servers that have no time for us, and who waits for them. Each function part of a unit.

A host that fails as a whole (no connection, 421, a greeting that says no) is the same for all
messages that would go there, whatever their domain. So it is one row: since when, how often, and
when one message, the probe, may try again. Destinations that have no other way wait for that row
(`destination.waits_for`) and are not looked at; of all that waits, one row of the queue is leased
when the probe is due. Once it is through, all are released.

A domain that says that we send too fast waits likewise, for a row named by "@" and the domain.

That `waits_for <> ''` stands beside what says so already is for the index, which has no others.

`backoff.due` may be early, never late: it is `not_before`, or when the first row that waits is due.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import msgspec

from estafeta.mail.outcome import Deferred
from estafeta.queue.limits import PROBE_SECONDS
from estafeta.store.engine import Tx

NEVER = 1 << 62
HINT = ("queue", 0)
LOOK_AGAIN_MS = 5000  # where those that wait could not be taken just now
_CANDIDATES = 20  # destinations looked at for one that can be taken

Wait = Callable[[int], int]
"""How many failures in a row -> milliseconds until the next probe."""


class Standing(msgspec.Struct, frozen=True):
    """A row of `backoff`. Times in milliseconds since 1970. probed: somebody is at it now; then
    `not_before` is when that is not waited for any more."""

    name: str
    since: int
    failures: int
    changed: int
    not_before: int
    probed: bool
    why: Deferred


class Seen(msgspec.Struct, frozen=True):
    """What an attempt saw of a host. failure: None where a probe was answered well. wait: as above.

    began: of the attempt, in milliseconds since 1970.
    """

    name: str
    failure: Deferred | None
    wait: Wait
    began: int


def of_domain(destination: str) -> str:
    """The name under which a domain itself is waited for."""
    return f"@{destination}"


def standing(tx: Tx, name: str) -> Standing | None:
    """None: nothing is known against it."""
    row = tx.row(
        "SELECT name, since, failures, changed, not_before, prober, why FROM backoff "
        "WHERE name = ?",
        (name,),
    )
    if row is None:
        return None
    found, since, failures, changed, not_before, prober, why = row
    return Standing(
        name=found,
        since=since,
        failures=failures,
        changed=changed,
        not_before=not_before,
        probed=prober is not None,
        why=msgspec.json.decode(why, type=Deferred),
    )


def waits_for(tx: Tx, destination: str) -> Standing | None:
    """What keeps a destination waiting."""
    name = tx.value("SELECT waits_for FROM destination WHERE name = ?", (destination,))
    return standing(tx, name) if name else None


def probe(tx: Tx, name: str, now: int, prober: int) -> bool:
    """The one probe begins, for a host whose time has come; False: somebody else is at it."""
    until = now + int(PROBE_SECONDS * 1000)
    return bool(
        tx.run(
            "UPDATE backoff SET not_before = ?, due = ?, prober = ? "
            "WHERE name = ? AND not_before <= ?",
            (until, until, prober, name, now),
        )
    )


def note(tx: Tx, seen: Seen, now: int) -> None:
    """A host failed, or answered a probe well.

    A failure counts once for all attempts that were under way when it was noted first.
    """
    if seen.failure is None:
        recovered(tx, seen.name)
        return
    known = tx.row(
        "SELECT since, failures, changed FROM backoff WHERE name = ? /*postgresql: FOR UPDATE */",
        (seen.name,),
    )
    since, failures, changed = known or (now, 0, 0)
    if seen.began < changed:
        return
    failures += 1
    not_before = now + seen.wait(failures)
    tx.send(
        "INSERT INTO backoff (name, since, failures, changed, not_before, due, prober, why) "
        "VALUES (?, ?, ?, ?, ?, ?, NULL, ?) ON CONFLICT (name) DO UPDATE SET "
        "failures = excluded.failures, changed = excluded.changed, "
        "not_before = excluded.not_before, due = excluded.due, prober = NULL, why = excluded.why",
        (
            *(seen.name, since, failures, now, not_before, not_before),
            msgspec.json.encode(seen.failure).decode(),
        ),
    )


def recovered(tx: Tx, name: str) -> None:
    """It answers again: whoever waited is looked at."""
    tx.send("DELETE FROM backoff WHERE name = ?", (name,))
    tx.send(
        "UPDATE destination SET waits_for = '' WHERE waits_for = ? AND waits_for <> ''", (name,)
    )
    tx.hint(HINT)


def wait(tx: Tx, destination: str, names: Sequence[str]) -> str:
    """`destination` waits for the first of `names` that may be probed; for nothing without any.

    Its row is locked first, so that none is waited for that is being released. Returns its name;
    the caller settles it, and what was waited for before.
    """
    found = ""
    if names:
        marks = ", ".join("?" * len(names))
        found = tx.value(
            f"SELECT name FROM backoff WHERE name IN ({marks}) "  # noqa: S608 (only `?`)
            "ORDER BY not_before, name LIMIT 1 /*postgresql: FOR UPDATE */",
            tuple(names),
        )
    tx.send(
        "UPDATE destination SET waits_for = ? WHERE name = ? AND waits_for <> ?",
        (found or "", destination, found or ""),
    )
    return found or ""


def ensure(tx: Tx, seen: Seen, now: int) -> None:
    """A host that failed a moment ago is noted, where that is not done yet."""
    if seen.failure is not None and standing(tx, seen.name) is None:
        note(tx, seen, now)


def after(tx: Tx, destination: str, probe: str, blocked: Sequence[str]) -> tuple[str, int] | None:
    """At the end of an attempt: what `destination` waits for now, and until when at least.

    probe: what it waited for when it was leased. blocked: see `wait`.
    """
    waits = wait(tx, destination, blocked)
    for name in sorted({probe, waits} - {""}):
        settle(tx, name)
    found = standing(tx, waits) if waits else None
    return None if found is None else (waits, found.not_before)


def hurry(tx: Tx, destination: str, now: int) -> None:
    """Somebody wants `destination` tried now: it waits for nothing any more, and what it waited for
    may be asked, unless somebody is at it already."""
    name = tx.value("SELECT waits_for FROM destination WHERE name = ?", (destination,))
    if not name:
        return
    tx.send(
        "UPDATE backoff SET not_before = ? WHERE name = ? AND not_before > ? AND prober IS NULL",
        (now, name, now),
    )
    wait(tx, destination, ())
    settle(tx, name)


def release_all(tx: Tx) -> None:
    """Nobody waits for anything any more; whose host still has no time will hear of it."""
    tx.send("UPDATE destination SET waits_for = '' WHERE waits_for <> ''")


def settle(tx: Tx, name: str) -> None:
    """Makes `backoff.due` exact."""
    known = tx.row(
        "SELECT not_before, due FROM backoff WHERE name = ? /*postgresql: FOR UPDATE */", (name,)
    )
    if known is None:
        return
    first = tx.value(
        "SELECT MIN(due) FROM destination WHERE waits_for = ? AND waits_for <> ''", (name,)
    )
    due = NEVER if first is None else max(known[0], first)
    if due != known[1]:
        tx.send("UPDATE backoff SET due = ? WHERE name = ?", (due, name))


def expect(tx: Tx, destination: str, due: int) -> None:
    """A row of `destination` is due earlier than any before: what it waits for knows."""
    tx.send(
        "UPDATE backoff SET due = CASE WHEN not_before > ? THEN not_before ELSE ? END "
        "WHERE due > ? AND due > not_before "
        "AND name = (SELECT waits_for FROM destination WHERE name = ?)",
        (due, due, due, destination),
    )


def probes_due(
    tx: Tx, now: int, until: int, limit: int, busy: Collection[str]
) -> list[tuple[str, str]]:
    """(name, destination) for each probe whose time has come: the destination that waits longest.

    Nobody else looks at them before `until`, unless they are settled.
    """
    found: list[tuple[str, str]] = []
    names = tx.rows(
        "SELECT name FROM backoff WHERE due <= ? ORDER BY due, name LIMIT ? "
        "/*postgresql: FOR UPDATE SKIP LOCKED */",
        (now, limit),
    )
    for (name,) in names:
        waiting = tx.rows(
            "SELECT name FROM destination WHERE waits_for = ? AND waits_for <> '' AND due <= ? "
            "ORDER BY due, name LIMIT ?",
            (name, now, _CANDIDATES + len(busy)),
        )
        first = next((each for (each,) in waiting if each not in busy), None)
        if first is not None:
            found.append((name, first))
            tx.send("UPDATE backoff SET due = ? WHERE name = ?", (until, name))
        elif waiting:
            again = now + LOOK_AGAIN_MS
            tx.send("UPDATE backoff SET due = ? WHERE name = ?", (again, name))
        else:
            settle(tx, name)
    return found


def give_back(tx: Tx, now: int, tokens: range) -> None:
    """Probes of workers that have ended may be made by others. tokens: theirs."""
    tx.send(
        "UPDATE backoff SET prober = NULL, not_before = ?, due = ? WHERE prober BETWEEN ? AND ?",
        (now, now, tokens.start, tokens.stop - 1),
    )


def next_due(tx: Tx) -> int | None:
    """When a probe is due next; None where nobody waits for one."""
    due: int | None = tx.value("SELECT MIN(due) FROM backoff")
    return None if due is None or due == NEVER else due


_STALE = (
    "FROM backoff WHERE not_before < ? AND NOT EXISTS "
    "(SELECT 1 FROM destination WHERE waits_for = backoff.name AND waits_for <> '')"
)


def is_stale(tx: Tx, before: int) -> bool:
    """Whether there are any for `forget`."""
    return tx.value(f"SELECT 1 {_STALE} LIMIT 1", (before,)) is not None


def forget(tx: Tx, before: int) -> None:
    """Hosts that nobody waits for and nobody has asked since `before`."""
    tx.send(f"DELETE {_STALE}", (before,))
