"""whole: one whole installation on a simulated machine, in virtual time, for tests of a dialogue.

Its people stand below. What would be sent to other servers goes to `Attempts`, which answers as
it is told. `ledger` and `inbox` are what became of it all, as lines that can be compared.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from tests.support.stores import usual_store

from estafeta.intake.prepared import Incoming
from estafeta.mail.envelope import Envelope, Recipient
from estafeta.mail.outcome import Delivered, Outcome, Reply
from estafeta.mail.protocols import Content, NoMeter
from estafeta.office.assemble import Installation, Outside
from estafeta.office.config import Config, Listener, Queue, Server, Smtp, Submission
from estafeta.office.config_reception import Greylist, Lists, Rates
from estafeta.sim.installation import PASSWORD, cheap_password
from estafeta.sim.net import Internet, SimNet
from estafeta.sim.stream import SimStream
from estafeta.sim.tls import SimClientTls, sim_server_tls
from estafeta.sim.world import SimMachine
from estafeta.store import accounts, bodies, ledger, mailboxes, messages
from estafeta.store.audit import audit_full
from estafeta.store.engine import StoreError, StoreUncertain, Tx
from estafeta.store.rows import Account
from estafeta.world.seams import Endpoint

HOST = "mx.example"
HERE = "192.0.2.1"
CLIENT = "198.51.100.7"
TRUSTED = "198.51.100.200"
ELSEWHERE = "203.0.113.9"
PORTS = {"mx": 25, "lmtp": 24, "submission": 587, "submissions": 465, "imaps": 993}
MESSAGE = b"Subject: one\r\nMessage-ID: <one@client.example>\r\n\r\nhello\r\n"
FULL_QUOTA, SMALL_QUOTA = 100, 2000
PEOPLE = ("ana", "eva", "luis", "full", "small")
ALIASES = (
    ("sales@mx.example", "ana@mx.example"),
    ("team@mx.example", "ana@mx.example"),
    ("team@mx.example", "eva@mx.example"),
    ("out@mx.example", "Bob@remote.example"),
    ("mixed@mx.example", "ana@mx.example"),
    ("mixed@mx.example", "bob@remote.example"),
    ("nest@mx.example", "team@mx.example"),
    ("round@mx.example", "about@mx.example"),
    ("about@mx.example", "round@mx.example"),
    ("copy@mx.example", "copy@mx.example"),
    ("copy@mx.example", "ana@mx.example"),
    ("dead@mx.example", "luis@mx.example"),
    ("dead@mx.example", "gone@mx.example"),
    ("half@mx.example", "ana@mx.example"),
    ("half@mx.example", "gone@mx.example"),
    ("brim@mx.example", "full@mx.example"),
)


@dataclass
class Report:
    """See queue.contract.Report."""

    outcomes: Sequence[Outcome]
    notes: Sequence[Any] = ()
    seen: Sequence[Any] = ()
    blocked: Sequence[str] = ()
    untried: bool = False


@dataclass
class Attempts:
    """Stands for the relay. plan: (destination, address) -> outcomes in turn, the last one stays;
    without one it is taken. gate: an event that an attempt waits for, by destination. sent_early:
    destinations that get the message whole before the gate."""

    plan: dict[str, list[Outcome]] = field(default_factory=dict)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    sent_early: set[str] = field(default_factory=set)
    made: list[tuple[str, Envelope, bytes]] = field(default_factory=list)
    running: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)

    async def attempt(
        self, destination: str, envelope: Envelope, content: Content, sent: Callable[[], None]
    ) -> Report:
        self.made.append((destination, envelope, content.read()))
        now = self.running[destination] = self.running.get(destination, 0) + 1
        self.most[destination] = max(now, self.most.get(destination, 0))
        try:
            if destination in self.sent_early:
                sent()
            if destination in self.gates:
                await self.gates[destination].wait()
            else:
                await asyncio.sleep(0.01)
        finally:
            self.running[destination] -= 1
        return Report([self._outcome(r.address) for r in envelope.recipients])

    def _outcome(self, address: str) -> Outcome:
        planned = self.plan.get(address)
        if not planned:
            return Delivered(Reply(250, "2.0.0", "taken"), "mx.remote.example [203.0.113.1]:25")
        return planned.pop(0) if len(planned) > 1 else planned[0]

    @property
    def addresses(self) -> list[list[str]]:
        """Recipients of each attempt."""
        return [[r.address for r in envelope.recipients] for _, envelope, _ in self.made]


class FaultyStore:
    """A store that fails while it is told to. before: called before each unit. losing_answers:
    units are done, and nobody is told."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.failing: StoreError | None = None
        self.failing_reads: StoreError | None = None
        self.losing_answers = False
        self.before: Callable[[], None] | None = None

    @property
    def statistics(self) -> Any:
        return self.inner.statistics

    async def run(
        self, unit: Any, *, accounts: Sequence[int] = (), names: Sequence[str] = ()
    ) -> Any:
        if self.before is not None:
            self.before()
        if self.failing is not None:
            raise self.failing
        result = await self.inner.run(unit, accounts=accounts, names=names)
        if self.losing_answers:
            raise StoreUncertain("the answer was lost")
        return result

    async def read(self, unit: Any) -> Any:
        if self.failing_reads is not None:
            raise self.failing_reads
        return await self.inner.read(unit)

    def listen(self, topic: tuple[str, int]) -> Any:
        return self.inner.listen(topic)

    async def close(self) -> None:
        await self.inner.close()


