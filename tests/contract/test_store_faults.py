"""Faults below the store: whatever fails, nothing is half-done and nothing is answered falsely.

A batch of three units is run again and again; each time another statement, write or sync fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.support.stores import FILES, Stand

from estafeta.store.engine import StoreError, StoreFull, Tx
from estafeta.store.sqlite.transaction import SqliteTx

STATEMENTS = 4  # of each unit
UNITS = 3


def unit_of(n: int) -> Callable[[Tx], int]:
    def unit(tx: Tx) -> int:
        tx.run("INSERT INTO counter (name, value) VALUES (?, 0)", (f"t-{n}-first",))
        for k in range(STATEMENTS - 2):
            tx.run("INSERT INTO body_data (id, data) VALUES (?, ?)", (n * 100 + k, bytes(12_000)))
        tx.run("INSERT INTO counter (name, value) VALUES (?, 0)", (f"t-{n}-last",))
        return n

    return unit


def contents(tx: Tx) -> dict[int, int]:
    """Rows that are there, by unit."""
    found: dict[int, int] = {}
    for (name,) in tx.rows("SELECT name FROM counter WHERE name LIKE 't-%'"):
        found[int(name.split("-")[1])] = found.get(int(name.split("-")[1]), 0) + 1
    for (id,) in tx.rows("SELECT id FROM body_data"):
        found[id // 100] = found.get(id // 100, 0) + 1
    return found


async def check(stand: Stand, results: list[Any]) -> None:
    """Answered is there whole; not answered is not there at all; on disk as in memory."""
    for n, result in enumerate(results):
        assert result == n or isinstance(result, StoreError)
    expected = {n: STATEMENTS for n, result in enumerate(results) if result == n}
    assert await stand.read(contents) == expected
    await stand.store.close()
    raw = apsw.Connection(str(stand.path))
    assert contents(SqliteTx(raw)) == expected
    assert raw.pragma("integrity_check") == "ok"
    raw.close()


class Mine(Exception):
    pass


def raises(tx: Tx) -> None:
    raise Mine


async def three(stand: Stand, *, careful: bool = False) -> list[Any]:
    """careful: beside one that raises, which makes the engine run all again with savepoints."""
    given = [stand.run(unit_of(n)) for n in range(UNITS)]
    if careful:
        given.append(stand.run(raises))
    results = await asyncio.gather(*given, return_exceptions=True)
    assert all(isinstance(result, Mine | StoreError) for result in results[UNITS:])
    return results[:UNITS]


@pytest.mark.parametrize("engine", FILES)
@pytest.mark.parametrize(("times", "careful"), [(1, False), (2, False), (1, True)])
def test_an_interrupt_at_every_statement(
    tmp_path: Path, engine: str, times: int, careful: bool
) -> None:
    """INTERRUPT takes the whole transaction away: SQLite's savepoints do not hold."""

    async def one(at: int) -> int | None:
        folder = tmp_path / str(at)
        folder.mkdir()
        stand = Stand(folder, engine)
        connection = stand.store._writer.connection
        seen = 0
        met = ""

        def trace(cursor: Any, sql: str, bindings: Any) -> bool:
            nonlocal seen, met
            seen += 1
            hit = at <= seen < at + times
            met = sql if hit else met
            # Asked after each instruction of the statement that is to fail.
            connection.set_progress_handler((lambda: True) if hit else None, 1)
            return True

        connection.exec_trace = trace
        results = await three(stand, careful=careful)
        good = sum(result == n for n, result in enumerate(results))
        # A BEGIN that fails is told to its batch. Else one fault costs nobody, because all are run
        # again alone, or the unit that met it.
        if times == 1:
            assert good == 0 if met == "BEGIN IMMEDIATE" else good >= UNITS - 1, (met, results)
        reached = seen >= at
        stand.store._writer.connection.exec_trace = None
        stand.store._writer.connection.set_progress_handler(None)
        lost = stand.store.statistics.lost
        await check(stand, results)
        return lost if reached else None

    async def whole() -> None:
        at, total = 1, 0
        while (lost := await one(at)) is not None:
            at += 1
            total += lost
        # BEGIN, the statements and COMMIT at least, and all again with savepoints.
        statements = UNITS * STATEMENTS
        assert at > statements + 2 + careful * (statements + 2 * UNITS)
        assert total >= statements * (1 + careful)  # every INSERT took the transaction along

    asyncio.run(whole())


