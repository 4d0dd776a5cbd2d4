"""Parked: what others refuse because of our own set-up is held, not returned.

A permanent refusal whose cause is a fault of ours (explain/faults.toml) puts the row on hold, up to
a set time since it was parked first. It goes on when a check of that very thing has passed, or by
an operator's hand; refused again, it is held again, and released later each time. When the time is
up it is returned with the last refusal, without another attempt.

The row of `queue` is held by the reason that stands in `parked.held`; with another reason, or none,
it is in somebody else's hand, and left alone here. A row of `parked` outlives that of `queue` by a
moment: `tidy` removes it, so that no unit of outcome has to look. Each function is part of a unit.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

import msgspec

from estafeta.explain.faults import (
    Checked,
    Fault,
    addresses_in,
    block_list_of,
    family_of,
    fault_of,
)
from estafeta.mail.outcome import Outcome, Refused
from estafeta.queue import rows
from estafeta.queue.contract import Note
from estafeta.store import ledger
from estafeta.store.engine import Tx
from estafeta.store.rows import FAULT_HELD

RELEASE_SLICE = 200
"""Rows released, or given up, in one unit."""

REFUSED_AGAIN_MS_MAX = 4 * 3_600_000
"""Wait before a row is released again, at the longest: what was refused in spite of a check that
passed may be so because the other side still remembers what it knew before."""

FORGOTTEN_MS = 86_400_000
"""A fault for which nothing is held any more is forgotten after so long; the next one is told."""

_NOT_OURS = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""Nobody outside sees such an address."""


class Parking(msgspec.Struct, frozen=True):
    """Why a recipient is parked. about: what is to be checked, "" where that is not known.

    family: whose servers refused us.
    """

    fault: str
    about: str
    family: str

    @property
    def held(self) -> str:
        return f"{FAULT_HELD}{self.fault} {self.about}".rstrip()


class Park(msgspec.Struct, frozen=True):
    """What is decided of one recipient. until: milliseconds since 1970."""

    why: Parking
    until: int


class Standing(msgspec.Struct, frozen=True):
    """A fault for which mail is held. count: recipients. due: of the next check; milliseconds."""

    fault: str
    about: str
    count: int
    due: int
    finding: Checked | None


class Untold(msgspec.Struct, frozen=True):
    """What the administrator has not been told of: the fault, at whom, and one refusal."""

    parking: Parking
    count: int
    until: int
    acceptance: int
    refused: Refused | None


class Ended(msgspec.Struct, frozen=True):
    """Rows of one acceptance whose time is up, leased to return them. outcomes: the last ones."""

    leased: rows.Leased
    outcomes: tuple[Outcome, ...]


def parking(outcome: Outcome, notes: Sequence[Note], reverse_path: str) -> Parking | None:
    """What of ours a refusal names, None: nothing. notes: of the attempt."""
    if not isinstance(outcome, Refused):
        return None
    fault = fault_of(outcome.cause)
    if fault is None:
        return None
    return Parking(fault.code, _about(fault, outcome, notes, reverse_path), family_of(outcome.host))


def _about(fault: Fault, refused: Refused, notes: Sequence[Note], reverse_path: str) -> str:
    if fault.check == "tls":
        return ""
    address = _our_address(refused, notes)
    if fault.check == "block-list":
        known = block_list_of(refused.reply.text)
        return f"{address} {known.zone}" if address and known is not None else address
    if fault.check in ("sender-domain", "sender-dns"):
        domain = reverse_path.rpartition("@")[2]
        if fault.check == "sender-domain":
            return domain
        return f"{domain} {address}" if domain and address else domain
    return address


def _our_address(refused: Refused, notes: Sequence[Note]) -> str:
    """By which the other side saw us: what it names, unless that is its own, or what we connected
    from; "" where that is an address of an inner network and it does not say."""
    mine = ""
    for note in notes:
        if "from" in note.data:  # of a connection, or of a message on one that was kept
            mine = str(note.data["from"]).rpartition(":")[0].strip("[]")
    named = [each for each in addresses_in(refused.reply.text) if each not in refused.host]
    if mine and is_seen(mine) and (not named or mine in named):
        return mine
    return named[0] if named else ""


def is_seen(text: str) -> bool:
    """Whether others may see us under this address."""
    address = ipaddress.ip_address(text)
    hidden = address.is_loopback or address.is_link_local or address.is_unspecified
    return not hidden and not any(address in network for network in _NOT_OURS)


# By the unit of outcome ------------------------------------------------------------------------


