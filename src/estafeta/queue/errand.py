"""Errand: one job, from its lease to its outcome in the store.

Promises: an attempt does not raise, it comes to an outcome for each recipient; what the other side
has taken is recorded however long the store cannot write, so that it is not sent once more; where
the answer of our own COMMIT was lost, the outcome is recognised by its event.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec
import structlog

from estafeta.mail.envelope import Envelope, Recipient
from estafeta.mail.outcome import Deferred, Delivered, Outcome, Refused, Reply
from estafeta.mail.protocols import Content
from estafeta.queue import backoff, parked, rows, wish
from estafeta.queue.contract import Acceptor, Attempt, HostSeen, Note, Notice, Prepared
from estafeta.queue.insist import insistently
from estafeta.queue.meant import meant
from estafeta.queue.notices import Notices
from estafeta.queue.retries import Retries
from estafeta.queue.returns import Returns, as_written, written_to
from estafeta.queue.settle import Attempted, record_late, settle
from estafeta.queue.tries import tries
from estafeta.store import ledger, tracker
from estafeta.store.bodies import bring
from estafeta.store.engine import Store, StoreError, Tx
from estafeta.store.ids import Ids, queue_id
from estafeta.store.rows import Acceptance
from estafeta.store.tokens import Tokens
from estafeta.world.seams import World

# Told of a recipient that is placed by a child acceptance in the unit of outcome.
OURS = Delivered(Reply(250, "2.1.5", "the recipient is ours"))

OUR_FAULT = Deferred(Reply(451, "4.3.0", "a fault of ours; the log has more"), "other")

BODY_AWAY = Deferred(
    Reply(451, "4.3.0", "our store of large messages does not answer; the log has more"), "other"
)

log = structlog.get_logger("queue")


class Job(msgspec.Struct):
    """Leased rows with what an attempt needs. recipients: parallel to leased.numbers.

    fresh: accepted a moment ago for somebody else's domain; no need to look whether it is ours.
    harmless: under way, and cut now it has done nothing that must be known. decided: outcomes that
    stand already, of what was held for a fault of ours and not mended in time.
    """

    leased: rows.Leased
    acceptance: Acceptance
    recipients: Sequence[Recipient]
    content: Content
    fresh: bool = False
    harmless: bool = False
    decided: Sequence[Outcome] = ()

    def sent(self) -> None:
        """The message goes out whole: what becomes of it must be heard."""
        self.harmless = False


class Errands:
    """Runs jobs. retries: when what was deferred is tried again."""

    def __init__(
        self,
        *,
        store: Store,
        ids: Ids,
        world: World,
        attempt: Attempt,
        acceptor: Acceptor,
        notices: Notices,
        tokens: Tokens,
        retries: Retries,
        park_max: float = 0.0,
    ) -> None:
        """park_max: seconds for which a fault of ours holds what others refuse for it; 0: none."""
        self._store = store
        self._ids = ids
        self._world = world
        self._attempt = attempt
        self._acceptor = acceptor
        self._notices = notices
        self._tokens = tokens
        self._returns = Returns(
            store=store, ids=ids, world=world, acceptor=acceptor, notices=notices
        )
        self._log = log.bind()  # not bound anew for every line
        self._retries = retries
        self.park_max = park_max

    async def run(self, job: Job) -> bool:
        """Raises nothing that a peer or the store can be the cause of. False: no attempt was made,
        for no host had time."""
        if job.leased.destination == rows.RETURNING:
            await self._returns.all(job.acceptance, job.content)
            return True
        done = self._decided(job) if job.decided else await self._attempted(job)
        if done.untried and not self._retries.is_over(done.leased, done.acceptance, done.ended):
            await self._postpone(done)
            return False
        if not all(isinstance(outcome, Delivered) for outcome in done.outcomes):
            done.meant = await meant(
                self._store, self._world.cpu, done.acceptance, done.recipients, done.outcomes
            )
        if done.untried or not done.tried:
            done.last = await insistently(
                lambda: self._store.read(lambda tx: tries(tx, done.acceptance.id))
            )
        if done.acceptance.recipients > len(done.recipients) and done.failures():
            done.together = True
            self._returns.expect(done.acceptance.id)
        await self._settle(done, job.content)
        await self._returns.settled(done.acceptance, job.content)
        return True

    def _decided(self, job: Job) -> Attempted:
        """No attempt: what was said the last time holds."""
        now, none = self._now(), [None] * len(job.decided)
        return Attempted(
            job.leased,
            job.acceptance,
            job.recipients,
            job.decided,
            (),
            none,
            now,
            now,
            tried=False,
        )

    async def _attempted(self, job: Job) -> Attempted:
        began = self._now()
        destination, acceptance = job.leased.destination, job.acceptance
        child: Prepared | None = None
        in_child: frozenset[int] = frozenset()
        notes: Sequence[Note] = ()
        outcomes: Sequence[Outcome]
        hosts: Sequence[HostSeen] = ()
        blocked: Sequence[str] = ()
        untried = False
        if not await self._brought(job):
            outcomes = [BODY_AWAY] * len(job.recipients)
        elif not job.fresh and await insistently(partial(self._acceptor.is_ours, destination)):
            # Its domain became ours, or its mailbox could not be reached when it was accepted.
            child, unknown = await insistently(
                partial(self._acceptor.prepare_again, acceptance, job.recipients, job.content)
            )
            in_child = frozenset(range(len(job.recipients))) - unknown.keys()
            outcomes = [unknown.get(n, OURS) for n in range(len(job.recipients))]
        else:
            envelope = Envelope(
                acceptance.reverse_path,
                tuple(job.recipients),
                smtputf8=acceptance.smtputf8,
                eight_bit=acceptance.eight_bit,
                size=acceptance.size,
                ret=acceptance.ret,
                envid=await self._envid(acceptance),
            )
            try:
                job.harmless = True
                report = await self._attempt(destination, envelope, job.content, job.sent)
                outcomes, notes = report.outcomes, report.notes
                hosts, blocked, untried = report.seen, report.blocked, report.untried
            except Exception:
                # Our own fault; it counts as an attempt, so that it does not come for ever.
                log.exception("attempt failed", queue_id=queue_id(acceptance.id))
                outcomes = [OUR_FAULT] * len(job.recipients)
            finally:
                job.harmless = False
        ended = self._now()
        seen, waits_for = self._retries.seen(job.leased, outcomes, hosts, blocked, began)
        next_tries: Sequence[int | None] = [None] * len(outcomes)
        if not untried:
            next_tries = self._retries.next_tries(job.leased, acceptance, outcomes, ended)
        return Attempted(
            job.leased,
            acceptance,
            job.recipients,
            outcomes,
            notes,
            next_tries,
            began,
            ended,
            child,
            in_child,
            seen,
            waits_for,
            untried,
            await self._parks(job, outcomes, notes, ended),
        )

    async def _parks(
        self, job: Job, outcomes: Sequence[Outcome], notes: Sequence[Note], now: int
    ) -> dict[int, parked.Park]:
        """Those that are refused for a fault of ours, and may be held for it still."""
        if not self.park_max:
            return {}
        path, acceptance = job.acceptance.reverse_path, job.acceptance.id
        named = {
            n: parked.parking(outcome, notes, path)
            for n, outcome in enumerate(outcomes)
            if isinstance(outcome, Refused)
        }
        if not any(named.values()):
            return {}
        numbers = job.leased.numbers
        known = await insistently(
            lambda: self._store.read(lambda tx: parked.limits(tx, acceptance, numbers))
        )
        found: dict[int, parked.Park] = {}
        for n, why in named.items():
            until = known.get(numbers[n], now + int(self.park_max * 1000))
            if why is not None and until > now:
                found[n] = parked.Park(why, until)
        return found

    async def _envid(self, acceptance: Acceptance) -> str:
        """The sender's, or ours, by which a report of another server shows what it is about."""
        if acceptance.envid or not acceptance.reverse_path:
            return acceptance.envid
        await insistently(self._tokens.ready)
        return self._tokens.make(acceptance.id, "envid")

    async def _brought(self, job: Job) -> bool:
        """Whether the message can be read now; a large one may lie elsewhere."""
        try:
            await bring(job.content)
        except StoreError as error:
            log.warning("message not at hand", queue_id=queue_id(job.acceptance.id), why=str(error))
            return False
        return True

    async def _notices_about(self, done: Attempted, content: Content) -> list[Notice]:
        """What tells of failures first, as `settle` expects it; then reports of success."""
        found: list[Notice] = []
        lost = done.lost()
        if lost and await self._postmaster_takes(done.acceptance):
            await bring(content)
            found.append(await self._notices.undeliverable(done.acceptance, lost, content))
        failures = await as_written(self._store, done.acceptance, done.failures())
        if failures and not done.together:
            await bring(content)
            partly = done.acceptance.recipients > len(failures)
            found.append(
                await self._notices.failure(done.acceptance, failures, content, partly=partly)
            )
        for n in done.relayed_silently():
            await bring(content)
            outcome, recipient = done.outcomes[n], done.recipients[n]
            written = ""
            if done.acceptance.origin == "alias":
                written = await self._store.read(
                    partial(written_to, acceptance=done.acceptance, recipient=recipient)
                )
            found.append(
                await self._notices.success(
                    done.acceptance,
                    [recipient],
                    content,
                    relayed=outcome.reply,
                    host=outcome.host,
                    written=written,
                )
            )
        return found

    async def _postmaster_takes(self, acceptance: Acceptance) -> bool:
        if not self._notices.tells_postmaster(acceptance):
            return False
        return await self._acceptor.has_mailbox(self._notices.postmaster)

    async def _postpone(self, done: Attempted) -> None:
        """No host had time: the rows wait, and this was no attempt."""
        leased, now = done.leased, done.ended
        failed = self._retries.just_failed(leased, done.waits_for, done.began)

        def unit(tx: Tx) -> tuple[str, int] | None:
            for each in failed:
                backoff.ensure(tx, each, now)
            # The destination's row is written before `postpone` shares it; see rows.expect.
            waits = backoff.after(tx, leased.destination, leased.probe, done.waits_for)
            wishes = rows.postpone(tx, leased, now)
            for n, wished in wishes:
                wish.grant(tx, leased.acceptance, n, wished, now)
            if wishes:
                tracker.follow(tx, done.acceptance)
            return waits

        account = done.acceptance.account
        accounts = () if account is None else (account,)
        try:
            waits = await insistently(lambda: self._store.run(unit, accounts=accounts))
        except rows.LateOutcome as late:
            log.warning("postponed after its lease", error=str(late))
            return
        self._retries.waits(leased.destination, waits)

    async def _settle(self, done: Attempted, content: Content) -> None:
        """Commits what came of the attempt. While the store cannot, waits and tries again: what
        the other side has taken must not be sent once more."""
        event, acceptance = self._ids.next(), done.acceptance.id
        notices: list[Prepared] = []
        applied: list[Prepared] = [] if done.child is None else [done.child]
        try:
            about: Sequence[Notice] = ()
            if not done.silent:
                about = await insistently(partial(self._notices_about, done, content))
            for notice in about:
                made = await insistently(partial(self._acceptor.prepare_notice, notice))
                notices.append(made)
                applied.append(made)
            touched = {a for each in applied for a in each.accounts}
            if done.acceptance.account is not None:
                touched.add(done.acceptance.account)  # whose copy tells what becomes of it
            accounts = sorted(touched)
            waits = await insistently(
                lambda: self._store.run(
                    lambda tx: settle(tx, done, event, notices), accounts=accounts
                )
            )
        except rows.LateOutcome as late:
            if await insistently(
                lambda: self._store.read(lambda tx: ledger.has_event(tx, acceptance, event))
            ):
                # We ended it ourselves, by a COMMIT whose answer was lost.
                for each in applied:
                    each.committed()
                self._tell(done)
                return
            for each in applied:
                each.abandoned()
            log.warning("outcome came after its lease", error=str(late))
            await insistently(lambda: self._store.run(lambda tx: record_late(tx, done, event)))
            return
        except BaseException:
            for each in applied:
                each.abandoned()
            raise
        for each in applied:
            each.committed()
        self._retries.waits(done.leased.destination, waits)
        self._tell(done)

    def _now(self) -> int:
        return int(self._world.clock.now() * 1000)

    def _tell(self, done: Attempted) -> None:
        if done.tried:
            self._retries.learn(done.leased, done.acceptance, done.outcomes, done.seen, done.ended)
        for n, (recipient, outcome, due) in enumerate(
            zip(done.recipients, done.outcomes, done.next_tries, strict=True)
        ):
            self._log.info(
                type(outcome).__name__.lower(),
                queue_id=queue_id(done.acceptance.id),
                recipient=recipient.address,
                host=outcome.host,
                reply=str(outcome.reply),
                **({} if due is None else {"next": due}),
                **({"held": done.parks[n].why.held} if n in done.parks else {}),
                **({"meant": done.meant[n]} if done.meant and done.meant[n] else {}),
            )
