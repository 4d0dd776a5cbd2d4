"""PostgreSQL alone: what it is asked for, what it says when something is wrong."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.support.peers import postgres
from tests.support.stores import Stand, with_stand

from estafeta.store.counters import take
from estafeta.store.engine import StoreError, StoreReadOnly, StoreUncertain, Tx
from estafeta.store.open import open_store, shown_url
from estafeta.store.postgres import dialect
from estafeta.store.postgres.batch import Writing
from estafeta.store.postgres.line import Line
from estafeta.store.postgres.reading import Reading
from estafeta.world.real import real_world


@pytest.fixture
def url() -> Iterator[str]:
    with postgres.database() as made:
        yield made


def opening_fails(folder: Path, url: str) -> str:
    async def work() -> str:
        with pytest.raises(StoreError) as failure:
            await open_store(url, real_world(folder))
        return str(failure.value)

    return asyncio.run(work())


# What cannot be opened --------------------------------------------------------------------------


def test_nobody_there_is_one_sentence_without_the_password(tmp_path: Path) -> None:
    said = opening_fails(tmp_path, f"postgresql://ana:secret@/mail?host={tmp_path}")
    assert said.startswith(f"the store postgresql://ana:***@/mail?host={tmp_path} cannot be reach")
    assert "secret" not in said
    assert "\n" not in said


def test_a_database_that_is_not_there(tmp_path: Path, url: str) -> None:
    said = opening_fails(tmp_path, url.replace("@/t", "@/no"))
    assert 'FATAL:  database "no' in said
    assert said.endswith("does not exist")


def test_a_database_of_another_encoding(tmp_path: Path, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS latin")
        admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    other = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    said = opening_fails(tmp_path, url.replace(f"/{other}?", "/latin?"))
    assert said.endswith("holds LATIN1: make it with ENCODING 'UTF8'")


def test_without_psycopg_the_command_that_brings_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    said = opening_fails(tmp_path, "postgresql://ana:secret@db.example/mail")
    assert said == (
        "the store postgresql://ana:***@db.example/mail needs psycopg:"
        " pip install 'estafeta[postgres]'"
    )


def test_a_store_of_a_newer_version(tmp_path: Path, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("INSERT INTO migration VALUES (9999, 'later', '', 0)")
    assert "was made by a newer estafeta (schema 9999" in opening_fails(tmp_path, url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://a@h/d", "postgresql://a@h/d"),
        ("postgresql://a:b@h/d", "postgresql://a:***@h/d"),
        ("postgresql://a:b:c@h:5432/d", "postgresql://a:***@h:5432/d"),
        ("postgresql://:b@h/d", "postgresql://:***@h/d"),
        ("postgresql://a@h/d?password=b&port=1", "postgresql://a@h/d?password=***&port=1"),
        ("sqlite:///a:b@c", "sqlite:///a:b@c"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert shown_url(url) == shown


# Opened at the same time ------------------------------------------------------------------------


def test_many_open_an_empty_database_at_once(tmp_path: Path, url: str) -> None:
    """One of them makes the tables, the others wait for it."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("DROP SCHEMA public CASCADE")
        admin.execute("CREATE SCHEMA public")
    world = real_world(tmp_path)

    async def work() -> None:
        stores = await asyncio.gather(*(open_store(url, world) for _ in range(4)))
        taken = await asyncio.gather(*(s.run(lambda tx: take(tx, "n")) for s in stores))
        assert sorted(taken) == [1, 2, 3, 4]
        await asyncio.gather(*(s.close() for s in stores))

    asyncio.run(work())


