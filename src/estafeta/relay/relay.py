"""relay: one attempt to hand a message to its next keeper (RFC 5321 §5.1, step 5).

Promises: `attempt` ends in one `Outcome` for each recipient and never raises for what DNS, network
or peer do. After a session that failed as a whole the next address and the next host are tried.
Before the final dot a lost connection costs nothing; after it the outcome says that the reply was
lost (the message may be there twice). Sessions are kept for the next message.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from estafeta.explain.cause import cause_of
from estafeta.explain.when import seconds_to_wait
from estafeta.mail.envelope import Envelope
from estafeta.mail.outcome import Deferred, Delivered, Outcome, Refused, Reply
from estafeta.mail.protocols import Meter, NoMeter
from estafeta.relay.connect import Unreachable, connect
from estafeta.relay.job import Data, Job, Journey, RelaySettings, Report
from estafeta.relay.limits import REPLY_CHARACTERS_MAX, SESSIONS_PER_ATTEMPT_MAX
from estafeta.relay.message import Fitted, Message
from estafeta.relay.pool import Pool
from estafeta.relay.session import Result, Session, SessionFailure, lost
from estafeta.relay.standing import (
    Gate,
    Leave,
    OpenGate,
    Seen,
    hosts_own,
    standing_name,
    turned_down,
)
from estafeta.resolve import Host, Route, RouteFailure, Router, TlsMode
from estafeta.wire.smtp_client import Closing
from estafeta.world.seams import Endpoint, World

NONCE_BITS = 144

AnyOutcome = TypeVar("AnyOutcome", bound=Outcome)

Terms = tuple[Endpoint, str, bool, TlsMode, str]
"""What two messages must share to share a session: address, name, LMTP, TLS, login."""


class Relay:
    """One for a process; `attempt` may run many times at once."""

    def __init__(
        self,
        world: World,
        router: Router,
        settings: RelaySettings,
        meter: Meter | None = None,
        gate: Gate | None = None,
    ) -> None:
        """gate: who knows which hosts have no time for us."""
        self._world = world
        self._router = router
        self._settings = settings
        self._meter = meter or NoMeter()
        self._gate = gate or OpenGate()
        self._pool = Pool(settings.timeouts.idle)

    async def attempt(self, job: Job) -> Report:
        """One message to one destination; outcomes in the order of the envelope's recipients."""
        journey = Journey()
        route = await self._router.route(job.destination)
        for note in route.notes:
            journey.note("dns", note.text, note.data)
        count = len(job.envelope.recipients)
        if isinstance(route, RouteFailure):
            outcomes: tuple[Outcome, ...] = (route.outcome,) * count
            report = journey.report(outcomes)
        else:
            attempt = _Attempt(
                self._world, self._settings, self._pool, self._gate, route, job, journey
            )
            outcomes = await attempt.run()
            report = journey.report(
                outcomes, tuple(attempt.seen), attempt.blocked, untried=attempt.untried
            )
            if report.untried:
                return report
        for outcome in outcomes:
            self._meter.count("relay_outcomes", outcome=type(outcome).__name__.lower())
        self._meter.observe("relay_seconds", journey.elapsed())
        return report

    def use(self, router: Router, settings: RelaySettings) -> None:
        """For attempts from now on; those under way end as they began."""
        self._router = router
        self._settings = settings
        self._pool.empty()
        self._pool.idle_seconds = settings.timeouts.idle

    async def close(self) -> None:
        """Leaves the sessions that are kept."""
        await self._pool.close()


class _Visit(msgspec.Struct):
    """What an attempt has to do with one host. asked: the gate, if a connection was to be opened.
    opened: a session was. failure: what is said of it if nothing comes of the visit."""

    name: str
    asked: Leave | None = None
    opened: bool = False
    failure: Deferred | Refused | None = None


