"""Opening: URLs, versions, editions, what cannot be opened; flags and keywords besides."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest
from tests.support.stores import Stand, with_stand

from estafeta.store import flags
from estafeta.store.counters import take
from estafeta.store.engine import StoreError, StoreTooNew
from estafeta.store.open import open_store


def test_a_url_leads_to_a_store_and_its_folder(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        url = f"sqlite://{tmp_path}/deep/er/estafeta.db"
        store = await open_store(url, stand.world)
        files = list((tmp_path / "deep" / "er").iterdir())
        assert len(files) >= 3  # the log and its index too
        assert all(file.stat().st_mode & 0o77 == 0 for file in files)
        assert await store.run(lambda tx: take(tx, "n", 5)) == 1
        assert await store.run(lambda tx: take(tx, "n")) == 6
        await store.close()
        store = await open_store(url, stand.world, inline=True)
        assert await store.run(lambda tx: take(tx, "n")) == 7
        await store.close()
        for bad in ("mysql:///x", "sqlite://relative/x", "sqlite:x", "/x"):
            with pytest.raises(StoreError, match="not understood"):
                await open_store(bad, stand.world)

    with_stand(tmp_path, work)


def test_a_newer_store_and_another_edition_are_refused(tmp_path: Path) -> None:
    async def whole() -> None:
        stand = Stand(tmp_path)
        await stand.store.close()
        raw = apsw.Connection(str(stand.path))
        raw.execute("INSERT INTO migration VALUES (9999, 'later', 'x', 0)")
        with pytest.raises(StoreTooNew, match=r"newer estafeta \(schema 9999"):
            stand.open()
        raw.execute("DELETE FROM migration WHERE number = 9999")
        raw.execute("UPDATE migration SET sha256 = 'x'")
        with pytest.raises(StoreError, match="another edition of migration 0001"):
            stand.open()
        raw.close()

    asyncio.run(whole())


def test_what_is_no_store_is_said_in_a_sentence(tmp_path: Path) -> None:
    stand = Stand(tmp_path / "a") if (tmp_path / "a").mkdir() is None else None
    assert stand is not None
    asyncio.run(stand.store.close())
    stand.path.write_bytes(b"this is a letter, not a database. " * 100)
    for suffix in ("-wal", "-shm"):
        stand.path.with_name(stand.path.name + suffix).unlink(missing_ok=True)
    with pytest.raises(StoreError, match="cannot be opened: the store's file is damaged"):
        stand.open()
    stand.folder = tmp_path / "nowhere"
    with pytest.raises(StoreError, match="cannot be opened"):
        stand.open()


def test_a_store_that_was_killed_comes_back(tmp_path: Path) -> None:
    async def whole() -> None:
        stand = Stand(tmp_path)
        assert await stand.run(lambda tx: take(tx, "n")) == 1
        waiting = asyncio.ensure_future(stand.run(lambda tx: take(tx, "n")))
        await asyncio.sleep(0)
        stand.store.abandon()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert stand.path.with_name("estafeta.db-wal").stat().st_size > 0  # nothing was moved
        stand.store = stand.open()
        assert await stand.run(lambda tx: take(tx, "n")) == 2
        await stand.store.close()

    asyncio.run(whole())


def test_flags_have_names_and_keywords_limits() -> None:
    assert flags.names(flags.SEEN | flags.DRAFT, "$A b") == ["\\Seen", "\\Draft", "$A", "b"]
    assert flags.BITS["\\flagged"] == flags.FLAGGED
    assert flags.joined(["b", "A", "a", "c"]) == "A b c"
    assert flags.split("") == []
    assert flags.checked("$Forwarded") == "$Forwarded"
    for bad in ("", "a b", "\\Seen", "a(b", "é", "x" * 101, "a\x00"):
        with pytest.raises(flags.KeywordError):
            flags.checked(bad)
