"""Run: one seed, one whole small internet, hours of its time in a fraction of a second of ours.

Two installations, peers good and bad, a DNS, people who write letters; trouble of all kinds, then
none, and everything must come to rest. Promises: the seed decides everything (`Report.digest` tells
two runs apart); what is found wrong is raised as `RehearsalFailed`, with the seed and the trace.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from estafeta.queue import rows
from estafeta.store import audit
from estafeta.store.engine import StoreError
from estafeta.store.ids import queue_id
from estafeta.world.seams import Endpoint

from . import inside
from . import loop as virtual
from .checkers import LATE_SECONDS, OVERTAKEN_SECONDS, Evidence, check_all
from .checkers_shared import check_shared
from .clients import Writer
from .correspondence import draw_letter
from .dns import Asked as DnsAsked
from .dns import DnsServer, serve
from .installation import GIVE_UP_SECONDS, SimInstallation
from .letters import Letter
from .names import (
    ADDRESSES,
    DNS_ADDRESS,
    INSTALLATIONS,
    MANNERS,
    PEOPLE_ADDRESS,
    lasting_faults,
    zones,
)
from .net import Internet, SimNet
from .objects import SimBucket, unsteady
from .observer import Observer
from .peers import Peer
from .process import SimProcess
from .quiet import Errors, quiet
from .readers import Watcher, read_inbox
from .report import Plan, RehearsalFailed, Report
from .trouble import POWER_KINDS, Trouble
from .world import SimMachine

REST_SECONDS = 15.0
DRAIN_SECONDS_MAX = GIVE_UP_SECONDS + 4000.0
"""After the last fault: give-up time, and the longest wait for a peer that fell silent."""

HEARD_AT_LAST_SECONDS = 20.0
"""Before the end: whoever watches has heard of all there is."""

BEGUN_SECONDS = 1.0
AUDIT_SECONDS = (20.0, 400.0)
MEMORY = Path("/dev/shm")  # noqa: S108 (files of simulated machines, in a folder of our own)


def run_seed(
    seed: int, plan: Plan | None = None, *, database: Callable[[], str] | None = None
) -> Report:
    """One run. database: gives the URL of a fresh one for each installation whose store is to be in
    PostgreSQL. Raises RehearsalFailed."""
    where = MEMORY if MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="estafeta-sim-", dir=where))
    rehearsal = _Rehearsal(seed, plan or Plan(), folder, database)
    try:
        with quiet() as errors:
            rehearsal.errors = errors
            return virtual.run(rehearsal.play())
    except virtual.Deadlock as stuck:
        raise RehearsalFailed(seed, [str(stuck)], rehearsal.trace) from None
    except RehearsalFailed:
        raise
    except Exception as error:
        found = [f"it ended by {error!r}", *rehearsal.findings]
        raise RehearsalFailed(seed, found, rehearsal.trace) from error
    finally:
        rehearsal.close()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class _Rehearsal:
    seed: int
    plan: Plan
    folder: Path
    database: Callable[[], str] | None
    errors: Errors = field(default_factory=Errors)
    trace: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    deaths: dict[str, Sequence[float]] = field(default_factory=dict)
    audits: int = 0
    installations: dict[str, SimInstallation] = field(default_factory=dict)
    observer: Observer = field(default_factory=Observer)
    trouble: Trouble | None = None
    watchers: list[Watcher] = field(default_factory=list)

    def close(self) -> None:
        """After the loop. The stores of those that lived to the end would keep their files open."""
        for installation in self.installations.values():
            for worker in installation.workers:
                if worker.store is not None:
                    worker.store.abandon()
            installation.machine.close()

    def tell(self, what: str) -> None:
        self.trace.append(f"{asyncio.get_running_loop().time():9.3f} {what}")

    async def play(self) -> Report:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_exception)
        dice = random.Random(self.seed)  # noqa: S311 (to be foretold)
        internet = Internet(_fork(dice))
        self.observer = Observer(internet.connected, internet.served)
        internet.tap = self.observer.tap
        dns, peers = await self._others(internet, dice)
        self._machines(internet, dice)
        lives = [asyncio.ensure_future(each.run()) for each in self.installations.values()]
        for installation in self.installations.values():
            await installation.serving.wait()
        people = SimNet(internet, [PEOPLE_ADDRESS])
        servers = {name: addresses[0] for name, addresses in ADDRESSES.items()}
        writer = Writer(people, servers, _fork(dice))
        letters = [draw_letter(number, dice) for number in range(self.plan.letters)]
        writing = [
            asyncio.ensure_future(_later(dice.uniform(0, self.plan.seconds * 0.8), writer, letter))
            for letter in letters
        ]
        auditing = [
            asyncio.ensure_future(self._audit_now_and_then(each, _fork(dice)))
            for each in self.installations.values()
        ]
        watching = [
            asyncio.ensure_future(self._watch(installation, worker.process))
            for installation in self.installations.values()
            for worker in installation.workers
        ]
        if self.plan.workers > 1:
            watching += self._readers(people, dice)
        trouble = self.trouble = Trouble(
            internet,
            dns,
            self.installations,
            self.observer,
            _fork(dice),
            self.tell,
            self._kinds(),
        )
        trouble.begin(self.plan.seconds)
        buckets = [
            asyncio.ensure_future(unsteady(each, self.plan.seconds, _fork(dice), self.tell))
            for installation in self._all()
            if (each := installation.machine.bucket) is not None
        ]
        await self._while_healthy(self.plan.seconds, lives, writing)
        met = sum(fault.hits for fault in internet.faults)
        await trouble.heal()
        for bucket in buckets:
            bucket.cancel()
        await asyncio.gather(*buckets, return_exceptions=True)
        for peer in peers:
            peer.heal()
        self.tell("trouble is over")
        drained = await self._drain(lives, writing)
        for task in auditing:
            task.cancel()
        await asyncio.gather(*auditing, return_exceptions=True)
        if self.watchers:
            await asyncio.sleep(HEARD_AT_LAST_SECONDS)
        boxes = await self._boxes(people, dice)
        evidence = Evidence(
            letters,
            self.observer,
            peers,
            boxes,
            self.deaths,
            await inside.double_bounces(self._all()),
            pauses=trouble.pauses,
            watched=[each for watcher in self.watchers for each in watcher.sessions],
            uids=await inside.uids(self._all()),
            end=loop.time(),
        )
        if drained:
            self.findings += check_all(evidence)
            self.findings += check_shared(evidence)
            for installation in self.installations.values():
                await self._audit(installation, full=True)
        for at, machine, text in self.errors.lines:
            self.findings.append(f"{machine} logged an error at {at:.3f}: {text}")
        for box in sorted(boxes):
            for message in boxes[box]:
                self.observer.note(message)
        report = self._report(evidence, dns, met, writer, await inside.late_outcomes(self._all()))
        for task in (*lives, *watching, *writing):
            task.cancel()
        await asyncio.gather(*lives, *watching, *writing, return_exceptions=True)
        if self.findings:
            raise RehearsalFailed(self.seed, self.findings, self.trace)
        return report

    # -- who takes part --------------------------------------------------------------------------

    async def _others(
        self, internet: Internet, dice: random.Random
    ) -> tuple[DnsServer, list[Peer]]:
        dns = DnsServer(zones())
        dns.faults += lasting_faults()
        dns.on_asked = self._on_asked
        await serve(SimNet(internet, [DNS_ADDRESS]), Endpoint(DNS_ADDRESS, 53), dns)
        peers = []
        for domain, (address, manner, also) in MANNERS.items():
            peer = Peer(domain, SimNet(internet, [address]), manner, _fork(dice), also)
            await peer.open()
            peers.append(peer)
        return dns, peers

    def _machines(self, internet: Internet, dice: random.Random) -> None:
        for name, domain in INSTALLATIONS.items():
            machine = SimMachine(
                name,
                ADDRESSES[name],
                internet,
                _fork(dice),
                self.folder,
                processes=self.plan.workers,
                bucket=SimBucket() if self.plan.bucket else None,
            )
            self.deaths.update({each.name: each.died_at for each in machine.processes})
            self.installations[name] = SimInstallation(
                domain,
                machine,
                ADDRESSES[name],
                [Endpoint(DNS_ADDRESS, 53)],
                _fork(dice) if self.plan.workers > 1 else dice,
                synchronous=self.plan.synchronous,
                database="" if self.database is None else self.database(),
            )

    def _kinds(self) -> tuple[str, ...]:
        """Of deaths: a database that is elsewhere loses no power with the machine."""
        kinds = self.plan.deaths
        return kinds if self.database is None else tuple(k for k in kinds if k not in POWER_KINDS)

    def _readers(self, people: SimNet, dice: random.Random) -> list[asyncio.Task[None]]:
        """Programs that sit in an INBOX: two for each of some accounts."""
        for name, domain in INSTALLATIONS.items():
            for person in domain.people[:2]:
                account = f"{person}@{domain.name}"
                self.watchers += [
                    Watcher(people, ADDRESSES[name][0], account, _fork(dice)) for _ in range(2)
                ]
        return [asyncio.ensure_future(watcher.run()) for watcher in self.watchers]

    async def _watch(self, installation: SimInstallation, process: SimProcess) -> None:
        """After each death the books must balance at once."""
        while True:
            await process.died()
            await asyncio.sleep(0)
            if process.machine.up:
                await self._audit(installation, full=True)
            await process.revived()
            await installation.serving.wait()
            await self._audit(installation, full=True)
            if len(installation.workers) > 1:
                await asyncio.sleep(BEGUN_SECONDS)  # by then it has begun to work
                self._held_once(installation)

    # -- while it runs ---------------------------------------------------------------------------

    async def _while_healthy(
        self, seconds: float, lives: list[asyncio.Task[None]], writing: list[asyncio.Task[None]]
    ) -> None:
        """Passes the time; ends at once with what ends a life or a client."""
        sleeping = asyncio.ensure_future(asyncio.sleep(seconds))
        busy = {sleeping, *lives, *(task for task in writing if not task.done())}
        while not sleeping.done():
            done, busy = await asyncio.wait(busy, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.exception() is not None:
                    sleeping.cancel()
                    raise RehearsalFailed(
                        self.seed, [f"ended by {task.exception()!r}"], self.trace
                    ) from task.exception()

    async def _drain(
        self, lives: list[asyncio.Task[None]], writing: list[asyncio.Task[None]]
    ) -> bool:
        """Until no client waits and no queue has a row."""
        loop = asyncio.get_running_loop()
        end = loop.time() + DRAIN_SECONDS_MAX
        while loop.time() < end:
            await self._while_healthy(REST_SECONDS, lives, writing)
            if all(task.done() for task in writing):
                sizes = [await inside.store_of(each).read(rows.size) for each in self._all()]
                if not any(sizes):
                    return True
        waiting = await inside.waiting(self._all())
        self.findings.append(f"it did not come to rest: {waiting}")
        return False

    async def _audit_now_and_then(self, installation: SimInstallation, dice: random.Random) -> None:
        while True:
            await asyncio.sleep(dice.uniform(*AUDIT_SECONDS))
            if installation.serving.is_set() and installation.machine.up:
                await self._audit(installation, full=dice.random() < 0.3)

    async def _audit(self, installation: SimInstallation, *, full: bool) -> None:
        """The books balance now, whatever is under way."""
        self.audits += 1
        self._held_once(installation)
        store = installation.store
        if store is None:
            return
        try:
            found = await store.read(audit.audit_open)
            if full:
                machine = installation.machine
                whole = audit.audit_full(store, machine.disk, inside.shelf_of(machine))
                found += [each async for each in whole]
        except StoreError:
            if installation.store is store and installation.machine.up:
                raise
            return  # it died in the middle of it
        at = asyncio.get_running_loop().time()
        for finding in found:
            self.findings.append(
                f"audit of {installation.machine.name} at {at:.3f}: {finding.kind}: {finding.text}"
            )

    def _held_once(self, installation: SimInstallation) -> None:
        """No two workers have the same row in hand, but where one was stopped for too long."""
        now = asyncio.get_running_loop().time()
        pauses = {} if self.trouble is None else self.trouble.pauses
        hands: dict[tuple[int, int], list[str]] = {}
        for worker in installation.workers:
            name = worker.process.name
            late = any(
                min(to, now) - since > OVERTAKEN_SECONDS and to > now - LATE_SECONDS
                for since, to in pauses.get(name, ())
            )
            if worker.installation is None or late:
                continue
            for job in worker.installation.queue._jobs.values():
                for n in job.leased.numbers:
                    hands.setdefault((job.leased.acceptance, n), []).append(name)
        for (acceptance, n), names in hands.items():
            if len(names) > 1:
                self.findings.append(
                    f"recipient {n} of {queue_id(acceptance)} is in the hands of"
                    f" {' and '.join(names)} at {now:.3f}"
                )

    # -- at the end ------------------------------------------------------------------------------

    async def _boxes(self, people: SimNet, dice: random.Random) -> dict[str, list[bytes]]:
        """The INBOX of everybody; one of each installation by IMAP, as its owner sees it."""
        found: dict[str, list[bytes]] = {}
        for name, installation in self.installations.items():
            domain = installation.domain
            for person in domain.people:
                address = f"{person}@{domain.name}"
                found[address] = await inside.inbox(installation, address)
            address = f"{dice.choice(domain.people)}@{domain.name}"
            seen = await read_inbox(people, ADDRESSES[name][0], address)
            if seen != found[address]:
                self.findings.append(
                    f"{address} sees {len(seen)} messages by IMAP, of {len(found[address])}"
                )
        return found

    def _report(
        self, evidence: Evidence, dns: DnsServer, met: int, writer: Writer, late: int
    ) -> Report:
        letters, peers, boxes = evidence.letters, evidence.peers, evidence.boxes
        machines = [installation.machine for installation in self._all()]
        return Report(
            seed=self.seed,
            digest=self.observer.digest(),
            virtual_seconds=asyncio.get_running_loop().time(),
            letters=len(letters),
            acknowledged=sum(len(letter.acknowledged) for letter in letters),
            refused=sum(len(letter.refused) for letter in letters),
            stored=sum(len(box) for box in boxes.values()),
            taken_by_peers=sum(len(peer.taken) for peer in peers),
            bounces=sum(b"multipart/report" in m[:2000] for box in boxes.values() for m in box),
            handovers=len(self.observer.handovers),
            deaths=sum(machine.deaths for machine in machines),
            worker_deaths=sum(each.deaths for machine in machines for each in machine.processes),
            pauses=sum(len(each) for each in evidence.pauses.values()),
            late=late,
            told=sum(len(each.heard) for each in evidence.watched),
            faults_met=met,
            dns_questions=len(dns.log),
            client_tries=writer.tries,
            audits=self.audits,
            trace=self.trace,
        )

    # -- inside ----------------------------------------------------------------------------------

    def _all(self) -> list[SimInstallation]:
        return list(self.installations.values())

    def _on_asked(self, asked: DnsAsked) -> None:
        self.observer.note(f"{asked.at!r} {asked.name} {asked.type} {asked.answer}".encode())

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        where = traceback.format_exception(error) if isinstance(error, BaseException) else []
        self.errors.add("".join((f"{context.get('message')}\n", *where)))


def _fork(dice: random.Random) -> random.Random:
    return random.Random(dice.getrandbits(64))  # noqa: S311 (to be foretold)


async def _later(when: float, writer: Writer, letter: Letter) -> None:
    await asyncio.sleep(when)
    await writer.deliver(letter)
