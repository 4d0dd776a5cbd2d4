"""Tokens: one key for everybody who opens the store, and it can be changed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.store import tokens
from estafeta.store.tokens import Tokens

pytestmark = pytest.mark.usefixtures("each_engine")

ID = 0x1A2B3C4D5E6F7081


def test_workers_know_each_others(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        one, other = (Tokens(stand.store, random.Random(n)) for n in (1, 2))
        await one.ready()
        token = one.make(ID, "envid")
        assert await other.read(token, "envid") == ID  # which made none yet
        await other.ready()
        assert other.make(ID, "envid") == token
        assert await one.read(other.message_id(ID, "mx.example"), "message-id") == ID
        assert await one.read(token, "message-id") is None

    with_stand(tmp_path, work)


def test_nothing_is_known_before_there_is_a_key(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        elsewhere = Tokens(stand.store, random.Random(1))
        assert await elsewhere.read("E1.0000000000000.00000000000000000000000000", "envid") is None
        assert await stand.read(tokens.stored) is None

    with_stand(tmp_path, work)


def test_another_key_is_taken_up_when_it_is_asked_for(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        one, other = (Tokens(stand.store, random.Random(n)) for n in (1, 2))
        await one.ready()
        before = one.make(ID, "envid")
        await stand.run(lambda tx: tokens.rotate(tx, b"x" * 32))
        await other.ready()
        after = other.make(ID, "envid")
        assert after != before
        assert one.make(ID, "envid") == before
        for each in (one, other):
            assert await each.read(before, "envid") == await each.read(after, "envid") == ID
        one.forget()
        await one.ready()
        assert one.make(ID, "envid") == after

    with_stand(tmp_path, work)


def test_the_first_key_may_come_by_a_change(tmp_path: Path) -> None:
    async def work(stand: Stand) -> None:
        await stand.run(lambda tx: tokens.rotate(tx, b"x" * 32))
        one = Tokens(stand.store, random.Random(1))
        await one.ready()
        assert await one.read(one.make(ID, "envid"), "envid") == ID

    with_stand(tmp_path, work)
