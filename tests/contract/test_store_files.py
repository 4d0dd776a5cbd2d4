"""The file of a store: what SQLite is told, and how large its files become."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.stores import FILES, Stand, with_stand

pytestmark = pytest.mark.parametrize("engine", FILES)


def test_the_pragmas_are_those_promised(tmp_path: Path, engine: str) -> None:
    async def work(stand: Stand) -> None:
        assert stand.store.pragmas() == {
            "journal_mode": "wal",
            "synchronous": 2,
            "page_size": 4096,
            "auto_vacuum": 2,
            "wal_autocheckpoint": 0,
        }

    with_stand(tmp_path, work, engine)


def test_the_wal_stays_bounded(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("estafeta.store.sqlite.checkpoint.CHECKPOINT_AFTER_OCTETS", 1 << 18)
    monkeypatch.setattr("estafeta.store.sqlite.checkpoint.WAL_OCTETS_MAX", 1 << 20)

    async def work(stand: Stand) -> None:
        wal = stand.path.with_name("estafeta.db-wal")

        async def writes(n: int) -> None:
            for k in range(40):
                await stand.run(
                    lambda tx, k=k: tx.run(
                        "INSERT INTO body_data VALUES (?, ?)", (n * 1000 + k, bytes(20_000))
                    )
                )

        await asyncio.gather(*(writes(n) for n in range(8)))
        assert stand.store.statistics.checkpoints >= 4
        # 6.4 MB were written; a batch may overshoot the bound before anybody looks.
        assert wal.stat().st_size < 2 << 20

    with_stand(tmp_path, work, engine)


def test_what_was_erased_is_given_back(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("estafeta.store.sqlite.store.FREE_PAGES_KEPT", 100)

    async def work(stand: Stand) -> None:
        await stand.run(
            lambda tx: tx.run_many(
                "INSERT INTO body_data VALUES (?, ?)", [(n, bytes(40_000)) for n in range(100)]
            )
        )
        await stand.run(lambda tx: tx.run("DELETE FROM body_data"))
        before = await stand.read(lambda tx: tx.value("PRAGMA page_count"))
        await stand.store.tidy()
        after = await stand.read(lambda tx: tx.value("PRAGMA page_count"))
        assert before > 1000
        assert after < 300
        await stand.store.tidy()

    with_stand(tmp_path, work, engine)
