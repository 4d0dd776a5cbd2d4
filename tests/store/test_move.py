"""Moving a store: all of it, broken off anywhere; and what is not the same is found."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from tests.support.peers import postgres
from tests.support.stores import NOON

from estafeta.store.engine import Store, StoreError, Tx
from estafeta.store.migrate import migrations
from estafeta.store.move import Moved, MoveRefused, move_store
from estafeta.store.move.slices import Pace, plain
from estafeta.store.move.tables import Table, tables
from estafeta.store.move.verify import NotTheSame
from estafeta.store.open import open_store
from estafeta.world.real import real_world

WORDS = ["", "a", "ñandú", "🐎 x", "a'b\"c\\", "Ω" * 200, "%_", "2026-01-01", "\ufffd"]
FATES = ["stored", "relayed", "returned", "expanded", "dropped", "cancelled", "duplicate"]


class Silent:
    """A report to nobody. at_step: called at each."""

    def __init__(self, at_step: Callable[[], None] = lambda: None) -> None:
        self.phases: list[tuple[str, int, int]] = []
        self.rows: dict[str, int] = {}
        self.at_step = at_step

    def phase(self, name: str, rows: int, done: int) -> None:
        self.phases.append((name, rows, done))

    def step(self, table: Table, rows: int, octets: int) -> None:
        phase = self.phases[-1][0]
        self.rows[phase] = self.rows.get(phase, 0) + rows
        self.at_step()


def url_of(path: Path) -> str:
    return f"sqlite://{path}"


@asynccontextmanager
async def opened(*urls: str) -> AsyncIterator[list[Store]]:
    world = real_world(Path("."))
    stores = [await open_store(url, world, moving=True) for url in urls]
    try:
        yield stores
    finally:
        for store in stores:
            await store.close()


def move(source: str, target: str, **options: Any) -> Moved:
    async def main() -> Moved:
        async with opened(source, target) as (ours, theirs):
            report = options.pop("report", None) or Silent()
            return await move_store(ours, theirs, name=source, now=NOON, report=report, **options)

    return asyncio.run(main())


def fill(url: str, seed: int, rows: int = 40) -> None:
    """Every table, with whatever its columns can hold."""
    dice = random.Random(seed)

    async def main() -> None:
        async with opened(url) as (store,):
            types = await asyncio.to_thread(_types)
            for table in tables():
                made = [_row(table, types, dice, n) for n in range(rows)]
                await store.run(lambda tx, t=table, m=made: tx.run_many(t.insert, m))

    asyncio.run(main())


def _types() -> dict[str, tuple[str, bool]]:
    """table.column -> (type, whether it may be NULL), as the migrations say."""
    scratch = apsw.Connection(":memory:")
    for _, _, sql in migrations():
        scratch.execute(sql)
    found = {}
    for table in tables():
        query = 'SELECT name, type, "notnull" = 0 AND pk = 0 FROM pragma_table_info(?)'
        for name, kind, may_be_null in scratch.execute(query, (table.name,)):
            found[f"{table.name}.{name}"] = (kind, bool(may_be_null))
    return found


def _row(
    table: Table, types: dict[str, tuple[str, bool]], dice: random.Random, n: int
) -> list[Any]:
    values: list[Any] = []
    for column in table.columns:
        kind, may_be_null = types[f"{table.name}.{column}"]
        unique = column in table.key or (table.name, column) in (
            ("account", "address"),
            ("mailbox", "name"),
            ("bearer", "hash"),
        )
        if may_be_null and dice.random() < 0.5:
            values.append(None)
        elif kind == "INTEGER":
            low = n if not unique else n * 1_000_000_007
            values.append(
                low + dice.randrange(1000)
                if dice.random() < 0.9
                else (1 << (62 if unique else 40)) + n
            )
        elif kind == "BLOB":
            values.append(dice.randbytes(32 if unique else dice.choice([0, 1, 300, 5000])))
        else:
            values.append(f"{dice.choice(WORDS)}{n if unique else ''}")
    if table.name == "recipient":
        fate, ended = table.columns.index("fate"), table.columns.index("ended")
        values[fate] = dice.choice([None, *FATES])
        values[ended] = None if values[fate] is None else n
    return values


def dump(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, by a way of its own."""

    def unit(tx: Tx) -> dict[str, list[tuple[Any, ...]]]:
        return {
            table.name: sorted(
                (
                    tuple(row)
                    for row in tx.rows(f"SELECT {', '.join(table.columns)} FROM {table.name}")
                    if table.name != "meta" or row[0] not in ("move", "moved")
                ),
                key=repr,
            )
            for table in tables()
        }

    async def main() -> dict[str, list[tuple[Any, ...]]]:
        async with opened(url) as (store,):
            return await store.read(unit)

    return asyncio.run(main())


