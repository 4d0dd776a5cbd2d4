"""Runner: takes due jobs from the store, attempts them, settles what came of them.

Promises: as many jobs at once for one destination as it takes (queue/flow.py) and `total` for all,
so that a black hole keeps only its own jobs waiting; a destination whose hosts have no time is left
alone, but for one probe when it is due (queue/backoff.py); a job is leased before it is attempted
and its lease is renewed while it lasts; a stop finishes what has begun and gives the rest back.
Several workers may run on one store: a lease tells whose it is (queue/holders.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice

import msgspec
import structlog

from estafeta.mail.envelope import Recipient
from estafeta.mail.protocols import Content, Meter, NoMeter
from estafeta.queue import backoff, expired, holders, parked, rows, suspended
from estafeta.queue.contract import Acceptor, Attempt
from estafeta.queue.errand import Errands, Job
from estafeta.queue.flow import Flow
from estafeta.queue.hosts import Hosts
from estafeta.queue.insist import STORE_RETRY_SECONDS, insistently
from estafeta.queue.lately import Lately
from estafeta.queue.leasing import Found, Leasing, Term, Unloadable
from estafeta.queue.limits import EXPIRED_SECONDS, FORGET_SECONDS
from estafeta.queue.notices import Notices
from estafeta.queue.plan import DomainRules, Rules
from estafeta.queue.retries import BackoffSettings, Retries
from estafeta.store.bodies import Bodies
from estafeta.store.engine import (
    Listening,
    Store,
    StoreError,
    StoreUncertain,
    Tx,
    Unit,
)
from estafeta.store.ids import Ids, queue_id
from estafeta.store.rows import Acceptance
from estafeta.store.tokens import Tokens
from estafeta.world.seams import World

LEASE_SECONDS = 900.0
RENEW_SECONDS = LEASE_SECONDS / 3
POLL_SECONDS = 5.0  # the net under hints that got lost
STOP_GRACE_SECONDS = 2.0  # of a stop, for attempts that can be cut without loss
LOOK_AGAIN_SECONDS = 0.02  # where nothing was due after all: others may have been at it

log = structlog.get_logger("queue")


class QueueSettings(msgspec.Struct, frozen=True):
    """rules: of each domain. total: jobs at once. recipients: in one job at most."""

    rules: Rules = Rules(DomainRules())
    backoff: BackoffSettings = BackoffSettings()
    total: int = 200
    recipients: int = 100
    park_max: float = 0.0


class Queue:
    """The queue of one worker. See intake.prepared.Jobs for the part that acceptances use."""

    def __init__(
        self,
        *,
        store: Store,
        bodies: Bodies,
        ids: Ids,
        world: World,
        attempt: Attempt,
        acceptor: Acceptor,
        notices: Notices,
        tokens: Tokens,
        settings: QueueSettings,
        hosts: Hosts | None = None,
        life: holders.Life | None = None,
        meter: Meter | None = None,
    ) -> None:
        """hosts: what `attempt` asks before it opens a connection. life: None where this is the
        only worker and the only node."""
        self._life = life or holders.Life(node="", run=ids.next())
        self._store = store
        self._ids = ids
        self._clock = world.clock
        self._meter = meter or NoMeter()
        self._hosts = hosts or Hosts(store, world.clock, self._meter)
        self._flow = Flow(
            lambda domain: self._settings.rules.of(domain),
            self._loop_time,
        )
        self._loop: asyncio.AbstractEventLoop | None = None  # whose time it is; once begun
        self._lately = Lately(self._loop_time)
        self._leasing = Leasing(self._flow, bodies, self._lately)
        self._retries = Retries(
            world=world,
            hosts=self._hosts,
            flow=self._flow,
            meter=self._meter,
            rules=settings.rules,
            settings=settings.backoff,
        )
        self._errands = Errands(
            store=store,
            ids=ids,
            world=world,
            attempt=attempt,
            acceptor=acceptor,
            notices=notices,
            tokens=tokens,
            retries=self._retries,
            park_max=settings.park_max,
        )
        self._settings = settings
        self._expired: expired.Place | None = None  # where the look at them goes on
        self._expired_at = 0.0  # of the loop's time; then it begins anew
        self._jobs: dict[asyncio.Task[None], Job] = {}
        self._wake = asyncio.Event()
        self._tokens: Iterator[int] | None = None  # once begun
        self._held = range(0)  # every token that is ours to give out
        self._doubtful: set[int] = set()  # tokens of leases that may be in the store
        self._stopping = False
        self._grace_until = 0.0  # of the loop's time, once stopping
        self.standing = suspended.Standing()
        self._standing_until = 0.0  # of the loop's time; then it is read again
        self.on_drains: Callable[[], None] = lambda: None
        """Called when `standing.drains` has changed."""

    def use(self, settings: QueueSettings) -> None:
        """From now on."""
        self._settings = settings
        self._retries.rules = settings.rules
        self._retries.settings = settings.backoff
        self._errands.park_max = settings.park_max

    def given_up(self, destination: str, accepted: int) -> int | None:
        """When a message accepted then is given up, as it is in milliseconds; None: not by age."""
        span = self._settings.rules.of(destination).plan.span
        return None if span is None else accepted + int(span * 1000)

    # -- work that begins with its acceptance --------------------------------------------------

    def claim(self, destination: str) -> int | None:
        if self._tokens is None or self._stopping or not self._room(destination):
            return None
        if self.standing.suspends(destination) or self._hosts.holds(destination):
            return None
        self._flow.begin(destination)
        return next(self._tokens)

    def release(self, destination: str) -> None:
        self._flow.spare(destination)
        self._flow.end(destination)
        self._wake.set()

    def doubt(self, token: int) -> None:
        """It is given back as soon as the store can."""
        self._doubtful.add(token)
        self._wake.set()

    def lease_end(self) -> int:
        return self._now() + int(LEASE_SECONDS * 1000)

    def start(
        self,
        leased: rows.Leased,
        acceptance: Acceptance,
        recipients: Sequence[Recipient],
        content: Content,
    ) -> None:
        self._begin(Job(leased, acceptance, recipients, content, fresh=True))

    def keep(
        self, acceptance: Acceptance, recipients: Sequence[Recipient], content: Content
    ) -> None:
        self._lately.keep(acceptance, recipients, content)

    # -- work that was waiting -----------------------------------------------------------------

    async def run(self) -> None:
        """Until `stop`. Leases that a former run left are given back first."""
        self._loop = asyncio.get_running_loop()
        while self._tokens is None and not self._stopping:
            try:
                await self._look_at_standing()
                await self._begin_to_hold()
            except StoreError as error:
                log.warning("queue cannot begin", error=str(error))
                await self._rest(STORE_RETRY_SECONDS)
        listening = self._store.listen(rows.HINT)
        beside = [
            asyncio.create_task(self._hear(listening)),
            asyncio.create_task(self._renew()),
        ]
        try:
            while not self._stopping:
                self._wake.clear()
                try:
                    wait = await self._take_due()
                except StoreError as error:
                    log.warning("queue cannot lease", error=str(error))
                    wait = STORE_RETRY_SECONDS
                except Exception:
                    # Our own fault; a queue that stood still for it would be a greater one.
                    log.exception("queue cannot lease")
                    wait = POLL_SECONDS
                if wait:
                    await self._rest(wait)
        finally:
            for task in beside:
                task.cancel()
            listening.close()

    async def _begin_to_hold(self) -> None:
        holder = await self._store.run(lambda tx: holders.begin(tx, self._life, self._now()))
        if holder.tag:
            self._ids.use(holder.tag)
        self._held = holder.tokens
        self._hosts.prober = self._held.start
        self._tokens = iter(self._held)

    async def bury(self, lives: Sequence[int]) -> None:
        """Those workers of the same run are dead: what they held is due at once.

        Raises StoreClosed; while the store cannot, waits and tries again.
        """
        count = await insistently(
            lambda: self._store.run(lambda tx: holders.bury(tx, self._life, lives, self._now()))
        )
        if count:
            log.info("leases passed on", recipients=count)

    async def _give_back(self) -> None:
        """Own leases, once nobody works on them any more."""
        if self._held:
            await self._store.run(lambda tx: rows.give_back(tx, self._now(), self._held))

    async def _give_back_doubtful(self) -> None:
        tokens, now = sorted(self._doubtful), self._now()

        def unit(tx: Tx) -> int:
            return sum(rows.give_back(tx, now, range(token, token + 1)) for token in tokens)

        await self._store.run(unit)
        self._doubtful.difference_update(tokens)

    async def _rest(self, seconds: float) -> None:
        """At most so long; something to do ends it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def drain(self) -> None:
        """Takes nothing new."""
        if not self._stopping:
            self._grace_until = asyncio.get_running_loop().time() + STOP_GRACE_SECONDS
        self._stopping = True
        self._wake.set()

    async def stop(self) -> None:
        """Returns when what has begun has ended; cancelled, it cuts it and gives the rows back.

        An attempt that has not sent its message yet gets a short grace: a silent server must not
        make a stop last, and nothing is lost when it is tried again.
        """
        self.drain()
        loop = asyncio.get_running_loop()
        cut = False
        try:
            # What ends may have begun something: a bounce that was claimed before the drain.
            while self._jobs:
                left = self._grace_until - loop.time()
                if left <= 0:
                    cut = self._cut_harmless() or cut
                    left = STOP_GRACE_SECONDS
                await asyncio.wait(list(self._jobs), timeout=left)
            if cut:
                await self._give_back()
        except asyncio.CancelledError:
            while self._jobs:
                for job in list(self._jobs):
                    job.cancel()
                await asyncio.wait(list(self._jobs))
            await self._give_back()
            raise

    def _cut_harmless(self) -> bool:
        """Whether there were any."""
        found = [(task, job) for task, job in self._jobs.items() if job.harmless]
        for task, job in found:
            log.info(
                "attempt cut by a stop",
                queue_id=queue_id(job.acceptance.id),
                destination=job.leased.destination,
            )
            task.cancel()
        return bool(found)

    async def _hear(self, listening: Listening) -> None:
        while True:
            await listening.wait()
            self._standing_until = 0.0
            self._wake.set()

    async def _renew(self) -> None:
        """Keeps the leases of jobs that last."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            if not self._jobs:
                continue
            leases = [(job.leased.token, job.leased.acceptance) for job in self._jobs.values()]
            end = self.lease_end()
            try:
                await self._store.run(partial(rows.renew, leases=leases, until=end))
            except StoreError as error:
                log.warning("leases not renewed", error=str(error))

    async def _take_due(self) -> float:
        """Leases and begins what is due. Returns seconds until the next look, 0 for at once."""
        if self._doubtful:
            await self._give_back_doubtful()
        self._meter.gauge("queue_concurrency", self._flow.active)
        self._meter.gauge("queue_concurrency_allowed", self._flow.allowed)
        room = self._settings.total - self._flow.active
        if room <= 0:
            return POLL_SECONDS
        await self._look_at_standing()
        nothing_else = self.standing.all
        if not nothing_else and await self._take_expired(room):
            return 0
        now = self._now()
        patience = POLL_SECONDS if self._expired is None else LOOK_AGAIN_SECONDS
        patience = min(patience, self._flow.wait() or patience)
        full = self._flow.full()
        full.update(self.standing.suspensions)
        due = await self._store.read(
            lambda tx: rows.return_due(tx) if nothing_else else rows.next_due(tx, full)
        )
        if due is None:
            return patience
        if due > now:
            return min((due - now) / 1000, patience)
        assert self._tokens is not None
        spare = list(islice(self._tokens, room))

        def unit(tx: Tx) -> Found:
            term = Term(now, self.lease_end(), spare, self._settings.recipients)
            if nothing_else:
                return self._leasing.returning(tx, term)
            return self._leasing.due(tx, term, full=full)

        return 0 if await self._take(unit, spare) else LOOK_AGAIN_SECONDS

    async def _take_expired(self, room: int) -> bool:
        """Leases and begins what became too old behind a host without time, now and then."""
        loop_time = asyncio.get_running_loop().time()
        if self._expired is None:
            if loop_time < self._expired_at:
                return False
            self._expired_at = loop_time + EXPIRED_SECONDS
            before = self._now() - int(FORGET_SECONDS * 1000)
            if await self._store.read(lambda tx: backoff.is_stale(tx, before)):
                await self._store.run(lambda tx: backoff.forget(tx, before))
            if not await self._store.read(expired.anybody):
                return False
            self._expired = expired.START
        assert self._tokens is not None
        spare = list(islice(self._tokens, room))
        now, after = self._now(), self._expired
        ended: list[expired.Place | None] = []

        def unit(tx: Tx) -> Found:
            found = expired.take(
                tx,
                after,
                self._settings.rules,
                now=now,
                until=self.lease_end(),
                tokens=iter(spare),
                recipients_max=self._settings.recipients,
                suspended=self.standing.suspensions,
            )
            ended.append(found.after)
            return [self._leasing.load(tx, leased) for leased in found.jobs]

        begun = await self._take(unit, spare)
        self._expired = ended[-1]
        return begun > 0

    async def return_parked(self) -> int:
        """Begins to return what was held for a fault of ours, and was not mended in time, as far as
        there is room now. Returns how many jobs that is. Raises StoreError."""
        room = self._settings.total - self._flow.active
        if self._tokens is None or self._stopping or room <= 0:
            return 0
        spare = list(islice(self._tokens, room))

        def unit(tx: Tx) -> Found:
            found: Found = []
            for each in parked.take_ended(tx, self._now(), until=self.lease_end(), tokens=spare):
                job = self._leasing.load(tx, each.leased)
                if isinstance(job, Job):
                    job.decided = each.outcomes
                found.append(job)
            return found

        return await self._take(unit, spare)

    async def _take(self, unit: Unit[Found], spare: Sequence[int]) -> int:
        """Begins what `unit` leases under `spare`. Returns how many."""
        try:
            found = await self._store.run(unit)
        except StoreUncertain:
            self._doubtful.update(spare)
            raise
        for job in found:
            if isinstance(job, Unloadable):
                # A matter for `audit`. It keeps its lease, and is looked at again when that ends.
                log.error("job cannot be loaded", queue_id=queue_id(job.acceptance), why=job.why)
                continue
            self._flow.begin(job.leased.destination)
            self._lately.drop(job.acceptance.id)
            self._begin(job)
        return len(found)

    async def _look_at_standing(self) -> None:
        """What operators have said about destinations, as far as it may have changed."""
        now = asyncio.get_running_loop().time()
        if now < self._standing_until:
            return
        self._standing_until = now + POLL_SECONDS
        before = self.standing
        try:
            self.standing = await self._store.read(suspended.standing)
        except StoreError:
            self._standing_until = 0.0
            raise
        if before.drains != self.standing.drains:
            self.on_drains()

    # -- one job -------------------------------------------------------------------------------

    def _room(self, destination: str) -> bool:
        return self._flow.active < self._settings.total and self._flow.places(destination) > 0

    def _loop_time(self) -> float:
        """Also within a unit, which may run in a thread of the store's."""
        return 0.0 if self._loop is None else self._loop.time()

    def _now(self) -> int:
        return int(self._clock.now() * 1000)

    def _begin(self, job: Job) -> None:
        task = asyncio.create_task(self._work(job))
        self._jobs[task] = job
        task.add_done_callback(self._jobs.pop)

    async def _work(self, job: Job) -> None:
        destination = job.leased.destination
        try:
            if not await self._errands.run(job):
                self._meter.count("queue_postponed")
                self._flow.spare(destination)
        except Exception:
            # Our own fault. The rows stay leased and are due again when the lease ends.
            log.exception("job failed", queue_id=queue_id(job.acceptance.id))
        finally:
            self._flow.end(destination)
            self._wake.set()