def limits(tx: Tx, acceptance: int, numbers: Iterable[int]) -> dict[int, int]:
    """Until when those that were parked before may be, by number."""
    wanted = set(numbers)
    found = tx.rows("SELECT n, until FROM parked WHERE acceptance = ?", (acceptance,))
    return {n: until for n, until in found if n in wanted}


def park(tx: Tx, job: rows.Leased, n: int, wanted: Park, *, now: int, last: str) -> str:
    """Leased -> held, one attempt more. Returns what was wished of it. Raises LateOutcome.

    What was parked before keeps the time it was given then.
    """
    why = wanted.why
    wished: str | None = tx.value(
        "UPDATE queue SET lease = NULL, due = ?, held = ?, attempts = attempts + 1, last = ? "
        "WHERE acceptance = ? AND n = ? AND lease = ? RETURNING wish",
        (rows.NEVER, why.held, last, job.acceptance, n, job.token),
    )
    if wished is None:
        raise rows.LateOutcome(
            f"recipient {n} of {job.acceptance} is no longer leased to {job.token}"
        )
    tx.send(
        "INSERT INTO parked (acceptance, n, fault, about, family, held, since, until)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (acceptance, n) DO UPDATE SET"
        " fault = excluded.fault, about = excluded.about, family = excluded.family,"
        " held = excluded.held",
        (job.acceptance, n, why.fault, why.about, why.family, why.held, now, wanted.until),
    )
    tx.send(
        "INSERT INTO fault (code, about, due, seen) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (code, about) DO NOTHING",
        (why.fault, why.about, now, now),
    )
    return wished


# By whoever has the duty -----------------------------------------------------------------------


def anything(tx: Tx) -> bool:
    """Whether there is anything to look at."""
    return (
        tx.value("SELECT 1 FROM parked LIMIT 1") is not None
        or tx.value("SELECT 1 FROM fault LIMIT 1") is not None
    )


def tidy(tx: Tx, now: int) -> None:
    """Forgets what has left the queue, and faults for which nothing has been held for a while."""
    tx.run(
        "DELETE FROM parked WHERE NOT EXISTS (SELECT 1 FROM queue"
        " WHERE queue.acceptance = parked.acceptance AND queue.n = parked.n)"
    )
    tx.run(
        "UPDATE fault SET seen = ? WHERE EXISTS (SELECT 1 FROM parked"
        " WHERE parked.fault = fault.code AND parked.about = fault.about)",
        (now,),
    )
    tx.run("DELETE FROM fault WHERE seen < ?", (now - FORGOTTEN_MS,))
    tx.run(
        "DELETE FROM fault_told WHERE NOT EXISTS (SELECT 1 FROM fault"
        " WHERE fault.code = fault_told.code AND fault.about = fault_told.about)"
    )


def standing(tx: Tx) -> list[Standing]:
    """Every fault for which something is held now."""
    found = tx.rows(
        "SELECT p.fault, p.about, count(*), min(f.due), min(f.finding) FROM parked p"
        " JOIN queue q ON q.acceptance = p.acceptance AND q.n = p.n AND q.held = p.held"
        " JOIN fault f ON f.code = p.fault AND f.about = p.about"
        " GROUP BY p.fault, p.about ORDER BY p.fault, p.about"
    )
    return [
        Standing(fault, about, count, due, _decoded(finding))
        for fault, about, count, due, finding in found
    ]


def untold(tx: Tx) -> list[Untold]:
    """By fault and family: what is held, and was not told to the administrator."""
    found = tx.rows(
        "SELECT p.fault, p.about, p.family, count(*), max(p.until), min(p.acceptance) FROM parked p"
        " JOIN queue q ON q.acceptance = p.acceptance AND q.n = p.n AND q.held = p.held"
        " WHERE NOT EXISTS (SELECT 1 FROM fault_told t WHERE t.code = p.fault"
        " AND t.about = p.about AND t.family = p.family)"
        " GROUP BY p.fault, p.about, p.family ORDER BY p.fault, p.about, p.family"
    )
    groups = []
    for fault, about, family, count, until, acceptance in found:
        last = tx.value(
            "SELECT q.last FROM parked p JOIN queue q ON q.acceptance = p.acceptance AND q.n = p.n"
            " WHERE p.acceptance = ? AND p.fault = ? AND p.about = ? AND p.family = ?"
            " ORDER BY p.n LIMIT 1",
            (acceptance, fault, about, family),
        )
        refused = msgspec.json.decode(last, type=Outcome) if last else None
        why = Parking(fault, about, family)
        groups.append(
            Untold(why, count, until, acceptance, refused if isinstance(refused, Refused) else None)
        )
    return groups