def test_a_commit_is_synced_whatever_the_default(tmp_path: Path, url: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off'.encode())

    async def work() -> None:
        store = await open_store(url, real_world(tmp_path))
        assert await store.run(lambda tx: tx.value("SHOW synchronous_commit")) == "on"
        await store.close()

    asyncio.run(work())


# Values -----------------------------------------------------------------------------------------


def test_values_come_back_as_from_a_file(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        def unit(tx: Tx) -> Any:
            tx.run("INSERT INTO meta (name, value) VALUES (?, ?)", ("ñ'?\\", "a\0b"))
            tx.run("INSERT INTO body_data (id, data) VALUES (?, ?)", (1 << 62, bytes(range(256))))
            return (
                tx.rows("SELECT name, value FROM meta WHERE value <> '?'"),
                tx.row("SELECT id, data, length(data) FROM body_data"),
                tx.value("SELECT sum(value) FROM counter WHERE name = 'none'"),
                tx.value("SELECT sum(n) FROM (SELECT 3 AS n UNION ALL SELECT 4) AS t"),
                tx.run("UPDATE meta SET value = value"),
            )

        names, data, nothing, seven, changed = await stand.run(unit)
        # PostgreSQL's text has every character but NUL.
        assert names == [("ñ'?\\", "a\ufffdb")]
        assert data == (1 << 62, bytes(range(256)), 256)
        assert (nothing, seven, type(seven), changed) == (None, 7, int, 1)

    with_stand(tmp_path, work, "postgresql")


def test_statements_beyond_those_kept_are_forgotten_and_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("estafeta.store.postgres.line.STATEMENTS_PREPARED", 3)
    monkeypatch.setattr("estafeta.store.postgres.line.STATEMENTS_AHEAD_MAX", 5)

    async def work(stand: Stand) -> None:
        def unit(tx: Tx) -> list[Any]:
            tx.run_many(
                "INSERT INTO counter (name, value) VALUES (?, ?)", [(f"t{n}", n) for n in range(23)]
            )
            found = []
            for _ in range(3):
                for n in range(5):
                    found.append(tx.value(f"SELECT value FROM counter WHERE name = 't{n}'"))
            return found

        for _ in range(2):
            assert await stand.run(unit) == [0, 1, 2, 3, 4] * 3
            await stand.run(lambda tx: tx.run("DELETE FROM counter"))

    with_stand(tmp_path, work, "postgresql")


# What it survives -------------------------------------------------------------------------------


def counted(tx: Tx) -> Any:
    return tx.value("SELECT value FROM counter WHERE name = 'n'")


def cut(stand: Stand) -> int:
    """Ends every other connection to the database, as a restart would."""
    with psycopg.connect(stand.url, autocommit=True) as admin:
        return len(
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchall()
        )


def test_connections_that_were_cut_are_made_again(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        for n in range(1, 4):
            assert await stand.run(lambda tx: take(tx, "n")) == n
            assert await stand.read(lambda tx: tx.value("SELECT 1")) == 1
            await asyncio.to_thread(cut, stand)
        assert stand.store.statistics.last_failure == ""

    with_stand(tmp_path, work, "postgresql")


def test_a_unit_that_was_cut_before_its_commit_runs_again(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ran = []

        def unit(tx: Tx) -> int:
            number = take(tx, "n")
            if not ran:
                cut(stand)
            ran.append(number)
            take(tx, "n")
            return number

        assert await stand.run(unit) == 1
        assert ran == [1, 1]
        assert await stand.read(counted) == 2
        assert stand.store.statistics.lost == 1

    with_stand(tmp_path, work, "postgresql")


def test_a_commit_without_an_answer_is_told_as_such_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(stand: Stand) -> None:
        original = Line.ask

        def ask(line: Line, sql: str, parameters: Any = ()) -> Any:
            result = original(line, sql, parameters)
            if sql == "COMMIT":
                monkeypatch.undo()
                cut(stand)
                return original(line, "SELECT 1")
            return result

        monkeypatch.setattr(Line, "ask", ask)
        results = await asyncio.gather(
            *(stand.run(lambda tx: take(tx, "n")) for _ in range(3)), return_exceptions=True
        )
        assert [type(result) for result in results] == [StoreUncertain] * 3
        assert await stand.read(counted) == 3
        assert await stand.run(lambda tx: take(tx, "n")) == 4

    with_stand(tmp_path, work, "postgresql")


def test_two_that_wait_for_each_other_both_succeed(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        other = stand.open()
        await stand.run(lambda tx: (take(tx, "a"), take(tx, "b")))

        def unit(first: str, second: str) -> Any:
            def both(tx: Tx) -> None:
                take(tx, first)
                tx.value("SELECT pg_sleep(0.05)")
                take(tx, second)

            return both

        await asyncio.gather(stand.run(unit("a", "b")), other.run(unit("b", "a")))
        found = await stand.read(lambda tx: tx.rows("SELECT value FROM counter WHERE name < 'c'"))
        assert found == [(3,), (3,)]
        assert stand.store.statistics.waited + other.statistics.waited == 1
        await other.close()

    with_stand(tmp_path, work, "postgresql")


def test_a_database_that_takes_no_writing(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        def unit(tx: Tx) -> None:
            tx.run("SET TRANSACTION READ ONLY")
            take(tx, "n")

        with pytest.raises(StoreReadOnly):
            await stand.run(unit)
        assert await stand.run(lambda tx: take(tx, "n")) == 1

    with_stand(tmp_path, work, "postgresql")


# Hints between processes ------------------------------------------------------------------------


def test_a_commit_elsewhere_wakes_who_listens_to_its_topic_alone(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        other = stand.open()
        await asyncio.gather(stand.store._bell.heard(), other._bell.heard())
        mine, not_mine = (stand.store.listen(("account", n)) for n in (1, 2))
        await other.run(lambda tx: tx.hint(("account", 1)))
        await asyncio.wait_for(mine.wait(), 5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(not_mine.wait(), 0.01)

        def many(tx: Tx) -> None:  # more than one NOTIFY holds
            for n in range(2, 3000):
                tx.hint(("account", n))

        await other.run(many)
        await asyncio.wait_for(not_mine.wait(), 5)
        # Hints may have been missed while nobody listened: all look, once it does again.
        await asyncio.to_thread(cut, stand)
        await asyncio.wait_for(mine.wait(), 5)
        await other.run(lambda tx: take(tx, "n"))
        await other._bell.heard()
        await stand.store._bell.heard()
        await other.run(lambda tx: tx.hint(("account", 2)))
        await asyncio.wait_for(not_mine.wait(), 5)
        await other.close()

    with_stand(tmp_path, work, "postgresql")


# SQL --------------------------------------------------------------------------------------------


def test_statements_are_translated() -> None:
    assert dialect.statement("SELECT '?', ? FROM t WHERE a = ?") == (
        b"SELECT '?', $1 FROM t WHERE a = $2"
    )
    assert dialect.statement("SELECT 1 /*postgresql: FOR SHARE */") == b"SELECT 1 FOR SHARE "


def test_a_migration_is_translated() -> None:
    text = """-- a; comment
CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TRIGGER once BEFORE UPDATE OF name ON t
  WHEN OLD.name IS NOT NULL
  BEGIN SELECT RAISE(ABORT, 'it is final'); END;
"""
    table, function, trigger = dialect.migration(text)
    assert table == (
        'CREATE TABLE t (id BIGINT PRIMARY KEY, data BYTEA, name TEXT COLLATE "C" NOT NULL)'
    )
    assert "RAISE integrity_constraint_violation USING MESSAGE = 'it is final'" in function
    assert trigger == (
        "CREATE TRIGGER once BEFORE UPDATE OF name ON t FOR EACH ROW"
        " WHEN (OLD.name IS NOT NULL) EXECUTE FUNCTION once()"
    )


# Descriptors and threads ------------------------------------------------------------------------


def test_a_connection_beside_a_thousand_others_carries_what_does_not_fit_at_once(
    tmp_path: Path, url: str
) -> None:
    """select() ends at descriptor 1023; what is larger than the socket's buffer must be waited
    for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    others = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    octets = bytes(8 << 20)

    async def work() -> None:
        store = await open_store(url, real_world(tmp_path))
        try:
            await store.run(lambda tx: tx.run("CREATE TABLE large (octets BYTEA)"))
            await store.run(lambda tx: tx.run("INSERT INTO large VALUES (?)", (octets,)))
            assert await store.read(lambda tx: tx.value("SELECT octets FROM large")) == octets
        finally:
            await store.close()

    try:
        asyncio.run(work())
    finally:
        for other in others:
            os.close(other)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_fault_of_ours_in_a_thread_is_an_answer_and_not_the_end_of_it(
    tmp_path: Path, url: str
) -> None:
    def faulty(*_: object) -> None:
        raise ValueError("a bug")

    async def work() -> None:
        store = await open_store(url, real_world(tmp_path))
        try:
            for hand, ask in ((Writing, store.run), (Reading, store.read)):
                for _ in range(5):  # more than there are connections
                    with pytest.MonkeyPatch.context() as patch:
                        patch.setattr(hand, "_once", faulty)
                        with pytest.raises(StoreUncertain, match=r"a fault of ours.*a bug"):
                            await ask(lambda tx: tx.value("SELECT 1"))
                assert await ask(lambda tx: tx.value("SELECT 1")) == 1
        finally:
            await store.close()

    asyncio.run(work())