@pytest.fixture
def source(tmp_path: Path) -> str:
    url = url_of(tmp_path / "source.db")
    fill(url, seed=5)
    return url


@pytest.fixture
def target(tmp_path: Path) -> str:
    return url_of(tmp_path / "target.db")


@pytest.fixture
def database() -> Iterator[str]:
    with postgres.database() as url:
        yield url


def test_every_table_of_the_schema_is_moved(tmp_path: Path, database: str) -> None:
    """What the engines really hold, against what is moved: nobody can forget a table."""
    names = {table.name for table in tables()} | {"migration"}

    async def main() -> None:
        async with opened(url_of(tmp_path / "s.db"), database) as (file, server):
            sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
            assert {n for (n,) in await file.read(lambda tx: tx.rows(sql))} == names
            sql = "SELECT table_name, column_name FROM information_schema.columns"
            sql += " WHERE table_schema = 'public' ORDER BY ordinal_position"
            columns: dict[str, tuple[str, ...]] = {}
            for name, column in await server.read(lambda tx: tx.rows(sql)):
                columns[name] = (*columns.get(name, ()), column)
            assert set(columns) == names
            for table in tables():
                assert columns[table.name] == table.columns

    asyncio.run(main())


def test_from_file_to_file(source: str, target: str) -> None:
    report = Silent()
    moved = move(source, target, report=report)
    assert dump(target) == dump(source)
    assert set(moved.rows) == {table.name for table in tables()}
    assert moved.rows["message"] == 40
    assert moved.resumed == 0
    assert sum(moved.rows.values()) == report.rows["copy"] == report.rows["verify"]
    assert moved.filed_bodies > 0
    with pytest.raises(MoveRefused, match="was moved into the target already"):
        move(source, target)
    # And on: it is a store like any other.
    third = target.replace("target", "third")
    assert move(target, third).hash == moved.hash
    with pytest.raises(MoveRefused, match="not empty"):
        move(third, target)


def test_to_the_other_engine_and_back(source: str, target: str, database: str) -> None:
    there = move(source, database)
    assert dump(database) == dump(source)
    back = move(database, target)
    assert back.hash == there.hash
    assert dump(target) == dump(source)


def test_a_text_that_postgresql_cannot_hold(source: str, target: str, database: str) -> None:
    async def spoil() -> None:
        async with opened(source) as (store,):
            await store.run(lambda tx: tx.run("UPDATE message_text SET subject = 'a' || char(0)"))

    asyncio.run(spoil())
    move(source, database)
    column = next(t for t in tables() if t.name == "message_text").columns.index("subject")
    assert {row[column] for row in dump(database)["message_text"]} == {"a\ufffd"}
    move(source, target)
    assert {row[column] for row in dump(target)["message_text"]} == {"a\0"}


