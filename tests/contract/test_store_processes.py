"""Two processes on one store: both write, nobody starves, each notices what the other has done."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.support.stores import Stand

from estafeta.store import accounts, mailboxes
from estafeta.store.counters import take
from estafeta.store.engine import Tx

OTHER = """
import asyncio, sys, time
from pathlib import Path
from estafeta.store.counters import take
from estafeta.store.sqlite import open_sqlite
from estafeta.world.clock import SystemClock

async def main():
    store = open_sqlite(Path(sys.argv[1]), clock=SystemClock())
    end = time.monotonic() + float(sys.argv[2])
    count = 0

    async def write():
        nonlocal count
        while time.monotonic() < end:
            await store.run(lambda tx: take(tx, "shared"))
            count += 1

    print("ready", flush=True)
    await asyncio.gather(*(write() for _ in range(int(sys.argv[3]))))
    await store.close()
    print(count, flush=True)

asyncio.run(main())
"""


def start(path: Path, seconds: float, tasks: int) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(path), str(seconds), str(tasks)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_share_the_writing(tmp_path: Path) -> None:
    """Neither loses a unit, and the quieter one does not starve."""

    async def whole() -> None:
        stand = Stand(tmp_path, "sqlite")
        process = await asyncio.to_thread(start, stand.path, 1.5, 100)
        count = 0
        longest = 0.0
        end = time.monotonic() + 1.2
        while time.monotonic() < end:
            began = time.monotonic()
            await stand.run(lambda tx: take(tx, "shared"))
            longest = max(longest, time.monotonic() - began)
            count += 1
        out, _ = await asyncio.to_thread(process.communicate)
        theirs = int(out)
        assert await stand.run(lambda tx: take(tx, "shared")) == count + theirs + 1
        assert stand.store.statistics.waited > 0
        # One task here, a hundred there: still a unit goes through every few milliseconds.
        assert count > 30, (count, theirs)
        assert longest < 1.0
        await stand.store.close()

    asyncio.run(whole())


def test_commits_of_others_are_noticed_by_whom_they_concern(tmp_path: Path) -> None:
    async def whole() -> None:
        stand = Stand(tmp_path, "sqlite")
        other = stand.open()
        ana, luis = await stand.run(_two_accounts)
        listening = [stand.store.listen(("account", id)) for id in (ana, luis)]
        waiting = [asyncio.ensure_future(each.wait()) for each in listening]
        # Own commits that hint at something else do not wake it …
        for _ in range(5):
            await stand.run(lambda tx: take(tx, "n"))
            await asyncio.sleep(0.01)
        assert not any(each.done() for each in waiting)
        # … the first of another does: nothing is known of how the account was before …
        await other.run(lambda tx: take(tx, "n"))
        await asyncio.wait_for(asyncio.gather(*waiting), 5)
        # … and from then on what changes the account, be it or the reader ever so busy.
        waiting = [asyncio.ensure_future(each.wait()) for each in listening]
        busy = asyncio.create_task(_keep_writing(stand))
        await other.run(lambda tx: mailboxes.next_modseq(tx, luis))
        await asyncio.wait_for(waiting[1], 5)
        assert not waiting[0].done()
        busy.cancel()
        waiting[0].cancel()
        for each in listening:
            each.close()
        async with asyncio.timeout(5):
            while stand.store._tick is not None:  # nobody listens: nobody looks
                await asyncio.sleep(0.01)
        await other.close()
        await stand.store.close()

    asyncio.run(whole())


def _two_accounts(tx: Tx) -> tuple[int, int]:
    accounts.add_domain(tx, "a.example", 0)
    return (
        accounts.add_account(tx, "ana@a.example", 0).id,
        accounts.add_account(tx, "luis@a.example", 0).id,
    )


async def _keep_writing(stand: Stand) -> None:
    while True:
        await asyncio.gather(*(stand.run(lambda tx: take(tx, "busy")) for _ in range(10)))


def test_a_long_transaction_elsewhere_blocks_nobodys_loop(tmp_path: Path) -> None:
    async def whole() -> None:
        stand = Stand(tmp_path, "sqlite")
        other = stand.open()
        holder = other._writer.connection
        holder.execute("BEGIN IMMEDIATE")
        given = asyncio.ensure_future(stand.run(lambda tx: take(tx, "n")))
        turns = 0
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            await asyncio.sleep(0.001)
            turns += 1

            def nothing(tx: Tx) -> int:
                return int(tx.value("SELECT count(*) FROM counter WHERE name = 'n'"))

            assert await stand.read(nothing) == 0  # reading goes on
        assert turns > 10
        assert not given.done()
        holder.execute("ROLLBACK")
        assert await asyncio.wait_for(given, 5) == 1
        await other.close()
        await stand.store.close()

    asyncio.run(whole())
