"""A writer whose connection failed and cannot be replaced at once: it says so, and recovers."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from tests.support.inline import with_store

from estafeta.store.engine import StoreError, Tx
from estafeta.store.sqlite import SqliteStore


def test_it_is_opened_again_as_soon_as_it_can_be(tmp_path: Path) -> None:
    def note(tx: Tx) -> int:
        tx.run("INSERT INTO meta (name, value) VALUES ('seen', '1')")
        return 1

    async def work(store: SqliteStore) -> None:
        writer = store._writer
        connect, tries = writer._connect, 0

        def failing() -> apsw.Connection:
            nonlocal tries
            tries += 1
            if tries <= 3:
                raise apsw.CantOpenError("unable to open database file")
            return connect()

        writer._connect = failing
        writer._reopen()  # as after a COMMIT that failed
        for _ in range(2):
            with pytest.raises(StoreError, match="unable to open"):
                await store.run(note)
        assert await store.run(note) == 1
        assert await store.read(lambda tx: tx.value("SELECT value FROM meta WHERE name = 'seen'"))

    with_store(tmp_path, work)
