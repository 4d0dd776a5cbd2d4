"""Policies: what administrators and owners say may come in, by scope; what it means is deliver's.

A scope is "" (the installation), a domain, or the address of an account; one that says nothing has
no row. Each change raises a number that those who remember policies compare.
"""

# ruff: noqa: S608  (names of our own columns are all that is put into SQL)

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from estafeta.store import counters
from estafeta.store.engine import Tx

_NUMBER = "policies"
_COLUMNS = "scope, rules, who, at"


class Policy(msgspec.Struct, frozen=True):
    """rules: JSON. who: who said it last. at: when, ms since 1970 UTC."""

    scope: str
    rules: str
    who: str
    at: int


def number(tx: Tx) -> int:
    """Another one after each change."""
    found: int | None = tx.value("SELECT value FROM counter WHERE name = ?", (_NUMBER,))
    return found or 0


def hold(tx: Tx) -> None:
    """Who else changes policies waits until this unit has ended: one is checked against others."""
    counters.hold(tx, _NUMBER)


def policy(tx: Tx, scope: str) -> Policy | None:
    row = tx.row(f"SELECT {_COLUMNS} FROM policy WHERE scope = ?", (scope,))
    return None if row is None else Policy(*row)


def policies(tx: Tx) -> list[Policy]:
    """All, the installation's first."""
    return [Policy(*row) for row in tx.rows(f"SELECT {_COLUMNS} FROM policy ORDER BY scope")]


def rules_of(tx: Tx, scopes: Sequence[str]) -> list[str]:
    """The JSON of those that say something, in the order of `scopes`."""
    places = ", ".join("?" * len(scopes))
    sql = f"SELECT scope, rules FROM policy WHERE scope IN ({places})"
    found: dict[str, str] = dict(tx.rows(sql, scopes))
    return [found[scope] for scope in scopes if scope in found]


def came_in_clear(tx: Tx, body: int) -> bool:
    """Whether the message with that body came to port 25 without TLS."""
    sql = "SELECT 1 FROM acceptance WHERE body = ? AND origin = 'smtp' AND tls = '' LIMIT 1"
    return tx.value(sql, (body,)) is not None


def put(tx: Tx, scope: str, rules: str, who: str, now: int) -> None:
    counters.take(tx, _NUMBER)
    tx.send(
        "INSERT INTO policy (scope, rules, who, at) VALUES (?, ?, ?, ?) ON CONFLICT (scope)"
        " DO UPDATE SET rules = excluded.rules, who = excluded.who, at = excluded.at",
        (scope, rules, who, now),
    )


def drop(tx: Tx, scope: str) -> None:
    """It says nothing any more."""
    if tx.run("DELETE FROM policy WHERE scope = ?", (scope,)):
        counters.take(tx, _NUMBER)


def rename(tx: Tx, scope: str, new: str) -> None:
    """An account has another address: what was said of it goes along."""
    if tx.run("UPDATE policy SET scope = ? WHERE scope = ?", (new, scope)):
        counters.take(tx, _NUMBER)
