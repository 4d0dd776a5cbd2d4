"""Pairs of real units, interleaved: whatever the order of their statements, what is left is what
one of the two orders one after the other would have left.

Units: what sessions, the queue, upkeep and the commands give to the store. Nothing here may rely on
SQLite, which runs one unit after another anyway.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from tests.contract.pairs import pairs
from tests.contract.scene import Scene
from tests.support.interleave import Saved, connect, run_pair
from tests.support.stores import Stand

from estafeta.store.postgres.line import Line

BREAKS_MAX = int(os.environ.get("ESTAFETA_INTERLEAVED", "8"))
"""Statements after which a unit breaks off; the first ones are those that take locks."""


def orders(steps: Sequence[int], dice: random.Random) -> Iterator[str]:
    """One breaks off after each of its statements, or after some of many, and lets the other go
    first; then in turns; then some by chance."""
    for first, second, count in (("a", "b", steps[0]), ("b", "a", steps[1])):
        for n in sorted({1 + k * count // BREAKS_MAX for k in range(BREAKS_MAX)} | {count}):
            yield first * n + second * 200
    yield "ab" * 100
    for _ in range(2):
        yield "".join(dice.choice("ab") for _ in range(80))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, list[Line], Saved]]:
    stand = Stand(tmp_path_factory.mktemp("scene"), "postgresql")
    scene = Scene()

    async def fill() -> None:
        await scene.fill(stand)
        await stand.store.close()

    asyncio.run(fill())
    saved = Saved(stand.url)
    lines = [connect(stand.url), connect(stand.url)]
    yield scene, lines, saved
    for each in (*lines, saved):
        each.close()
    stand.clear()


NAMES = list(
    pairs(
        type(
            "Nothing",
            (),
            {
                "__getattr__": lambda self, name: lambda *_, **__: (lambda tx: None, ()),
                "out": None,
                "returned": None,
                "back": None,
            },
        )()
    )
)


@pytest.mark.parametrize("name", NAMES)
def test_any_order_is_one_after_the_other(
    scene: tuple[Scene, list[Line], Saved], name: str
) -> None:
    whole, lines, saved = scene
    pair = pairs(whole)[name]
    expected = []
    counts: list[list[int]] = []
    for serial in ("a" * 100 + "b" * 100, "b" * 100 + "a" * 100):
        saved.restore()
        outcomes, steps = run_pair(lines, saved.admin, pair, serial)
        expected.append((outcomes, told_by(saved)))
        counts.append(steps)
    seed = random.SystemRandom().randrange(1 << 30)
    for order in orders([max(c) for c in zip(*counts, strict=True)], random.Random(seed)):
        saved.restore()
        outcomes, _ = run_pair(lines, saved.admin, pair, order)
        state = told_by(saved)
        assert (outcomes, state) in expected, _told(name, seed, order, outcomes, state, expected)
        assert not overlooked(saved), order


def told_by(saved: Saved) -> list[tuple[str, str]]:
    """All rows but when destinations are looked at, which may be too early: see `overlooked`."""
    return [row for row in saved.dump() if row[0] != "destination"]


def overlooked(saved: Saved) -> list[Any]:
    """Rows of the queue that nobody will look at in time."""
    return saved.admin.execute(
        "SELECT queue.* FROM queue LEFT JOIN destination ON name = destination"
        " WHERE name IS NULL OR destination.due > queue.due"
    ).fetchall()


def _told(name: str, seed: int, order: str, outcomes: Any, state: Any, expected: Any) -> str:
    lines = [f"{name}, seed {seed}, {order.rstrip(order[-1])}{order[-1]}…: {outcomes}"]
    for label, (wanted, there) in zip(("a, b", "b, a"), expected, strict=True):
        lines.append(f"  {label} would give {wanted}")
        lines += [f"    here alone: {row}" for row in state if row not in there]
        lines += [f"    there alone: {row}" for row in there if row not in state]
    return "\n".join(lines)


def test_no_row_is_leased_twice(scene: tuple[Scene, list[Line], Saved]) -> None:
    """Who comes second passes over what the first has locked, and may find less than there is; it
    is there for the next look."""
    whole, lines, saved = scene
    pair = (whole.lease(80), whole.lease(81))
    for order in orders([8, 8], random.Random(1)):
        saved.restore()
        outcomes, _ = run_pair(lines, saved.admin, pair, order)
        tokens = saved.admin.execute(
            "SELECT lease, count(*) FROM queue WHERE destination IN ('b.example', 'c.example')"
            " GROUP BY lease"
        ).fetchall()
        by_token = dict(tokens)
        assert sum(by_token.values()) == 5
        assert [by_token.get(80, 0), by_token.get(81, 0)] != [0, 0]
        for token, jobs in zip((80, 81), outcomes, strict=True):
            assert jobs == (1 if by_token.get(token) else 0)
        assert not overlooked(saved), order
