"""Suspended: destinations that are not attempted for the time being, and those that go elsewhere.

Rows of a suspended destination stay as they are, due or not, and nobody leases them. The clock goes
on: what has become too old meanwhile gets one last try when the destination is resumed, and is
returned by that (docs/decisions/0111). What is under way ends as it would have.

A worker keeps what the store says (`Standing`) because an acceptance takes work on without looking
there; it is read anew with each hint of the queue.
"""

from __future__ import annotations

import msgspec

from estafeta.queue import backoff, rows
from estafeta.store.engine import Tx

ALL = "*"
"""Stands for every destination; of two drains the one that names a destination counts."""


class Suspension(msgspec.Struct, frozen=True):
    """at: milliseconds since 1970."""

    destination: str
    reason: str
    who: str
    at: int


class Drain(msgspec.Struct, frozen=True):
    """host: a name or an address. at: milliseconds since 1970."""

    destination: str
    host: str
    port: int
    who: str
    at: int


class Standing(msgspec.Struct, frozen=True):
    """Everything of the kind, by destination."""

    suspensions: dict[str, Suspension] = {}
    drains: dict[str, Drain] = {}

    @property
    def all(self) -> bool:
        """Nothing at all is attempted."""
        return ALL in self.suspensions

    def suspends(self, destination: str) -> Suspension | None:
        if not self.suspensions:
            return None
        return self.suspensions.get(destination) or self.suspensions.get(ALL)


def standing(tx: Tx) -> Standing:
    suspensions = tx.rows("SELECT destination, reason, who, at FROM suspension ORDER BY 1")
    drains = tx.rows("SELECT destination, host, port, who, at FROM drain ORDER BY 1")
    return Standing(
        {row[0]: Suspension(*row) for row in suspensions}, {row[0]: Drain(*row) for row in drains}
    )


def suspend(tx: Tx, suspension: Suspension) -> None:
    """Whoever said so last, and why."""
    s = suspension
    tx.send(
        "INSERT INTO suspension (destination, reason, who, at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (destination) DO UPDATE"
        " SET reason = excluded.reason, who = excluded.who, at = excluded.at",
        (s.destination, s.reason, s.who, s.at),
    )
    tx.hint(rows.HINT)


def resume(tx: Tx, destination: str) -> bool:
    """What is due is attempted at once. False: it was not suspended."""
    found = tx.run("DELETE FROM suspension WHERE destination = ?", (destination,))
    tx.hint(rows.HINT)
    return found > 0


def drain(tx: Tx, wanted: Drain) -> None:
    """From now on its mail goes there; whoever said so last."""
    d = wanted
    tx.send(
        "INSERT INTO drain (destination, host, port, who, at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (destination) DO UPDATE SET host = excluded.host, port = excluded.port,"
        " who = excluded.who, at = excluded.at",
        (d.destination, d.host, d.port, d.who, d.at),
    )
    # Whose host had no time: that is not where its mail goes any more.
    if d.destination == ALL:
        backoff.release_all(tx)
    else:
        backoff.hurry(tx, d.destination, d.at)
    tx.hint(rows.HINT)


def undrain(tx: Tx, destination: str) -> bool:
    """Its mail goes where the DNS or the configuration says. False: it did not go elsewhere."""
    found = tx.run("DELETE FROM drain WHERE destination = ?", (destination,))
    tx.hint(rows.HINT)
    return found > 0