def test_keys_that_postgresql_sorts_otherwise(source: str, target: str, database: str) -> None:
    """A stranger's Message-ID may hold NUL, and `trail` has it as a key."""
    dice = random.Random(8)
    keys = {"".join(dice.choices("ab\0\x01\ufffe~", k=dice.randint(1, 6))) for _ in range(300)}
    assert any("\0" in key for key in keys)

    async def spoil() -> None:
        async with opened(source) as (store,):
            sql = "INSERT INTO trail (key, acceptance) VALUES (?, ?)"
            rows = [(key, n) for n, key in enumerate(sorted(keys))]
            await store.run(lambda tx: tx.run_many(sql, rows))

    asyncio.run(spoil())
    moved = move(source, database)
    assert moved.rows["trail"] == 40 + len(keys)
    there = {tuple(row) for row in dump(database)["trail"]}
    assert there == {(key.replace("\0", "\ufffd"), n) for key, n in dump(source)["trail"]}
    assert move(database, target).hash == moved.hash


def test_half_a_store_is_refused_to_everybody(source: str, target: str, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    steps = iter(range(5))

    def stop() -> None:
        if next(steps, None) is None:
            raise Enough

    with pytest.raises(Enough):
        move(source, target, report=Silent(stop))
    world = real_world(tmp_path)
    with pytest.raises(MoveRefused, match=f"a move from {source} into it has not ended"):
        asyncio.run(open_store(target, world))
    third = url_of(tmp_path / "third.db")
    with pytest.raises(MoveRefused, match="only half a store"):
        move(target, third)
    fill(third, seed=6)
    with pytest.raises(MoveRefused, match=r"a move from .* into the target has begun"):
        move(third, target)
    moved = move(source, target)
    assert moved.resumed > 0
    assert dump(target) == dump(source)

    async def opens() -> None:
        store = await open_store(target, world)
        await store.close()

    asyncio.run(opens())


def test_a_store_is_not_moved_into_itself(tmp_path: Path) -> None:
    url = url_of(tmp_path / "new.db")
    before = dump(url)
    with pytest.raises(MoveRefused, match="the same store"):
        move(url, url.replace("new.db", "../" + tmp_path.name + "/new.db"))
    assert dump(url) == before


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        (
            "UPDATE message SET flags = flags + 1 WHERE uid = (SELECT min(uid) FROM message)",
            "flags",
        ),
        ("DELETE FROM event WHERE id = (SELECT max(id) FROM event)", "is missing in the target"),
        ("INSERT INTO alias VALUES ('zz@x', 'y@x')", "is in the target only"),
        ("INSERT INTO alias VALUES ('', '')", "is in the target only"),
        (
            "UPDATE body_data SET data = data || x'00' WHERE id = (SELECT max(id) FROM body_data)",
            "differs in data",
        ),
    ],
)
def test_a_row_that_is_not_the_same_is_named(
    source: str, target: str, sql: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = move_store.__globals__["verify"]

    async def spoiled(ours: Store, theirs: Store, step: Any) -> Any:
        await theirs.run(lambda tx: tx.run(sql))
        return await original(ours, theirs, step)

    monkeypatch.setitem(move_store.__globals__, "verify", spoiled)
    with pytest.raises(NotTheSame, match=says):
        move(source, target)
    monkeypatch.undo()
    with pytest.raises(NotTheSame, match=says):  # it does not pass by being asked again
        move(source, target)
    report = Silent()
    move(source, target, again=True, report=report)
    assert [name for name, _, _ in report.phases] == ["erase", "copy", "verify"]
    assert dump(target) == dump(source)


def test_a_source_that_changes_while_it_is_compared(source: str, target: str) -> None:
    connection = apsw.Connection(source.removeprefix("sqlite://"))

    class Meddler(Silent):
        def step(self, table: Table, rows: int, octets: int) -> None:
            if self.phases[-1][0] == "verify" and table.name == "queue":
                connection.execute("UPDATE domain SET language = 'xx'")  # compared already

    with pytest.raises(NotTheSame, match="was changed while it was compared"):
        move(source, target, report=Meddler())
    connection.close()


_KILLED = """
import asyncio, os, signal, sys
from tests.store.test_move import Silent, opened
from estafeta.store.move import move_store

source, target, at, where = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]

async def main():
    async with opened(source, target) as (ours, theirs):
        run, count = theirs.run, 0
        async def counted(unit, **given):
            nonlocal count
            count += 1
            if count == at and where == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            done = await run(unit, **given)
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return done
        theirs.run = counted
        await move_store(ours, theirs, name=source, now=1, report=Silent())

asyncio.run(main())
"""


def _killed(source: str, target: str, at: int, where: str) -> bool:
    """Whether it was killed at its transaction number `at`, rather than done."""
    command = [sys.executable, "-c", _KILLED, source, target, str(at), where]
    project = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=100)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