class _Attempt:
    """The way of one job over the hosts of its route."""

    def __init__(
        self,
        world: World,
        settings: RelaySettings,
        pool: Pool,
        gate: Gate,
        route: Route,
        job: Job,
        journey: Journey,
    ) -> None:
        self._world = world
        self._settings = settings
        self._pool = pool
        self._gate = gate
        self._route = route
        self._journey = journey
        self._envelope = job.envelope
        self._sent = job.sent
        self._message = Message(job.envelope, job.content, world.cpu)
        self._tls: TlsMode = route.tls or settings.tls
        self._sessions = 0
        self._failure: Deferred | Refused | None = None
        self._failures = 0
        self._out_of_reach: set[str] = set()  # hosts that failed, or have no time for us
        self.seen: list[Seen] = []
        self.untried = False

    @property
    def blocked(self) -> tuple[str, ...]:
        """Every host of the route, where none is within reach."""
        names = tuple(standing_name(host) for host in self._route.hosts)
        return names if self._out_of_reach.issuperset(names) else ()

    async def run(self) -> tuple[Outcome, ...]:
        for host in self._route.hosts:
            outcomes = await self._try_host(host)
            if outcomes is not None:
                return outcomes
            if self._sessions >= SESSIONS_PER_ATTEMPT_MAX:
                break
        self.untried = not self._failures
        assert self._failure is not None
        return (self._failure,) * len(self._envelope.recipients)

    async def _try_host(self, host: Host) -> tuple[Outcome, ...] | None:
        """None: no address of this host took part in a transaction."""
        visit = _Visit(standing_name(host))
        try:
            outcomes = await self._visit(host, visit)
            self._judge(visit, outcomes)
        finally:
            if visit.asked is not None and not visit.opened:
                self._gate.dropped(visit.name)
        return outcomes

    def _judge(self, visit: _Visit, outcomes: tuple[Outcome, ...] | None) -> None:
        """What this visit says about the host as a whole."""
        failure = visit.failure if outcomes is None else None
        for outcome in outcomes or ():
            failure = failure or hosts_own(outcome)
        if isinstance(failure, Deferred):
            self._out_of_reach.add(visit.name)
            self._gate.failed(visit.name, failure)
            self.seen.append(Seen(visit.name, failure))
        elif visit.asked is not None and visit.asked.probe and (outcomes or failure):
            self.seen.append(Seen(visit.name, None))

    async def _may(self, host: Host, visit: _Visit) -> bool:
        """Whether a connection with the host may be opened."""
        if visit.asked is not None:
            return True
        leave = await self._gate.ask(visit.name)
        if leave.go:
            visit.asked = leave
            return True
        self._out_of_reach.add(visit.name)
        self._journey.tell("connect", "host-waits", {"host": visit.name})
        if self._failure is None:
            text = f"{visit.name} is busy; it is asked again later"
            self._failure = leave.why or Deferred(Reply(451, "4.3.2", text), "server-busy")
        return False

    async def _visit(self, host: Host, visit: _Visit) -> tuple[Outcome, ...] | None:
        addresses = list(host.addresses)
        in_the_clear: set[Endpoint] = set()
        while addresses:
            session = self._pool.take([self._terms(host.name, address) for address in addresses])
            reused = session is not None
            if session is None:
                if self._sessions >= SESSIONS_PER_ATTEMPT_MAX:
                    return None
                if not await self._may(host, visit):
                    return None
                session = await self._open(host, addresses, in_the_clear, visit)
                if session is None:
                    continue
                if not visit.opened:
                    visit.opened = True
                    self._gate.opened(visit.name)
            result, fitted = await self._transact(session)
            if result is None:
                return self._outcomes(fitted, None, session)
            end = result.end
            if (declined := self._declined(result, session)) is not None:
                self._journey.note("reply", f"{session.label}: {declined.reply}")
                self._fail(declined, visit)
                addresses.remove(session.endpoint)
                continue
            if end is None or result.content_begun or any(result.replies):
                return self._outcomes(fitted, result, session)
            # Nobody has been answered: the session failed, not the message.
            if reused:
                # It ended while it lay idle. That says nothing about the host: a fresh one.
                self._journey.tell("connect", "kept-had-ended", {"host": session.label})
                continue
            failure = (
                _negative(end.reply, session.label)
                if isinstance(end, Closing)
                else lost(end, session.label)
            )
            self._journey.note("reply", f"{session.label}: {failure.reply}")
            self._fail(failure, visit)
            addresses.remove(session.endpoint)
        return None

    @staticmethod
    def _declined(result: Result, session: Session) -> Deferred | None:
        """A MAIL that the host turned down because of itself: another may have time."""
        if not result.mail_failed or result.replies[0] is None:
            return None
        failure = _negative(result.replies[0], session.label, "MAIL")
        return failure if isinstance(failure, Deferred) and turned_down(failure) else None

    def _terms(self, name: str, address: Endpoint) -> Terms:
        credentials = self._route.credentials
        user = credentials.user if credentials else ""
        return address, name, self._route.lmtp, self._tls, user

    async def _open(
        self, host: Host, addresses: list[Endpoint], in_the_clear: set[Endpoint], visit: _Visit
    ) -> Session | None:
        """A fresh session with the first address that answers; addresses that did not are taken
        out of the list, and so is the one whose session failed. None: nothing came of it."""
        try:
            stream, endpoint, failures = await connect(self._world.net, addresses, self._settings)
        except Unreachable as unreachable:
            addresses.clear()
            self._journey.tell(
                "connect", "unreachable", {"host": host.name, "why": str(unreachable)}
            )
            reply = Reply(451, "4.4.1", f"{host.name} cannot be reached: {unreachable}")
            self._fail(Deferred(reply, "host-unreachable", host.name), visit)
            return None
        for address, text in failures.items():
            addresses.remove(address)
            self._journey.tell(
                "connect",
                "address-failed",
                {"host": host.name, "address": str(address), "why": text},
            )
        self._sessions += 1
        session = Session(stream, endpoint, host.name, self._settings, lmtp=self._route.lmtp)
        self._journey.tell(
            "connect",
            "connected",
            {"host": host.name, "address": str(endpoint), "from": str(stream.local)},
        )
        tls: TlsMode = "none" if endpoint in in_the_clear else self._tls
        try:
            nonce = f"{self._world.dice.getrandbits(NONCE_BITS):x}"
            await session.open(tls, self._route.credentials, nonce, self._journey)
        except SessionFailure as failure:
            self._pool.dismiss(session)
            if failure.handshake and tls == "may":
                # Opportunistic: encryption that fails must not cost the mail (RFC 7435 §3).
                in_the_clear.add(endpoint)
                addresses.remove(endpoint)
                addresses.insert(0, endpoint)
                self._journey.tell("tls", "again-in-the-clear", {"host": session.label})
                self._fail(failure.outcome, visit)
                return None
            addresses.remove(endpoint)
            self._journey.tell(
                "reply", "no-session", {"host": session.label, "reply": str(failure)}
            )
            self._fail(failure.outcome, visit)
            return None
        return session

    async def _transact(self, session: Session) -> tuple[Result | None, Fitted]:
        fitted = await self._message.fit(
            session.offer, session.label, self._settings.recipients_max
        )
        if not fitted.send:
            self._keep(session)
            return None, fitted
        envelope = self._envelope
        if len(fitted.send) < len(envelope.recipients):
            envelope = _only(envelope, fitted.send)
        offer, count = session.offer, len(fitted.send)
        if fitted.converted:
            self._journey.tell("mail", "converted", {"host": session.label})
        self._journey.tell(
            "mail",
            "mail-one" if count == 1 else "mail-many",
            {
                "host": session.label,
                "recipients": count,
                "size": fitted.content.size,
                "tls": session.stream.tls is not None,
                "dsn": offer.dsn,
                "reused": session.used > 0,
                "from": session.source,
            },
        )
        result = await session.transact(
            envelope,
            fitted.content,
            eight_bit=fitted.eight_bit,
            smtputf8=fitted.smtputf8,
            sent=self._sent,
        )
        self._keep(session)
        return result, fitted

    def _keep(self, session: Session) -> None:
        self._pool.give(self._terms(session.name, session.endpoint), session)

    def _fail(self, failure: Deferred | Refused, visit: _Visit) -> None:
        """What is reported if no host helps: a refusal only where all were asked and refused."""
        failure = self._timed(failure)
        self._failures += 1
        if self._failure is None or isinstance(failure, Deferred):
            self._failure = failure
        if visit.failure is None or isinstance(failure, Deferred):
            visit.failure = failure

    def _timed(self, outcome: AnyOutcome) -> AnyOutcome:
        """With the wait that the other side's words ask for."""
        if not isinstance(outcome, Deferred) or outcome.retry_after is not None:
            return outcome
        wait = seconds_to_wait(outcome.reply.text, self._world.clock.now())
        return outcome if wait is None else msgspec.structs.replace(outcome, retry_after=wait)

    def _outcomes(
        self, fitted: Fitted, result: Result | None, session: Session
    ) -> tuple[Outcome, ...]:
        settled = fitted.settled
        if result is not None:
            some_taken = any(reply is None or reply.positive for reply in result.replies)
            command = "MAIL" if result.mail_failed else ""
            for place, reply in zip(fitted.send, result.replies, strict=True):
                if reply is None:
                    settled[place] = _unanswered(result, session.label)
                else:
                    settled[place] = _outcome(
                        reply,
                        session.label,
                        command,
                        some_taken=some_taken,
                        reports=session.offer.dsn,
                    )
            self._note_replies(result, session)
        return tuple(self._timed(settled[place]) for place in range(len(self._envelope.recipients)))

    def _note_replies(self, result: Result, session: Session) -> None:
        """One note for each different reply."""
        counts: dict[str, int] = {}
        for reply in result.replies:
            text = "" if reply is None else str(_kept(reply))
            counts[text] = counts.get(text, 0) + 1
        for text, count in counts.items():
            data: Data = {"host": session.label, "recipients": count}
            if text:
                self._journey.note("reply", text, data)
            else:
                self._journey.tell("reply", "no-reply", data)
        if result.end is not None:
            end = result.end
            text = str(_kept(end.reply)) if isinstance(end, Closing) else end.text
            self._journey.tell("reply", "ended", {"host": session.label, "why": text})


