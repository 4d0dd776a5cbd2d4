"""Migrate: numbered SQL files bring a store to this version; each is applied once, checked always.

Files are `migrations/NNNN_name.sql`. A store remembers the SHA-256 of each it has seen: a file that
changed after its release is an error, as is a store that knows more of them than this program.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from importlib import resources

from estafeta.store.engine import StoreError, StoreTooNew, Tx

__all__ = ["StoreTooNew", "migrate"]

_TABLE = """CREATE TABLE IF NOT EXISTS migration (
  number INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, applied INTEGER NOT NULL)"""


Translate = Callable[[str], Iterable[str]]


def _as_it_is(sql: str) -> Iterable[str]:
    return (sql,)


def migrate(tx: Tx, *, now: int, name: str, translate: Translate = _as_it_is) -> None:
    """Applies what is missing. name: of the store, for the message. translate: what defines tables,
    as the engine's statements. Raises StoreError."""
    for statement in translate(_TABLE):
        tx.run(statement)
    applied: dict[int, str] = dict(tx.rows("SELECT number, sha256 FROM migration ORDER BY number"))
    known = {number: (title, sql) for number, title, sql in migrations()}
    newest = max(applied, default=0)
    if newest > max(known):
        raise StoreTooNew(
            f"the store {name} was made by a newer estafeta (schema {newest}; this program knows "
            f"up to {max(known)}): upgrade the program or name another store"
        )
    for number, (title, sql) in known.items():
        digest = hashlib.sha256(sql.encode()).hexdigest()
        if number not in applied:
            for statement in translate(sql):
                tx.run(statement)
            tx.run("INSERT INTO migration VALUES (?, ?, ?, ?)", (number, title, digest, now))
            if number == 1:
                # A store that is made again must not give UIDVALIDITY of the one before.
                tx.run("INSERT INTO counter VALUES ('uidvalidity', ?)", (now // 1000,))
        elif applied[number] != digest:
            raise StoreError(
                f"the store {name} was made by another edition of migration {number:04} ({title}): "
                "this program cannot tell what is in it"
            )


def newest_migration() -> int:
    """The number of the last migration that this program knows."""
    return migrations()[-1][0]


def migrations() -> list[tuple[int, str, str]]:
    """(number, title, SQL) of each, in the order of their numbers."""
    found = []
    for file in resources.files("estafeta.store").joinpath("migrations").iterdir():
        if file.name.endswith(".sql"):
            number, _, title = file.name.removesuffix(".sql").partition("_")
            found.append((int(number), title, file.read_text(encoding="utf-8")))
    return sorted(found)