class _Rehearsed(Installation):
    def __init__(self, attempts: Attempts, *rest: Any) -> None:
        self.attempts = attempts
        super().__init__(*rest)

    async def _attempt(
        self, destination: str, envelope: Envelope, content: Content, sent: Callable[[], None]
    ) -> Any:
        return await self.attempts.attempt(destination, envelope, content, sent)


class Talk:
    """An SMTP client that says what it is told, a command at a time."""

    def __init__(self, stream: SimStream) -> None:
        self.stream = stream
        self._data = b""

    async def reply(self) -> str:
        """The next reply, its last line; "" at the end of the stream. Raises ConnectionError."""
        while True:
            line, end, rest = self._data.partition(b"\r\n")
            if end:
                self._data = rest
                if line[3:4] != b"-":
                    return line.decode()
                continue
            more = await self.stream.read()
            if not more:
                return ""
            self._data += more

    async def say(self, line: str) -> str:
        self.stream.write(line.encode() + b"\r\n")
        return await self.reply()

    async def begin(self, *, tls: bool = False, login: str = "") -> None:
        """Greeting, EHLO, and what is asked for. tls: from the first octet."""
        if tls:
            await self.stream.start_tls(SimClientTls(verify=False))
        assert (await self.reply()).startswith("220")
        assert (await self.say("EHLO client.example")).startswith("250")
        if login:
            proof = b64encode(f"\0{login}\0{PASSWORD}".encode()).decode()
            assert (await self.say(f"AUTH PLAIN {proof}")).startswith("235")

    async def hand(self, sender: str, recipients: Sequence[str], content: bytes) -> str:
        """One message, CRLF lines; the answer to its end."""
        for line in (f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{each}>" for each in recipients)):
            answer = await self.say(line)
            assert answer.startswith("250"), answer
        assert (await self.say("DATA")).startswith("354")
        self.stream.write(content)
        return await self.say(".")


class Whole:
    """The installation and those who look at it."""

    def __init__(self, machine: SimMachine, store: FaultyStore, built: _Rehearsed) -> None:
        self.machine = machine
        self.world = machine.world
        self.store = store
        self.built = built
        self.attempts = built.attempts
        self.queue = built.queue
        self.acceptor = built.acceptor
        self.accounts: dict[str, Account] = {}

    async def connect(self, net: SimNet, listener: str = "mx", source: str = CLIENT) -> SimStream:
        stream = await net.connect(Endpoint(HERE, PORTS[listener]), source=source)
        assert isinstance(stream, SimStream)
        return stream

    async def accept(
        self,
        *recipients: str | Recipient,
        sender: str = f"ana@{HOST}",
        message: bytes = MESSAGE,
        **given: Any,
    ) -> int:
        """As a session would after the end of DATA. given: of Envelope. Returns the id."""
        known = tuple(r if isinstance(r, Recipient) else Recipient(r) for r in recipients)
        look_up = self.built._directory

        def unit(tx: Tx) -> tuple[Any, ...]:
            return tuple(look_up(tx, r.address) for r in known)

        incoming = Incoming(
            id=self.built.ids.next(),
            origin="submission",
            envelope=Envelope(sender, known, **given),
            targets=await self.store.inner.read(unit),
            body=await self.built.bodies.from_bytes(message),
            message_id="<one@client.example>",
        )
        await self.acceptor.accept(incoming)
        return incoming.id

    # -- what became of it ---------------------------------------------------------------------

    async def ledger(self) -> list[str]:
        """`origin <reverse-path> recipient fate` of every recipient, in order of acceptance."""
        lines = []
        for acceptance, entries in await self.store.inner.read(_acceptances):
            for each in entries:
                fate = "open" if each.fate is None else type(each.fate).__name__.lower()
                rule = getattr(each.fate, "rule", "")
                lines.append(
                    f"{acceptance.origin} <{acceptance.reverse_path}> {each.recipient.address}"
                    f" {fate}{' ' + rule if rule else ''}"
                )
        return lines

    async def inbox(self, person: str) -> list[bytes]:
        """The messages of a person's INBOX, octet by octet."""
        account = self.accounts[person].id

        def unit(tx: Tx) -> list[tuple[bytes, bodies.Body]]:
            box = mailboxes.mailbox_by_name(tx, account, "INBOX")
            assert box is not None
            found = []
            for uid in messages.uids(tx, account, box.id):
                parts = messages.content(tx, self.built.bodies, account, box.id, uid)
                assert parts is not None
                found.append(parts)
            return found

        stored = await self.store.inner.read(unit)
        await bodies.bring_each((body, None) for _, body in stored)
        return [prefix + body.read() for prefix, body in stored]

    async def events(self, kind: str = "") -> list[str]:
        """Kinds of all events, in order."""
        rows = await self.store.inner.read(lambda tx: tx.rows("SELECT kind FROM event ORDER BY id"))
        return [row[0] for row in rows if not kind or row[0] == kind]

    async def rows(self) -> list[tuple[Any, ...]]:
        """(destination, n, attempts, leased) of the queue, in order."""
        return list(
            await self.store.inner.read(
                lambda tx: tx.rows(
                    "SELECT destination, n, attempts, lease IS NOT NULL FROM queue"
                    " ORDER BY acceptance, n"
                )
            )
        )

    async def settled(self, seconds: float = 60.0) -> None:
        """Returns when the queue is empty and nothing is under way. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while await self.rows() or self.queue._jobs:
                await asyncio.sleep(0.05)

    async def balanced(self) -> None:
        """The audit has nothing to say."""
        shelf = self.built.bodies.shelf
        audit = audit_full(self.store.inner, self.world.disk, shelf)
        found = [finding async for finding in audit]
        assert not found, found


def _acceptances(tx: Tx) -> list[tuple[Any, list[ledger.Entry]]]:
    ids = [row[0] for row in tx.rows("SELECT id FROM acceptance ORDER BY id")]
    return [(ledger.acceptance(tx, id), ledger.entries(tx, id)) for id in ids]


def config(**settings: Any) -> Config:
    """The configuration of the house. settings: of [smtp], [submission], [rates],
    [greylist], [lists] and [queue]."""

    def those(kind: Any) -> dict[str, Any]:
        names = {f.name for f in msgspec.structs.fields(kind)}
        return {name: settings.pop(name) for name in list(settings) if name in names}

    smtp = those(Smtp)
    smtp.setdefault("relay_networks", [f"{TRUSTED}/32"])
    smtp.setdefault("tarpit", 0.0)
    found = Config(
        server=Server(hostname=HOST, postmaster="eva@mx.example"),
        listener=[
            Listener(role="mx", address=HERE, port=25, tls="starttls"),
            Listener(role="lmtp", address=HERE, port=24, tls="none"),
            Listener(role="submission", address=HERE, port=587, tls="starttls"),
            Listener(role="submission", address=HERE, port=465, tls="implicit"),
            Listener(role="imap", address=HERE, port=993, tls="implicit"),
        ],
        smtp=Smtp(**smtp),
        submission=Submission(**those(Submission)),
        rates=Rates(**those(Rates)),
        greylist=Greylist(**those(Greylist)),
        lists=Lists(**those(Lists)),
        queue=Queue(**({"retry": [60.0, 60.0], "repeat": 0.0} | those(Queue))),
    )
    assert not settings, settings
    return found


@asynccontextmanager
async def whole(
    *, queue: bool = True, seed: int = 7, attempts: Attempts | None = None, **settings: Any
) -> AsyncIterator[tuple[Whole, SimNet]]:
    """The house with its doors open, and the net of a client. queue: its runner works."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        dice = random.Random(seed)
        internet = Internet(dice)
        machine = SimMachine("mx", [HERE], internet, dice, Path(folder))
        net = SimNet(internet, [CLIENT, TRUSTED, ELSEWHERE])
        with closing(machine):
            async with usual_store(machine.root, machine.world) as inner:
                store = FaultyStore(inner)
                outside = Outside(
                    (Endpoint("203.0.113.53", 53),),
                    sim_server_tls(HOST),
                    SimClientTls(verify=False),
                )
                built = _Rehearsed(
                    attempts or Attempts(),
                    config(**settings),
                    machine.world,
                    store,
                    outside,
                    NoMeter(),
                )
                made = Whole(machine, store, built)
                await _people(made)
                if queue:
                    await built.sender.start()
                await built.doors.start()
                try:
                    yield made, net
                finally:
                    store.failing = store.failing_reads = None
                    for gate in made.attempts.gates.values():
                        gate.set()
                    async with asyncio.timeout(1200):
                        await built.doors.drain()
                        await built.doors.stop()
                        if queue:
                            await built.sender.stop()
                        await built.doors.close()


async def _people(made: Whole) -> None:
    quotas = {"full": FULL_QUOTA, "small": SMALL_QUOTA}
    filling = await made.built.bodies.from_bytes(b"Subject: old\r\n\r\n" + b"x" * 200 + b"\r\n")

    def unit(tx: Tx) -> None:
        for name in (HOST, "all.example"):
            catch_all = "ana@mx.example" if name == "all.example" else ""
            accounts.add_domain(tx, name, 0, catch_all=catch_all)
        for person in PEOPLE:
            made.accounts[person] = accounts.add_account(
                tx, f"{person}@{HOST}", 0, password=cheap_password(), quota=quotas.get(person, 0)
            )
        accounts.set_account(tx, made.accounts["luis"].id, disabled=True)
        for address, target in ALIASES:
            accounts.add_alias(tx, address, target)
        accounts.add_identity(tx, made.accounts["ana"].id, "ana@pen.example")
        full = made.accounts["full"].id
        inbox = mailboxes.mailbox_by_name(tx, full, "INBOX")
        assert inbox is not None
        bodies.put(tx, filling)
        text = messages.Text(b"()", b"()", b"()", b"", "", "old", "")
        messages.append(
            tx, full, inbox.id, body=filling, size=filling.size, prefix=b"", text=text, received=0
        )

    await made.store.run(unit)


__all__ = [
    "CLIENT",
    "ELSEWHERE",
    "HERE",
    "HOST",
    "PASSWORD",
    "PORTS",
    "TRUSTED",
    "Attempts",
    "Talk",
    "Whole",
    "whole",
]