def told(tx: Tx, why: Parking, now: int) -> bool:
    """It is told in this unit; False: somebody else has done so."""
    return bool(
        tx.run(
            "INSERT INTO fault_told (code, about, family, at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (code, about, family) DO NOTHING",
            (why.fault, why.about, why.family, now),
        )
    )


def checked(tx: Tx, fault: str, about: str, finding: Checked, due: int) -> None:
    """What a check came to, and when the next one is due."""
    tx.run(
        "UPDATE fault SET finding = ?, due = ? WHERE code = ? AND about = ?",
        (msgspec.json.encode(finding).decode(), due, fault, about),
    )


def release(
    tx: Tx, fault: str, about: str, finding: Checked, *, now: int, interval: int, event: int
) -> int:
    """Held -> waiting, due now: the next RELEASE_SLICE of those that may be. Returns how many.

    interval: between checks; a row that was released before waits twice as long each time. event:
    an id, for those it becomes.
    """
    found = tx.rows(
        "SELECT p.acceptance, p.n, p.releases, q.destination FROM parked p"
        " JOIN queue q ON q.acceptance = p.acceptance AND q.n = p.n"
        " WHERE p.fault = ? AND p.about = ? AND p.next <= ? AND p.until > ? AND q.held = p.held"
        " AND q.lease IS NULL ORDER BY p.acceptance, p.n LIMIT ? /*postgresql: FOR UPDATE OF q */",
        (fault, about, now, now, RELEASE_SLICE),
    )
    by_acceptance: dict[int, list[int]] = {}
    for acceptance, n, releases, _ in found:
        wait = min(interval << min(releases, 20), REFUSED_AGAIN_MS_MAX)
        tx.run(
            "UPDATE queue SET held = '', due = ? WHERE acceptance = ? AND n = ?",
            (now, acceptance, n),
        )
        tx.run(
            "UPDATE parked SET releases = releases + 1, next = ? WHERE acceptance = ? AND n = ?",
            (now + wait, acceptance, n),
        )
        by_acceptance.setdefault(acceptance, []).append(n)
    detail = {"fault": fault, "about": about, "finding": finding}
    for acceptance, numbers in by_acceptance.items():
        ledger.add_event(
            tx,
            event,
            acceptance,
            now,
            ledger.ALL_RECIPIENTS,
            "unparked",
            {"recipients": numbers, **detail},
        )
    for destination in sorted({row[3] for row in found}):
        rows.expect(tx, destination, now)
    if found:
        tx.hint(rows.HINT)
    return len(found)


def take_ended(tx: Tx, now: int, *, until: int, tokens: Sequence[int]) -> list[Ended]:
    """Held -> leased, for those whose time is up: one acceptance and destination for each token.

    Whoever takes them returns them by what they were last told.
    """
    found = tx.rows(
        "SELECT p.acceptance, q.destination, p.n, q.attempts, q.last FROM parked p"
        " JOIN queue q ON q.acceptance = p.acceptance AND q.n = p.n"
        " WHERE p.until <= ? AND q.held = p.held AND q.lease IS NULL"
        " ORDER BY p.acceptance, p.n LIMIT ? /*postgresql: FOR UPDATE OF q SKIP LOCKED */",
        (now, RELEASE_SLICE),
    )
    groups: dict[tuple[int, str], list[tuple[int, int, str]]] = {}
    for acceptance, destination, *row in found:
        groups.setdefault((acceptance, destination), []).append((row[0], row[1], row[2]))
    ended = []
    for token, ((acceptance, destination), group) in zip(tokens, groups.items(), strict=False):
        tx.run_many(
            "UPDATE queue SET lease = ?, due = ?, held = '' WHERE acceptance = ? AND n = ?",
            [(token, until, acceptance, n) for n, _, _ in group],
        )
        leased = rows.Leased(
            token,
            acceptance,
            destination,
            tuple(n for n, _, _ in group),
            tuple(attempts for _, attempts, _ in group),
        )
        outcomes = tuple(msgspec.json.decode(last, type=Outcome) for _, _, last in group)
        ended.append(Ended(leased, outcomes))
    for destination in sorted({each.leased.destination for each in ended}):
        rows.expect(tx, destination, until)
    return ended


def count(tx: Tx) -> int:
    """Recipients parked."""
    return int(tx.value("SELECT COUNT(*) FROM parked"))


def _decoded(finding: str) -> Checked | None:
    return msgspec.json.decode(finding, type=Checked) if finding else None
