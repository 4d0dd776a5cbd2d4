"""Backlog: what is leased costs the same, however much waits for its destination."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.stores import Stand, with_stand

from estafeta.queue import wish
from estafeta.store.engine import Tx


class Explained:
    """A transaction that tells how SQLite would go about each look."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self.ways: list[str] = []

    def rows(self, sql: str, parameters: Any = ()) -> list[Any]:
        self.ways += [row[-1] for row in self._tx.rows(f"EXPLAIN QUERY PLAN {sql}", parameters)]
        return []


def test_wishes_are_found_without_a_look_at_what_waits(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        def unit(tx: Tx) -> list[str]:
            explained = Explained(tx)
            wish.grant_due(explained, "b.example", 0)  # type: ignore[arg-type]
            return explained.ways

        assert "queue_wish" in (await stand.read(unit))[0]

    with_stand(tmp_path, work)
