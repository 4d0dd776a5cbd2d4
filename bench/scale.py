"""python -m bench.scale: what the queue's work costs in a store with many recipients, and with few.

Leasing 100 due rows, enqueueing, returning and tracing one message each, by the code of the program
itself, over two stores of one engine in one process, by turns: what the machine does meanwhile
falls on both. What counts is the ratio of the medians.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import msgspec
import structlog
from rich.console import Console
from rich.table import Table

from bench.database import Database
from estafeta.intake.prepared import Incoming
from estafeta.intake.target import ToRemote
from estafeta.mail.envelope import Envelope, Recipient
from estafeta.mail.outcome import Deferred, Outcome, Refused, Reply
from estafeta.mail.protocols import Content, NoMeter
from estafeta.office.assemble import Installation, Outside
from estafeta.office.config import Config, Server
from estafeta.office.journey import Story, tell
from estafeta.office.story import with_children
from estafeta.queue import backoff, rows, wish
from estafeta.queue.errand import Job
from estafeta.store import accounts, counters
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import LOW_BITS, queue_id
from estafeta.store.journey import find
from estafeta.store.open import open_store
from estafeta.world.real import real_world, run
from estafeta.world.seams import Endpoint

RATIO_MAX = 1.5
"""What the project promises."""

RECIPIENTS = 1_000_000
FEW = 1_000
LEASED = 100
ROUNDS = 60
BATCH = 10_000  # rows that are put in at once
DESTINATIONS = 10_000
SENDERS = 200
DAYS = 5
DAY_MS = 86_400_000
HOLE = "hole.example"  # its host backs off; two rows of five wait for it
OURS = "ours.example"
ANA = f"ana@{OURS}"
MESSAGE = (
    b"From: Ana <ana@ours.example>\r\nTo: b@d0.example\r\nSubject: scale\r\n"
    b"Message-ID: <scale@ours.example>\r\nDate: Mon, 30 Nov 2026 12:00:00 +0000\r\n\r\n"
    + b"x" * 3000
    + b"\r\n"
)
BUSY = Deferred(Reply(421, "4.3.2", "busy"), "server-busy")
NO = Refused(Reply(550, "5.1.1", "no such user"), "unknown-user", "mx.d0.example")


class Report(msgspec.Struct):
    """See queue.contract.Report."""

    outcomes: Sequence[Outcome]
    notes: Sequence[Any] = ()
    seen: Sequence[Any] = ()
    blocked: Sequence[str] = ()
    untried: bool = False


class _Refusing(Installation):
    """Every attempt is refused, so that each is returned."""

    async def _attempt(
        self, destination: str, envelope: Envelope, content: Content, sent: Callable[[], None]
    ) -> Any:
        return Report([NO] * len(envelope.recipients))


class Scene:
    """One store with its people and `recipients` of messages sent over the last days."""

    def __init__(self, url: str, folder: Path, recipients: int) -> None:
        self.url = url
        self.folder = folder
        self.recipients = recipients
        self.tokens = iter(range(1 << 39, 1 << 40))

    async def open(self) -> None:
        world = real_world(self.folder)
        self.store: Store = await open_store(self.url, world)
        config = Config(server=Server(hostname=f"mx.{OURS}", postmaster=ANA))
        self.installation = _Refusing(
            config, world, self.store, Outside((Endpoint("192.0.2.53", 53),)), NoMeter()
        )
        self.now = int(world.clock.now() * 1000)
        await self.store.run(lambda tx: accounts.add_domain(tx, OURS, self.now).name)
        self.ana = (await self.store.run(lambda tx: accounts.add_account(tx, ANA, self.now))).id
        self.body = await self.installation.bodies.from_bytes(MESSAGE)
        started = time.perf_counter()
        for batch in _batches(range(self.recipients), BATCH):
            await self.store.run(partial(self._fill, numbers=batch))
        await self.store.run(self._fill_queue)
        self.filling = time.perf_counter() - started

    def _id(self, number: int) -> int:
        at = self.now - DAYS * DAY_MS + number * DAYS * DAY_MS // (self.recipients + 1)
        return (at << LOW_BITS) + (number & 0x1FFFFF)

    def _destination(self, number: int) -> str:
        return HOLE if number % 5 < 2 else f"d{number % DESTINATIONS}.example"

    def _waits(self, number: int) -> bool:
        """Seven of ten are in the queue still."""
        return number % 10 < 7

    def _fill(self, tx: Tx, numbers: Sequence[int]) -> None:
        ids = {number: self._id(number) for number in numbers}
        at = {number: id >> LOW_BITS for number, id in ids.items()}
        sender = {number: f"p{number % SENDERS}@{OURS}" for number in numbers}
        tx.run_many("INSERT INTO body (id, size) VALUES (?, ?)", [(id, 400) for id in ids.values()])
        tx.run_many(
            "INSERT INTO body_data (id, data) VALUES (?, ?)",
            [(id, MESSAGE[:400]) for id in ids.values()],
        )
        tx.run_many(
            "INSERT INTO acceptance (id, at, origin, account, reverse_path, body, size, message_id,"
            " recipients) VALUES (?, ?, 'submission', ?, ?, ?, 400, ?, 1)",
            [
                (id, at[n], 1000 + n % SENDERS, sender[n], id, f"<m{n}@{OURS}>")
                for n, id in ids.items()
            ],
        )
        tx.run_many(
            "INSERT INTO recipient (acceptance, n, address, fate, ended) VALUES (?, 0, ?, ?, ?)",
            [
                (
                    *(id, f"x{n}@{self._destination(n)}"),
                    *((None, None) if self._waits(n) else ("relayed", at[n] + 900)),
                )
                for n, id in ids.items()
            ],
        )
        tx.run_many(
            "INSERT INTO event (acceptance, id, at, n, kind, detail)"
            " VALUES (?, ?, ?, -1, 'attempt', ?)",
            [(id, id + 1, at[n], '{"recipients":[0],"outcomes":[]}') for n, id in ids.items()],
        )
        tx.run_many(
            "INSERT INTO queue (acceptance, n, destination, due, attempts) VALUES (?, 0, ?, ?, 1)",
            [
                (id, self._destination(n), self.now + DAY_MS)
                for n, id in ids.items()
                if self._waits(n)
            ],
        )
        keys = [
            (key, id)
            for n, id in ids.items()
            for key in (f"<m{n}@{OURS}>", sender[n], f"x{n}@{self._destination(n)}")
        ]
        tx.run_many("INSERT INTO trail (key, acceptance) VALUES (?, ?)", sorted(keys))

    def _fill_queue(self, tx: Tx) -> None:
        tx.run(
            "INSERT INTO destination (name, due)"
            " SELECT destination, MIN(due) FROM queue GROUP BY destination"
        )
        busy = backoff.Seen("mx.hole.example", BUSY, lambda _: DAY_MS, self.now)
        backoff.note(tx, busy, self.now)
        backoff.after(tx, HOLE, "", [busy.name])
        last = self._id(self.recipients)
        tx.run(
            "INSERT INTO counter (name, value) VALUES ('trail', ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (last,),
        )
        counters.take(tx, "n")

    # -- the works -----------------------------------------------------------------------------

    async def lease(self, numbers: Iterator[int]) -> float:
        """100 rows that have become due, each for another destination."""
        now = int(self.installation.world.clock.now() * 1000)
        chosen = [n for n in islice(numbers, 5 * LEASED) if self._waits(n) and n % 5 >= 2]
        due = [n % self.recipients for n in chosen][:LEASED]

        def ripen(tx: Tx) -> None:
            for each in due:
                tx.run("UPDATE queue SET due = ? WHERE acceptance = ?", (now - 1, self._id(each)))
                rows.expect(tx, self._destination(each), now - 1)

        await self.store.run(ripen)
        tokens = list(islice(self.tokens, LEASED))
        queue = self.installation.queue

        def unit(tx: Tx) -> int:
            found = len(backoff.probes_due(tx, now, now + DAY_MS, 20, ()))
            while True:
                names = rows.due_destinations(tx, now, 20, ())
                if not names or found >= LEASED:
                    return found
                for name in names:
                    wish.grant_due(tx, name, now)
                    for leased in rows.lease(
                        tx,
                        name,
                        now=now,
                        until=now + DAY_MS,
                        tokens=tokens[found : found + 5],
                        recipients_max=100,
                    ):
                        queue._leasing.load(tx, leased)
                        found += 1

        began = time.perf_counter()
        assert await self.store.read(rows.next_due) == now - 1
        leased = await self.store.run(unit)
        took = time.perf_counter() - began
        assert leased == len(due), (leased, len(due))
        held = range(tokens[0], tokens[-1] + 1)
        await self.store.run(lambda tx: rows.give_back(tx, now + DAY_MS, held))
        return took

    def _incoming(self, number: int) -> Incoming:
        return Incoming(
            id=self.installation.ids.next(),
            origin="submission",
            envelope=Envelope(ANA, (Recipient(f"y{number}@d{number % 100}.example"),)),
            targets=(ToRemote(f"d{number % 100}.example"),),
            body=self.body,
            message_id=f"<n{number}@{OURS}>",
            account=self.ana,
        )

    async def enqueue(self, numbers: Iterator[int]) -> float:
        """One message of ana's for somebody elsewhere."""
        self.body = await self.installation.bodies.from_bytes(MESSAGE)
        incoming = self._incoming(next(numbers))
        began = time.perf_counter()
        await self.installation.acceptor.accept(incoming)
        took = time.perf_counter() - began
        self.last = incoming.id
        return took

    async def give_back(self, numbers: Iterator[int]) -> float:
        """One message is refused, and returned to ana: row out, bounce in."""
        await self.enqueue(numbers)
        now = int(self.installation.world.clock.now() * 1000)
        queue, id = self.installation.queue, self.last
        token = next(self.tokens)

        def leased(tx: Tx) -> Job:
            found = tx.row("SELECT destination FROM queue WHERE acceptance = ?", (id,))
            assert found is not None
            job = rows.take(
                tx, rows.Leased(token, id, found[0], (), ()), [(0, 0, "")], now + DAY_MS
            )
            loaded = queue._leasing.load(tx, job)
            assert isinstance(loaded, Job)
            return loaded

        job = await self.store.run(leased)
        began = time.perf_counter()
        await queue._errands.run(job)
        took = time.perf_counter() - began
        assert (
            await self.store.read(
                lambda tx: tx.value("SELECT fate FROM recipient WHERE acceptance = ?", (id,))
            )
            == "returned"
        )
        return took

    def _stories(self, tx: Tx, what: str) -> list[Story]:
        return with_children(tx, self.installation.bodies, find(tx, what, 10))

    async def trace(self, numbers: Iterator[int]) -> float:
        """By queue id, by Message-ID and by a recipient's address, a message of the middle."""
        number = (self.recipients // 2 + next(numbers)) % self.recipients
        told = 0
        began = time.perf_counter()
        for what in (
            queue_id(self._id(number)),
            f"<m{number}@{OURS}>",
            f"x{number}@{self._destination(number)}",
        ):
            stories = await self.store.read(partial(self._stories, what=what))
            told += len([tell(story, "en") for story in stories])
        took = time.perf_counter() - began
        assert told == 3, told
        return took

    async def close(self) -> None:
        await self.store.close()


WORKS: dict[str, Callable[[Scene, Iterator[int]], Any]] = {
    f"lease {LEASED} due rows": Scene.lease,
    "enqueue a message": Scene.enqueue,
    "return a message": Scene.give_back,
    "trace a message, three ways": Scene.trace,
}


def _batches(numbers: range, size: int) -> Iterator[range]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


async def measure(
    scenes: Sequence[Scene], rounds: int, told: Callable[[str], None]
) -> dict[str, list[list[float]]]:
    """Seconds of each round, by work and scene; the first rounds, which warm up, are left out."""
    for scene in scenes:
        told(f"filling a store with {scene.recipients:,} recipients")
        await scene.open()
        told(f"filled in {scene.filling:.0f} s")
    taken: dict[str, list[list[float]]] = {name: [[] for _ in scenes] for name in WORKS}
    numbers = [count() for _ in scenes]
    warm = max(3, rounds // 10)
    for name, work in WORKS.items():
        told(name)
        for turn in range(rounds + warm):
            for n, scene in enumerate(scenes):
                gc.collect(0)
                seconds = await work(scene, numbers[n])
                if turn >= warm:
                    taken[name][n].append(seconds)
    for scene in scenes:
        await scene.close()
    return taken


def show(
    engine: str, few: int, many: int, taken: dict[str, list[list[float]]], console: Console
) -> dict[str, float]:
    """Prints the table; the ratios by work."""
    table = Table(title=f"{engine}: cost of one, median (least), ms", title_justify="left")
    for column in ("", f"{few:,} recipients", f"{many:,} recipients", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    ratios: dict[str, float] = {}
    for name, (small, large) in taken.items():
        medians = [statistics.median(each) for each in (small, large)]
        ratios[name] = medians[1] / medians[0]
        shown = [
            f"{median * 1000:.3f} ({min(each) * 1000:.3f})"
            for median, each in zip(medians, (small, large), strict=True)
        ]
        table.add_row(name, *shown, f"{ratios[name]:.2f}")
    console.print(table)
    return ratios


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--recipients", type=int, default=RECIPIENTS, help="in the large store")
    add("--few", type=int, default=FEW, help="in the small one")
    add("--rounds", type=int, default=ROUNDS, help="of each work")
    add("--store", default="sqlite", metavar="sqlite,postgresql", help="engines, one by one")
    add("--folder", type=Path, help="where the stores are made; default: a temporary one")
    add("--json", type=Path, metavar="FILE", help="write everything measured; - for stdout")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    console = Console(stderr=str(given.json) == "-")
    load = os.getloadavg()[0]
    machine = f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    console.print(f"{machine}; load {load:.1f}", highlight=False)
    measured: dict[str, Any] = {}
    worst = 0.0
    for engine in given.store.split(","):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=given.folder)))
            scenes = []
            for recipients in (given.few, given.recipients):
                home = folder / str(recipients)
                home.mkdir()
                url = f"sqlite:///{home}/estafeta.db"
                if engine == "postgresql":
                    url = stack.enter_context(Database()).url
                scenes.append(Scene(url, home, recipients))
            taken = run(
                measure(scenes, given.rounds, lambda text: console.print(text, style="dim"))
            )
        ratios = show(engine, given.few, given.recipients, taken, console)
        worst = max(worst, *ratios.values())
        measured[engine] = {"ratios": ratios, "seconds": taken}
    console.print(f"the largest ratio is {worst:.2f} (promised: {RATIO_MAX:g} at most)")
    if given.json:
        text = json.dumps({"machine": machine, "load_average": load, "engines": measured}, indent=1)
        if str(given.json) == "-":
            sys.stdout.write(text + "\n")
        else:
            given.json.write_text(text + "\n")
    return 0 if worst <= RATIO_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
