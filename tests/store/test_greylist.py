"""Greylist: who waits, who passes, who is known, and that rows end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import NOON, Stand, with_stand

from estafeta.store import greylist
from estafeta.store.greylist import DAY_MS, Due, Known, Standing, Terms, Waiting, key_of

pytestmark = pytest.mark.usefixtures("each_engine")

MINUTE = 60_000
TERMS = Terms(delay=5 * MINUTE, window=2 * DAY_MS, keep=36 * DAY_MS, known_after=3, apart=MINUTE)
WHO = "correo.example"
KEY = key_of(WHO, "ana@correo.example", "1")


class Rows:
    def __init__(self, stand: Stand) -> None:
        self.stand = stand

    async def arrive(self, at: int, key: bytes = KEY, **given: Any) -> int | None:
        unit = partial(greylist.arrive, key=key, now=NOON + at, terms=TERMS, **given)
        left: int | None = await self.stand.run(unit)
        return left

    async def look(self, at: int, key: bytes = KEY) -> Any:
        unit = partial(greylist.look, key=key, now=NOON + at, terms=TERMS)
        return await self.stand.read(unit)

    async def pass_(self, at: int, key: bytes) -> None:
        assert await self.arrive(at, key) == TERMS.delay
        assert await self.arrive(at + TERMS.delay, key) is None

    async def count(self) -> int:
        found = await self.stand.read(lambda tx: tx.value("SELECT count(*) FROM greylist"))
        return int(found)


def play(folder: Path, scene: Callable[[Rows], Awaitable[None]]) -> None:
    with_stand(folder, lambda stand: scene(Rows(stand)))


def test_a_stranger_waits_and_passes(tmp_path: Path) -> None:
    async def scene(rows: Rows) -> None:
        assert await rows.look(0) is None
        assert await rows.arrive(0) == TERMS.delay
        assert await rows.look(MINUTE) == Waiting(4 * MINUTE)
        assert await rows.arrive(MINUTE) == 4 * MINUTE  # the first try counts, not the last
        assert await rows.look(TERMS.delay - 1) == Waiting(1)
        assert await rows.look(TERMS.delay) == Due()
        assert await rows.arrive(TERMS.delay) is None
        assert await rows.look(TERMS.delay) == Known(KEY, False)
        assert await rows.arrive(TERMS.delay + 1) is None
        assert await rows.count() == 2  # it, and who it is of

    play(tmp_path, scene)


@pytest.mark.parametrize(("late", "expected"), [(0, None), (1, TERMS.delay)])
def test_who_comes_too_late_begins_anew(tmp_path: Path, late: int, expected: int | None) -> None:
    async def scene(rows: Rows) -> None:
        await rows.arrive(0)
        at = TERMS.window + late
        assert await rows.look(at) == Due()
        assert await rows.arrive(at) == expected
        if late:
            assert await rows.look(at + 1) == Waiting(TERMS.delay - 1)
            assert await rows.arrive(at + TERMS.delay) is None

    play(tmp_path, scene)


def test_a_clock_that_went_back_lets_nobody_wait_longer_than_the_delay(tmp_path: Path) -> None:
    async def scene(rows: Rows) -> None:
        await rows.arrive(30 * MINUTE)
        assert await rows.look(0) == Due()
        assert await rows.arrive(0) == TERMS.delay
        assert await rows.arrive(TERMS.delay) is None

    play(tmp_path, scene)


def test_who_passed_is_known_for_so_long_after_the_last_use(tmp_path: Path) -> None:
    async def scene(rows: Rows) -> None:
        await rows.pass_(0, KEY)
        day = DAY_MS
        assert await rows.look(day) == Known(KEY, True)  # once a day it is told of
        await rows.stand.run(partial(greylist.use, key=KEY, now=NOON + day, terms=TERMS))
        assert await rows.look(day + MINUTE) == Known(KEY, False)
        assert isinstance(await rows.look(day + TERMS.keep), Known)
        assert await rows.look(day + TERMS.keep + DAY_MS) == Due()
        assert await rows.arrive(day + TERMS.keep + DAY_MS) == TERMS.delay

    play(tmp_path, scene)


def test_a_use_that_comes_after_the_end_revives_nothing(tmp_path: Path) -> None:
    async def scene(rows: Rows) -> None:
        await rows.arrive(0)
        await rows.stand.run(partial(greylist.use, key=KEY, now=NOON, terms=TERMS))
        assert await rows.look(1) == Waiting(TERMS.delay - 1)
        await rows.stand.run(partial(greylist.expire, now=NOON + 3 * DAY_MS))
        assert await rows.count() == 0

    play(tmp_path, scene)


def test_an_organisation_is_known_after_so_many_messages(tmp_path: Path) -> None:
    async def scene(rows: Rows) -> None:
        stranger = key_of(WHO, "new@correo.example", "9")
        for n in range(3):
            assert await rows.look(n * 10 * MINUTE, stranger) is None
            await rows.pass_(n * 10 * MINUTE, key_of(WHO, f"{n}@correo.example", "1"))
        who = greylist.key_of_who(WHO)
        assert await rows.look(40 * MINUTE, stranger) == Known(who, False)
        assert await rows.look(40 * MINUTE, key_of("x.example", "n", "9")) is None
        assert await rows.look(40 * DAY_MS, stranger) is None  # not seen for long
        # And counted from the beginning then.
        await rows.pass_(40 * DAY_MS, key_of(WHO, "3@correo.example", "1"))
        assert (await rows.stand.read(partial(greylist.standing, who=WHO))).came == 1

    play(tmp_path, scene)


def test_recipients_of_one_message_count_once(tmp_path: Path) -> None:
    async def scene(rows: Rows) -> None:
        keys = [key_of(WHO, "ana@correo.example", str(n)) for n in range(6)]
        for n, key in enumerate(keys):
            await rows.arrive(n, key)
        for n, key in enumerate(keys[:4]):
            assert await rows.arrive(TERMS.delay + n, key) is None
        standing = await rows.stand.read(partial(greylist.standing, who=WHO))
        assert standing == Standing(1, NOON + TERMS.delay, 2, 4)
        assert await rows.arrive(TERMS.delay + TERMS.apart, keys[4]) is None
        assert await rows.arrive(2 * TERMS.delay + TERMS.apart, keys[5], counts=False) is None
        standing = await rows.stand.read(partial(greylist.standing, who=WHO))
        assert standing == Standing(2, NOON + TERMS.delay + TERMS.apart, 0, 6)

    play(tmp_path, scene)


def test_rows_end_in_slices(tmp_path: Path) -> None:
    async def scene(rows: Rows) -> None:
        async def expire(at: int, limit: int = 100) -> bool:
            done: bool = await rows.stand.run(partial(greylist.expire, now=NOON + at, limit=limit))
            return done

        for n in range(5):
            await rows.arrive(0, key_of("x.example", "s", str(n)))
        await rows.pass_(0, KEY)
        assert await expire(2 * DAY_MS)
        assert await rows.count() == 7
        assert not await expire(3 * DAY_MS, 3)
        assert await rows.count() == 4
        assert await expire(3 * DAY_MS, 3)
        assert await rows.count() == 2
        assert await expire(37 * DAY_MS)
        assert await rows.count() == 0

    play(tmp_path, scene)


def test_what_is_of_one_can_be_seen_and_forgotten(tmp_path: Path) -> None:
    async def scene(rows: Rows) -> None:
        await rows.pass_(0, KEY)
        await rows.arrive(0, key_of(WHO, "b@correo.example", "1"))
        other = key_of("other.example", "b@correo.example", "1")
        await rows.arrive(0, other)
        assert await rows.stand.run(partial(greylist.forget, who=WHO)) == 3
        assert await rows.stand.read(partial(greylist.standing, who=WHO)) == Standing(0, 0, 0, 0)
        assert await rows.look(TERMS.delay) is None
        assert await rows.look(TERMS.delay, other) == Due()

    play(tmp_path, scene)


def test_keys_tell_apart_what_differs() -> None:
    keys = [
        key_of("a", "b", "c"),
        key_of("a", "bc", ""),
        key_of("a", "b", "d"),
        key_of("ab", "", "c"),
        key_of("b", "b", "c"),
    ]
    assert len(set(keys)) == len(keys)
    assert {key[:8] for key in keys[:3]} == {greylist.key_of_who("a")}
    assert all(len(key) == 20 for key in keys)
