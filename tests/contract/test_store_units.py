"""Units of work: the contract of store/engine.py, over every engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support.stores import ENGINES, Stand, with_stand

from estafeta.store.counters import take
from estafeta.store.engine import StoreClosed, StoreConflict, StoreError, StoreReadOnly, Tx

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def put(name: str, value: int = 0):
    def unit(tx: Tx) -> str:
        tx.run("INSERT INTO counter (name, value) VALUES (?, ?)", (name, value))
        return name

    return unit


def names(tx: Tx) -> set[str]:
    return {name for (name,) in tx.rows("SELECT name FROM counter WHERE name LIKE 't-%'")}


def test_answers_hold_what_the_unit_returned_in_order(tmp_path: Path, engine: str) -> None:
    async def work(stand: Stand) -> None:
        taken = await asyncio.gather(*(stand.run(lambda tx: take(tx, "t-n")) for _ in range(300)))
        # Several connections of PostgreSQL take units at once, each those that came together.
        assert (sorted(taken) if stand.url else taken) == list(range(1, 301))
        assert (
            await stand.read(lambda tx: tx.value("SELECT value FROM counter WHERE name='t-n'"))
            == 300
        )
        # Grouped: far fewer transactions than units.
        assert stand.store.statistics.commits <= 10
        assert stand.store.statistics.units == 300

    with_stand(tmp_path, work, engine)


def test_a_unit_that_raises_is_undone_alone(tmp_path: Path, engine: str) -> None:
    class Mine(Exception):
        pass

    def bad(tx: Tx) -> None:
        put("t-bad")(tx)
        raise Mine

    async def work(stand: Stand) -> None:
        results = await asyncio.gather(
            stand.run(put("t-1")), stand.run(bad), stand.run(put("t-2")), return_exceptions=True
        )
        assert results[0] == "t-1"
        assert isinstance(results[1], Mine)
        assert results[2] == "t-2"
        assert await stand.read(names) == {"t-1", "t-2"}
        with pytest.raises(Mine):  # alone, without a savepoint
            await stand.run(bad)
        assert await stand.read(names) == {"t-1", "t-2"}

    with_stand(tmp_path, work, engine)


def test_a_failed_statement_ends_its_unit_even_if_swallowed(tmp_path: Path, engine: str) -> None:
    def swallows(tx: Tx) -> str:
        put("t-x")(tx)
        try:
            put("t-x")(tx)
        except StoreConflict:
            return "nothing happened?"
        raise AssertionError

    def goes_on(tx: Tx) -> None:
        try:
            tx.run("INSERT INTO nowhere VALUES (1)")
        except StoreError:
            put("t-y")(tx)

    async def work(stand: Stand) -> None:
        results = await asyncio.gather(
            stand.run(swallows), stand.run(goes_on), stand.run(put("t-z")), return_exceptions=True
        )
        assert isinstance(results[0], StoreConflict)
        assert isinstance(results[1], StoreError)
        assert await stand.read(names) == {"t-z"}

    with_stand(tmp_path, work, engine)


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_unit_cannot_end_the_transaction_of_others(tmp_path: Path, engine: str, end: str) -> None:
    def unit(tx: Tx) -> None:
        tx.run(end)

    async def work(stand: Stand) -> None:
        results = await asyncio.gather(
            stand.run(put("t-1")), stand.run(unit), stand.run(put("t-2")), return_exceptions=True
        )
        # With COMMIT, what was before it is there already: run again, it is taken.
        expected = {"COMMIT": StoreConflict, "ROLLBACK": str}[end]
        assert isinstance(results[0], expected)
        assert isinstance(results[1], StoreError)
        assert results[2] == "t-2"
        assert await stand.read(names) == {"t-1", "t-2"}

    with_stand(tmp_path, work, engine)


def test_an_own_error_may_stand_for_a_conflict(tmp_path: Path, engine: str) -> None:
    def unit(tx: Tx) -> None:
        put("t-a")(tx)
        try:
            put("t-a")(tx)
        except StoreConflict as conflict:
            raise LookupError("taken") from conflict

    async def work(stand: Stand) -> None:
        with pytest.raises(LookupError):
            await stand.run(unit)
        assert await stand.read(names) == set()

    with_stand(tmp_path, work, engine)


def test_stop_iteration_reaches_the_caller_as_an_error(tmp_path: Path, engine: str) -> None:
    async def work(stand: Stand) -> None:
        with pytest.raises(RuntimeError):
            await stand.run(lambda tx: next(iter(())))
        assert await stand.run(put("t-1")) == "t-1"

    with_stand(tmp_path, work, engine)


def test_a_read_must_not_write_and_sees_one_state(tmp_path: Path, engine: str) -> None:
    async def work(stand: Stand) -> None:
        await stand.run(put("t-1"))
        with pytest.raises(StoreReadOnly):
            await stand.read(put("t-2"))
        assert await stand.read(names) == {"t-1"}
        with pytest.raises(ZeroDivisionError):
            await stand.read(lambda tx: 1 // 0)
        assert await stand.read(names) == {"t-1"}

    with_stand(tmp_path, work, engine)


def test_a_cancelled_caller_leaves_the_others_alone(tmp_path: Path, engine: str) -> None:
    async def work(stand: Stand) -> None:
        ran = []

        def counted(tx: Tx) -> None:
            ran.append(1)

        first = asyncio.ensure_future(stand.run(put("t-1")))
        second = asyncio.ensure_future(stand.run(counted))
        await asyncio.sleep(0)  # both are in the queue
        second.cancel()
        assert await first == "t-1"
        assert not ran
        assert await stand.run(put("t-2")) == "t-2"

    with_stand(tmp_path, work, engine)


def test_close_finishes_what_was_given_and_refuses_the_rest(tmp_path: Path, engine: str) -> None:
    async def work(stand: Stand) -> None:
        given = asyncio.ensure_future(stand.run(put("t-1")))
        await asyncio.sleep(0)
        await stand.store.close()
        assert await given == "t-1"
        with pytest.raises(StoreClosed):
            await stand.run(put("t-2"))
        with pytest.raises(StoreClosed):
            await stand.read(names)
        assert stand.url or not stand.path.with_name("estafeta.db-wal").exists()
        stand.store = stand.open()
        assert await stand.read(names) == {"t-1"}

    with_stand(tmp_path, work, engine)


def test_hints_wake_their_listeners_after_the_commit(tmp_path: Path, engine: str) -> None:
    async def work(stand: Stand) -> None:
        if stand.url:
            await stand.store._bell.heard()  # who begins to listen is woken once for nothing
        mine, other = (stand.store.listen(("account", n)) for n in (1, 2))

        def unit(tx: Tx) -> None:
            put("t-1")(tx)
            tx.hint(("account", 1))

        def failing(tx: Tx) -> None:
            tx.hint(("account", 2))
            raise LookupError

        waiting = asyncio.ensure_future(mine.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        await asyncio.gather(stand.run(unit), stand.run(failing), return_exceptions=True)
        await asyncio.wait_for(waiting, 5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(other.wait(), 0.005)
        await stand.run(unit2 := lambda tx: tx.hint(("account", 1)))
        await asyncio.wait_for(mine.wait(), 5)  # came before: returns at once
        mine.close()
        mine.close()
        await stand.run(unit2)
        other.close()

    with_stand(tmp_path, work, engine)
