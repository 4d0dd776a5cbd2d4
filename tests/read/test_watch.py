"""The net below the hints: woken where something changed, left alone where nothing did."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.read.rig import house, message

from estafeta.read.watch import watch
from estafeta.store import accounts

SECONDS = 0.02


def test_woken_by_change_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as h:
            net = watch(h.store)
            account = h.account.id
            waiter = net.join(account, SECONDS)
            # The first look has nothing to compare with.
            await asyncio.wait_for(waiter, 5)
            waiter = net.renew(account, waiter)
            looks = h.store.read
            count = 0

            async def counted(unit: object) -> object:
                nonlocal count
                count += 1
                return await looks(unit)

            h.store.read = counted
            while count < 3:
                await asyncio.sleep(SECONDS)
            assert not waiter.done()
            h.store.read = looks
            client = await h.imap_client()
            await client.ok("APPEND INBOX", message(1))
            await asyncio.wait_for(waiter, 5)
            waiter = net.renew(account, waiter)
            await h.store.run(lambda tx: accounts.set_account(tx, account, disabled=True))
            await asyncio.wait_for(waiter, 5)
            net.leave(account, waiter)
            assert net._looking is None

    asyncio.run(run())


def test_a_disabled_account_is_shown_the_door(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path, poll_seconds=SECONDS) as h:
            idle, busy = await h.imap_client(), await h.imap_client()
            for client in (idle, busy):
                await client.ok("SELECT INBOX")
            idle.send(b"a IDLE\r\n")
            assert await idle.line() == b"+ idling"
            await h.store.run(lambda tx: accounts.set_account(tx, h.account.id, disabled=True))
            assert (await idle.line()).startswith(b"* BYE")
            busy.send(b"a NOOP\r\n")
            assert (await busy.line()).startswith(b"* BYE")

    asyncio.run(run())