KILLS = [(1, "after"), (2, "before"), (9, "after"), (11, "before")]
"""At which of its transactions each run is killed: the first marks the target, the second clears
it, each further one is a slice."""


def test_killed_again_and_again_it_comes_to_its_end(source: str, target: str) -> None:
    assert all(_killed(source, target, *kill) for kill in KILLS)
    assert move(source, target).resumed > 0
    assert dump(target) == dump(source)


def test_killed_again_and_again_into_postgresql(source: str, database: str) -> None:
    assert all(_killed(source, database, *kill) for kill in KILLS[1:])
    assert move(source, database).resumed > 0
    assert dump(database) == dump(source)


@pytest.mark.parametrize("at", [3, 29, 55])
def test_broken_off_while_it_begins_anew(source: str, target: str, at: int) -> None:
    """A run with --again that is killed leaves a mark, and never half a store that looks whole."""
    assert _killed(source, target, 20, "after")

    class Cut(Exception):
        pass

    async def main() -> None:
        async with opened(source, target) as (ours, theirs):
            run, count = theirs.run, 0

            async def counted(unit: Any, **given: Any) -> Any:
                nonlocal count
                count += 1
                if count == at:
                    raise Cut
                return await run(unit, **given)

            theirs.run = counted  # type: ignore[method-assign]
            await move_store(ours, theirs, name=source, now=1, report=Silent(), again=True)

    with pytest.raises(Cut):
        asyncio.run(main())
    with pytest.raises(MoveRefused, match="only half of one"):
        asyncio.run(open_store(target, real_world(Path("."))))
    move(source, target, again=at == 3)
    assert dump(target) == dump(source)


def test_memory_is_bounded_by_octets_as_well_as_rows() -> None:
    pace = Pace()
    first = pace.rows
    pace.learn([(1, b"x" * 256 * 1024)] * first)
    assert pace.rows == first
    for _ in range(20):
        pace.learn([(1, 2)] * pace.rows)
    assert pace.rows == 5000
    pace.learn([(1, b"x" * 4096)] * 5000)
    assert pace.rows == 1022
    assert pace.learn([]) == 0


def test_only_texts_are_made_plain() -> None:
    assert plain((1, "a\0", b"a\0", None)) == (1, "a\ufffd", b"a\0", None)


def test_where_a_move_broke_off_is_found_again_whatever_the_key_is() -> None:
    values: dict[str, object] = {"TEXT": "añ\0", "INTEGER": 1 << 60, "BLOB": b"\0\xff key"}
    for table in tables():
        kinds = {c: "BLOB" if c in table.blobs else "TEXT" for c in (*table.texts, *table.blobs)}
        row = tuple(values[kinds.get(column, "INTEGER")] for column in table.columns)
        mark = msgspec.json.decode(msgspec.json.encode(table.noted(row)), type=list[int | str])
        assert table.place(mark) == table.key_of(row)
    assert any(table.blobs for table in tables())


def test_what_a_running_worker_left_is_not_moved(source: str, target: str) -> None:
    async def main() -> None:
        async with opened(source) as (store,):
            await store.run(
                lambda tx: tx.run("INSERT INTO meta (name, value) VALUES ('worker 7', '{}')")
            )

    asyncio.run(main())
    move(source, target)
    assert "worker 7" not in {row[0] for row in dump(target)["meta"]}


def test_errors_are_of_the_store(source: str) -> None:
    assert issubclass(MoveRefused, StoreError)
    assert issubclass(NotTheSame, StoreError)
    assert os.path.exists(source.removeprefix("sqlite://"))
