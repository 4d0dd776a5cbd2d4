"""Bearers: tokens by which programs use the HTTP API (RFC 6750), each with a name and a scope.

Promises: a token is 256 random bits and is kept as its SHA-256 alone, so that whoever reads the
store can use none; comparing takes the same time whatever was shown; one whose account is gone,
disabled, or whose time is over opens nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import random
from base64 import urlsafe_b64encode

import msgspec

from estafeta.store.engine import Tx
from estafeta.store.ledger import DAY_MS

PREFIX = "estafeta_"
"""So that a token that lies about is known for one."""

_SECRET_OCTETS = 32


class Bearer(msgspec.Struct, frozen=True):
    """account, address: whose messages; None and "": administration. Times in milliseconds since
    1970; expires 0: never. used: the day of the last use, in days since 1970; 0: never."""

    name: str
    account: int | None
    address: str
    created: int
    expires: int
    used: int

    @property
    def is_admin(self) -> bool:
        return self.account is None


class BearersError(Exception):
    """The text says why, for a person."""


_SELECT = (
    "SELECT bearer.name, bearer.account, coalesce(account.address, ''), bearer.created,"
    " bearer.expires, bearer.used, bearer.hash, account.id, account.disabled FROM bearer"
    " LEFT JOIN account ON account.id = bearer.account"
)


def new_token(dice: random.Random) -> str:
    """To be shown once."""
    return PREFIX + urlsafe_b64encode(dice.randbytes(_SECRET_OCTETS)).rstrip(b"=").decode()


def add(tx: Tx, name: str, token: str, *, account: int | None, now: int, expires: int = 0) -> None:
    """Raises BearersError: the name is taken, the account gone."""
    if account is not None:
        # Who removes it at the same time waits here, or we for him.
        sql = "SELECT 1 FROM account WHERE id = ? /*postgresql: FOR SHARE */"
        if tx.value(sql, (account,)) is None:
            raise BearersError(f"there can be no token {name}: its account is gone")
    added = tx.run(
        "INSERT INTO bearer (name, hash, account, created, expires) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (name) DO NOTHING",
        (name, _digest(token), account, now, expires),
    )
    if not added:
        raise BearersError(f"there is a token {name} already; choose another name")


def remove(tx: Tx, name: str) -> None:
    """It opens nothing from now on. Raises BearersError."""
    if not tx.run("DELETE FROM bearer WHERE name = ?", (name,)):
        raise BearersError(f"there is no token {name}")


def bearers(tx: Tx) -> list[Bearer]:
    """By name."""
    return [Bearer(*row[:6]) for row in tx.rows(f"{_SELECT} ORDER BY bearer.name")]


def shown(tx: Tx, token: str, now: int) -> Bearer | None:
    """Whose token it is; None: nobody's who may come in."""
    digest = _digest(token)
    row = tx.row(f"{_SELECT} WHERE bearer.hash = ?", (digest,))
    if row is None:
        return None
    *columns, known, account, disabled = row
    found = Bearer(*columns)
    if not hmac.compare_digest(bytes(known), digest):
        return None
    if found.expires and found.expires <= now:
        return None
    if not found.is_admin and (account is None or disabled):
        return None
    return found


def note_use(tx: Tx, name: str, now: int) -> None:
    """Written once a day."""
    tx.send(
        "UPDATE bearer SET used = ? WHERE name = ? AND used < ?",
        (now // DAY_MS, name, now // DAY_MS),
    )


def _digest(token: str) -> bytes:
    """The token is as random as its hash: there is nothing to stretch."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
