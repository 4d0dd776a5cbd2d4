"""Bearers: what a token opens, and what is kept of it."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.store import accounts, bearers
from estafeta.store.audit import audit_full
from estafeta.store.bearers import BearersError
from estafeta.store.engine import Tx

pytestmark = pytest.mark.usefixtures("each_engine")


async def make(stand: Stand, name: str, account: int | None = None, expires: int = 0) -> str:
    token = bearers.new_token(stand.dice)
    now = stand.clock.ms
    await stand.run(
        lambda tx: bearers.add(tx, name, token, account=account, now=now, expires=expires)
    )
    return token


async def opens(stand: Stand, token: str) -> str:
    """The name of whose token it is."""
    found = await stand.read(lambda tx: bearers.shown(tx, token, stand.clock.ms))
    return "" if found is None else found.name


def test_tokens_differ_and_are_256_bits() -> None:
    dice = random.Random(1)
    made = {bearers.new_token(dice) for _ in range(100)}
    assert len(made) == 100
    assert all(len(each) == len(bearers.PREFIX) + 43 for each in made)


def test_a_token_opens_what_it_was_made_for(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        mine, root = await make(stand, "mine", ana), await make(stand, "root")
        assert (await opens(stand, mine), await opens(stand, root)) == ("mine", "root")
        found = await stand.read(bearers.bearers)
        assert [(b.name, b.is_admin, b.address) for b in found] == [
            ("mine", False, "ana@a.example"),
            ("root", True, ""),
        ]
        for other in ("", mine[:-1], mine + "x", mine.upper(), root[9:], "\ud800", "é" * 50):
            assert await opens(stand, other) == ""

    with_stand(tmp_path, work)


def test_the_store_has_the_hash_alone(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        token = await make(stand, "root")
        (row,) = await stand.read(lambda tx: tx.rows("SELECT * FROM bearer"))
        assert hashlib.sha256(token.encode()).digest() in [
            bytes(v) for v in row if isinstance(v, bytes | memoryview)
        ]
        assert not any(isinstance(v, str) and token[9:] in v for v in row)

    with_stand(tmp_path, work)


def test_what_opens_nothing_any_more(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        mine = await make(stand, "mine", ana)
        short = await make(stand, "short", expires=stand.clock.ms + 1000)
        assert await opens(stand, short) == "short"
        stand.clock.ms += 1000
        assert await opens(stand, short) == ""
        await stand.run(lambda tx: accounts.set_account(tx, ana, disabled=True))
        assert await opens(stand, mine) == ""
        await stand.run(lambda tx: accounts.set_account(tx, ana, disabled=False))
        assert await opens(stand, mine) == "mine"
        await stand.run(lambda tx: accounts.remove_account(tx, ana))
        assert await opens(stand, mine) == ""
        assert [b.name for b in await stand.read(bearers.bearers)] == ["short"]
        await stand.run(lambda tx: bearers.remove(tx, "short"))
        assert await stand.read(bearers.bearers) == []
        with pytest.raises(BearersError, match="there is no token short"):
            await stand.run(lambda tx: bearers.remove(tx, "short"))

    with_stand(tmp_path, work)


def test_nobody_makes_a_token_for_an_account_that_is_gone(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        await stand.run(lambda tx: accounts.remove_account(tx, ana))
        with pytest.raises(BearersError, match="its account is gone"):
            await make(stand, "mine", ana)

    with_stand(tmp_path, work)


def test_a_name_is_given_once(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        first = await make(stand, "root")
        with pytest.raises(BearersError, match="there is a token root already"):
            await make(stand, "root")
        assert await opens(stand, first) == "root"

    with_stand(tmp_path, work)


def test_the_day_of_the_last_use(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        await make(stand, "root")
        day = stand.clock.ms // bearers.DAY_MS
        for at in (day, day + 1, day):  # a clock that goes back
            await stand.run(lambda tx, at=at: bearers.note_use(tx, "root", at * bearers.DAY_MS))
        (found,) = await stand.read(bearers.bearers)
        assert found.used == day + 1

    with_stand(tmp_path, work)


def test_a_token_of_a_lost_account_is_found_by_the_audit(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        ana = await stand.account()
        await make(stand, "mine", ana)
        await make(stand, "root")
        assert [f async for f in audit_full(stand.store)] == []

        def lose(tx: Tx) -> None:
            tx.run("UPDATE bearer SET account = 4711 WHERE name = 'mine'")

        await stand.run(lose)
        (finding,) = [f async for f in audit_full(stand.store)]
        assert finding.kind == "account-lost"
        assert "token mine" in finding.text

    with_stand(tmp_path, work)
