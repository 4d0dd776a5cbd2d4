"""Buckets of real processes: together they get what the bucket holds, and their slices at most."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from tests.support.stores import Stand

from estafeta.store import buckets
from estafeta.store.buckets import Limit

LIMIT = Limit(400, 3600.0)
PROCESSES = 2
TAKER = """
import asyncio, sys
from pathlib import Path
from estafeta.mail.protocols import NoMeter
from estafeta.store.buckets import Buckets, Limit
from estafeta.store.open import open_store
from estafeta.world.real import real_world

async def main():
    where, folder, burst, seconds = sys.argv[1:]
    limit = Limit(int(burst), float(seconds))
    world = real_world(Path(folder))
    store = await open_store(where, world)
    bucket = Buckets(store, world.clock, NoMeter())
    await bucket.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    taken = refused = 0
    while refused < 50:
        if await bucket.take("shared", limit):
            refused += 1
            await asyncio.sleep(0.002)
        else:
            taken += 1
    print(taken, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await bucket.stop()
    await store.close()

asyncio.run(main())
"""


def start(where: str, folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", TAKER, where, str(folder), str(LIMIT.burst), str(LIMIT.seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_processes_get_no_more_than_their_slices_too_many(tmp_path: Path, engine: str) -> None:
    async def whole() -> None:
        stand = Stand(tmp_path, engine)
        where = stand.url or f"sqlite://{stand.path}"
        began = time.time()
        both = [await asyncio.to_thread(start, where, tmp_path / str(n)) for n in range(PROCESSES)]
        for each in both:
            say(each)
        taken = [int(await asyncio.to_thread(each.stdout.readline)) for each in both]  # type: ignore[union-attr]
        flowed = (time.time() - began) * LIMIT.burst / LIMIT.seconds
        most = LIMIT.burst + flowed + (PROCESSES - 1) * (LIMIT.slice - 1)
        assert LIMIT.burst <= sum(taken) <= most, taken
        # One is killed, the other ends well: all that it merged stands in the store.
        both[0].kill()
        say(both[1])
        for each in both:
            await asyncio.to_thread(each.wait, 20)
        now = int(time.time() * 1000)
        left = await stand.read(partial(buckets.level, name="shared", limit=LIMIT, now=now))
        assert left < LIMIT.slice + flowed + 2
        await stand.store.close()
        stand.clear()

    asyncio.run(whole())