def _only(envelope: Envelope, places: list[int]) -> Envelope:
    recipients = tuple(envelope.recipients[place] for place in places)
    return msgspec.structs.replace(envelope, recipients=recipients)


def _kept(reply: Reply) -> Reply:
    """What is stored of a reply: its length is the other side's choice, our store is not."""
    if len(reply.text) <= REPLY_CHARACTERS_MAX:
        return reply
    return msgspec.structs.replace(reply, text=reply.text[: REPLY_CHARACTERS_MAX - 1] + "…")


def _negative(reply: Reply, label: str, command: str = "") -> Deferred | Refused:
    reply = _kept(reply)
    cause = cause_of(reply, command, label)
    if reply.permanent:
        return Refused(reply, cause, label)
    return Deferred(reply, cause, label)


def _outcome(reply: Reply, label: str, command: str, *, some_taken: bool, reports: bool) -> Outcome:
    reply = _kept(reply)
    if reply.positive:
        return Delivered(reply, label, reports)
    if some_taken and _too_many(reply):
        # RFC 5321 §4.5.3.1.10: the others were taken; these may be sent at once.
        return Deferred(reply, "too-many-recipients", label, 0.0)
    return _negative(reply, label, command)


def _too_many(reply: Reply) -> bool:
    if reply.code == 452:
        return reply.status in ("", "4.5.3")
    # RFC 821 said 552 where RFC 5321 §4.5.3.1.10 says 452.
    return reply.code == 552 and reply.status == "5.5.3"


def _unanswered(result: Result, label: str) -> Deferred | Refused:
    """The session ended before this recipient had its reply."""
    end = result.end
    assert end is not None
    if isinstance(end, Closing):
        return _negative(end.reply, label)
    if result.dot_sent:
        text = f"{label}: {end.text} after the message was sent; it may have arrived"
        return Deferred(Reply(451, "4.4.2", text), "reply-lost", label)
    return lost(end, label)
