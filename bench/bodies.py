"""python -m bench.bodies: what a message costs by where its body lies: database, file, object.

Written in pieces as SMTP brings them, put by a unit, then read by somebody who has nothing of it
at hand. CPU is this process's alone, obstore's threads included; the object store is moto's server
in a process of its own, so the wall clock of objects says more about moto than about us.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.support.peers.process import Running, free_port
from tests.support.s3 import BUCKET, LOOPBACK, ask, objects_at

from estafeta.store.bodies import Bodies, Body, bring, house, put
from estafeta.store.engine import Store
from estafeta.store.ids import Ids
from estafeta.store.open import open_store
from estafeta.world.real import real_world, run
from estafeta.world.seams import Objects

PIECE_OCTETS = 64 * 1024
BATCH = 20  # at once, as sessions that end their messages together


async def timed(work: Callable[[], Awaitable[None]], count: int) -> tuple[float, float]:
    """(CPU, wall) of one message, ms."""
    cpu, wall = time.process_time(), time.perf_counter()
    await work()
    spent = time.process_time() - cpu, time.perf_counter() - wall
    return spent[0] * 1000 / count, spent[1] * 1000 / count


async def side(
    where: str, folder: Path, objects: Objects | None, size: int, count: int
) -> tuple[float, float, float, float]:
    """(CPU, wall) of writing and of reading one message, ms."""
    world = real_world(folder, objects)
    store: Store = await open_store(f"sqlite://{folder}/estafeta.db", world)
    house.INLINE_MAX = size if where == "database" else min(size // 2, house.INLINE_MAX)

    def make() -> Bodies:
        return Bodies(
            world.disk,
            Ids(world.clock, world.dice),
            objects=objects,
            large="files" if objects is None else "s3",
        )

    bodies, data, ids = make(), random.Random(1).randbytes(size), []

    async def one() -> None:
        writer = bodies.writer()
        for at in range(0, size, PIECE_OCTETS):
            writer.write(data[at : at + PIECE_OCTETS])
        body = await writer.finish()
        await store.run(lambda tx: put(tx, body))
        ids.append(body.id)

    async def write() -> None:
        for _ in range(count // BATCH):
            await asyncio.gather(*(one() for _ in range(BATCH)))

    async def fetch(reader: Bodies, id: int) -> None:
        body: Body = await store.read(lambda tx: reader.content(tx, id))
        await bring(body)
        assert sum(map(len, body.chunks())) == size

    async def read() -> None:
        reader = make()
        for at in range(0, len(ids), BATCH):
            await asyncio.gather(*(fetch(reader, id) for id in ids[at : at + BATCH]))

    await asyncio.gather(*(one() for _ in range(BATCH)))  # connections and pages are there
    ids.clear()
    written = await timed(write, count)
    got = await timed(read, count)
    await store.close()
    return (*written, *got)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.bodies", description=__doc__)
    parser.add_argument("--size", type=int, default=1024 * 1024, help="octets of a message")
    parser.add_argument("--count", type=int, default=200, help="messages a run")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    with moto() as endpoint:
        for turn in range(given.turns):
            for where in ("database", "file", "object"):
                objects = None
                if where == "object":
                    objects = objects_at(endpoint, prefix=f"{turn}/")
                with tempfile.TemporaryDirectory(prefix="estafeta-bench-") as folder:
                    measured = run(side(where, Path(folder), objects, given.size, given.count))
                found.setdefault(where, []).append(measured)
    table = Table("body", "write CPU", "write wall", "read CPU", "read wall", box=None)
    for where, runs in found.items():
        middle = [sorted(column)[len(column) // 2] for column in zip(*runs, strict=True)]
        table.add_row(where, *(f"{value:.2f}" for value in middle))
    Console().print(
        f"ms a message of {given.size} octets, {BATCH} at once, median of {given.turns} runs of "
        f"{given.count}; load {os.getloadavg()[0]:.1f}"
    )
    Console().print(table)
    return 0


@contextmanager
def moto() -> Iterator[str]:
    """The endpoint of an object store with one empty bucket."""
    port = free_port(LOOPBACK)
    command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]
    with tempfile.TemporaryDirectory(prefix="estafeta-bench-") as folder:
        server = Running(command, Path(folder, "log"))
        try:
            server.wait_until("answering", lambda: _answers(port))
            yield f"http://{LOOPBACK}:{port}"
        finally:
            server.stop()


def _answers(port: int) -> bool:
    try:
        ask(port, "PUT", f"/{BUCKET}")
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
