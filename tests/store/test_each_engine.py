"""What is said to run over each engine does."""

from __future__ import annotations

from pathlib import Path

from tests.support.stores import Stand, with_stand

from estafeta.store.postgres import PostgresStore
from estafeta.store.sqlite import SqliteStore


def test_the_usual_store_is_of_that_engine(tmp_path: Path, each_engine: str) -> None:
    async def work(stand: Stand) -> None:
        kind = PostgresStore if each_engine == "postgresql" else SqliteStore
        assert type(stand.store) is kind

    with_stand(tmp_path, work)
