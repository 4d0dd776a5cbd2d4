"""\\Recent (RFC 3501 §2.3.2) goes to one session, whichever process serves it."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from tests.read.rig import Client, House, house, message

from estafeta.store.sqlite import open_sqlite


async def other_process(h: House) -> House:
    """Another server over the same file: it shares nothing with the first but the store."""
    store = open_sqlite(h.store.path, clock=h.world.clock, inline=True)
    return House(h.world, store, h.account)


async def told_recent(client: Client) -> set[int]:
    lines = await client.ok("UID SEARCH RECENT")
    found = next(line for line in lines if line.startswith(b"* SEARCH"))
    return {int(uid) for uid in found.split()[2:]}


@pytest.mark.parametrize("seed", range(6))
def test_each_message_to_one_of_four(tmp_path: Path, seed: int) -> None:
    """Two sessions in each of two processes, of which anybody may look first."""

    async def main() -> None:
        dice = random.Random(seed)
        async with house(tmp_path) as h:
            other = await other_process(h)
            clients = [await each.imap_client() for each in (h, h, other, other)]
            writer = await h.imap_client()
            for number in range(2):
                await writer.ok("APPEND INBOX", message(number))
            await asyncio.gather(*(client.ok("SELECT INBOX") for client in clients))
            for number in range(2, 8):
                await writer.ok("APPEND INBOX", message(number))
                some = dice.sample(clients, dice.randint(1, 4))
                await asyncio.gather(*(client.ok("NOOP") for client in some))
            seen = [await told_recent(client) for client in clients]
            assert sorted(uid for each in seen for uid in each) == list(range(1, 9))
            read_only = await other.imap_client()
            assert b"* 0 RECENT" in await read_only.ok("EXAMINE INBOX")
            await other.close()
            await other.store.close()

    asyncio.run(main())


def test_read_only_takes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path) as h:
            writer, looks, has = [await h.imap_client() for _ in range(3)]
            await writer.ok("APPEND INBOX", message(1))
            assert b"* 1 RECENT" in await looks.ok("EXAMINE INBOX")
            assert b"* 1 RECENT" in await has.ok("SELECT INBOX")
            await looks.ok("CLOSE")
            assert b"* 0 RECENT" in await looks.ok("EXAMINE INBOX")

    asyncio.run(main())