class Disk:
    """Which operation on the WAL fails, counted from when it is armed."""

    def __init__(self) -> None:
        self.fail_at: dict[str, range] = {}
        self.seen = {"write": 0, "sync": 0}
        self.error: type[apsw.Error] = apsw.FullError

    def arm(self, kind: str, which: range, error: type[apsw.Error]) -> None:
        self.seen = {"write": 0, "sync": 0}
        self.fail_at = {kind: which}
        self.error = error

    def meet(self, kind: str) -> None:
        self.seen[kind] += 1
        if self.seen[kind] in self.fail_at.get(kind, ()):
            raise self.error(f"the {kind} number {self.seen[kind]} was made to fail")


class FaultyFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk if flags[0] & apsw.SQLITE_OPEN_WAL else None

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._disk:
            self._disk.meet("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        if self._disk:
            self._disk.meet("sync")
        super().xSync(flags)


class FaultyVfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self.name = f"faulty-{id(self)}"
        self._disk = disk
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> FaultyFile:
        return FaultyFile(self._disk, name, flags)


@pytest.fixture
def faulty() -> Iterator[tuple[Disk, FaultyVfs]]:
    disk = Disk()
    vfs = FaultyVfs(disk)
    yield disk, vfs
    vfs.unregister()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("engine", FILES)
@pytest.mark.parametrize("error", [apsw.FullError, apsw.IOError])
@pytest.mark.parametrize("kind", ["write", "sync"])
@pytest.mark.parametrize("spill", [False, True])
def test_a_fault_at_every_write_and_sync(
    tmp_path: Path,
    faulty: tuple[Disk, FaultyVfs],
    engine: str,
    error: type[apsw.Error],
    kind: str,
    spill: bool,
) -> None:
    """spill: a cache so small that statements write to the WAL before COMMIT."""
    disk, vfs = faulty

    async def whole() -> None:
        at = 0
        hit = True
        while hit and at < 40:
            at += 1 if kind == "sync" else 3
            folder = tmp_path / str(at)
            folder.mkdir()
            stand = Stand(folder, engine, vfs=vfs.name)
            if spill:
                stand.store._writer.connection.pragma("cache_size", 1)
            disk.arm(kind, range(at, at + 1), error)
            results = await three(stand)
            hit = disk.seen[kind] >= at
            disk.fail_at = {}
            # In COMMIT nobody pays for it; in a statement that spills, at most its own unit.
            assert sum(result == n for n, result in enumerate(results)) >= UNITS - spill, results
            await check(stand, results)
        assert at > 1
        # For good: all are told so, reading goes on, and so does writing once there is room.
        folder = tmp_path / "for-good"
        folder.mkdir()
        stand = Stand(folder, engine, vfs=vfs.name)
        disk.arm(kind, range(1, 1_000_000), error)
        results = await three(stand)
        wanted = StoreFull if error is apsw.FullError else StoreError
        assert [type(result) for result in results] == [wanted] * UNITS, results
        assert await stand.read(contents) == {}
        disk.fail_at = {}
        results = await three(stand)
        assert results == list(range(UNITS))
        await check(stand, results)

    asyncio.run(whole())


@pytest.mark.parametrize("engine", FILES)
def test_a_full_file(tmp_path: Path, engine: str) -> None:
    """FULL within a statement, as a file system without space gives it."""

    async def whole() -> None:
        stand = Stand(tmp_path, engine)
        connection = stand.store._writer.connection
        await stand.run(lambda tx: tx.run("INSERT INTO meta VALUES ('kept', 'x')"))
        connection.pragma("max_page_count", int(connection.pragma("page_count")) + 9)
        results = await three(stand)
        assert any(isinstance(result, StoreFull) for result in results)
        assert sum(result == n for n, result in enumerate(results)) >= 1  # one of them fits
        assert await stand.read(lambda tx: tx.value("SELECT value FROM meta")) == "x"
        await check(stand, results)

    asyncio.run(whole())
