"""Accept: the only code that opens an acceptance.

Promise: one committed, synced unit holds the message and its place: a mailbox row for each local
recipient, a queue row for each other, a ledger row for every one. The answer is given after COMMIT.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from estafeta.intake.claims import Claims
from estafeta.intake.limits import HEADER_OCTETS_MAX
from estafeta.intake.objection import Objection
from estafeta.intake.prepared import Incoming, Jobs, Place, PreparedAcceptance
from estafeta.intake.target import Directory, Target, accounts_of, is_full
from estafeta.mail.envelope import Envelope, Recipient
from estafeta.mail.message import header_end, summary
from estafeta.mail.outcome import Deferred, Refused
from estafeta.mail.protocols import Content, Meter
from estafeta.queue.contract import Notice, Prepared
from estafeta.queue.notices import Notices
from estafeta.store import ledger, sent
from estafeta.store.accounts import domain
from estafeta.store.bodies import INLINE_MAX, Bodies, Body
from estafeta.store.engine import Store, StoreError, StoreUncertain, Tx
from estafeta.store.ids import Ids, queue_id
from estafeta.store.messages import Text
from estafeta.store.rows import Acceptance
from estafeta.wire import replies
from estafeta.world.seams import World

log = structlog.get_logger("accept")


class Acceptor:
    """Prepares acceptances and commits them."""

    def __init__(
        self,
        *,
        store: Store,
        bodies: Bodies,
        ids: Ids,
        world: World,
        directory: Directory,
        place: Place,
        notices: Notices,
        meter: Meter,
        claims: Claims | None = None,
    ) -> None:
        self._store = store
        self._bodies = bodies
        self._ids = ids
        self._world = world
        self._directory = directory
        self._place = place
        self._notices = notices
        self._meter = meter
        self._claims = claims
        self._jobs: Jobs | None = None
        self._confirming: set[asyncio.Task[None]] = set()

    def use(self, jobs: Jobs) -> None:
        """Hands work to the queue's runner, which needs us in turn and so comes later."""
        self._jobs = jobs

    async def accept(self, incoming: Incoming) -> None:
        """Returns when message and place are durable. Raises StoreError: nothing happened."""
        prepared = await self.prepare(incoming)
        try:
            await self._store.run(prepared.apply, accounts=prepared.accounts)
        except StoreUncertain:
            prepared.doubted()
            raise
        except BaseException:
            prepared.abandoned()
            raise
        prepared.committed()

    async def prepare(self, incoming: Incoming) -> PreparedAcceptance:
        """Everything that needs no transaction. Opens nothing yet."""
        accounts = accounts_of(incoming.targets)
        text = None
        if accounts or incoming.sent is not None:
            text = await self._text(incoming.body)
        claims = None if self._claims is None else await self._claims.of(incoming, text)
        prepared = PreparedAcceptance(
            incoming,
            text=text,
            at=int(self._world.clock.now() * 1000),
            ids=self._ids,
            place=self._place,
            jobs=self._jobs,
            meter=self._meter,
            sent_copy=_sent_copy(incoming, text),
        )
        if claims is not None:
            prepared.also(claims)
        if prepared.wants_success:
            try:
                await self._add_success_report(prepared)
            except BaseException:
                prepared.abandoned()
                raise
        return prepared

    async def prepare_notice(self, notice: Notice) -> Prepared:
        """A message of our own with a null reverse-path; where its addressee is nobody, dropped.

        A bounce that nobody else can get is the postmaster's.
        """
        body = await self._bodies.from_bytes(notice.message)
        to = notice.to
        found = await self._look_up(to)
        if isinstance(found, Objection) and notice.origin == "bounce":
            substitute = self._notices.substitute
            if substitute and await self.has_mailbox(substitute):
                to, found = substitute, await self._look_up(substitute)
        recipient = Recipient(to, notify=frozenset({"NEVER"}))
        incoming = Incoming(
            id=notice.id,
            origin=notice.origin,
            envelope=Envelope("", (recipient,), smtputf8=notice.utf8, eight_bit=True),
            targets=(None if isinstance(found, Objection) else found,),
            body=body,
            message_id=notice.message_id,
            parent=notice.parent.id,
        )
        return await self.prepare(incoming)

    async def has_mailbox(self, address: str) -> bool:
        """See queue.contract.Acceptor."""
        found = await self._look_up(address)
        return not isinstance(found, Objection) and bool(accounts_of((found,)))

    async def _look_up(self, address: str) -> Target | Objection:
        return await self._store.read(lambda tx: self._directory(tx, address))

    async def prepare_again(
        self,
        parent: Acceptance,
        recipients: Sequence[Recipient],
        content: Content,
        *,
        origin: str = "alias",
    ) -> tuple[Prepared | None, dict[int, Refused | Deferred]]:
        """See queue.contract.Acceptor."""

        def look_up(tx: Tx) -> list[Target | Objection]:
            return [self._directory(tx, r.address) for r in recipients]

        known: list[tuple[Recipient, Target]] = []
        refused: dict[int, Refused | Deferred] = {}
        for n, found in enumerate(await self._store.read(look_up)):
            if isinstance(found, Objection):
                refused[n] = Refused(found.said(), found.cause)
            elif is_full(found, parent.size):
                reply = replies.MAILBOX_FULL(address=recipients[n].address)
                refused[n] = Deferred(reply, "mailbox-full")
            else:
                known.append((recipients[n], found))
        if not known:
            return None, refused
        envelope = Envelope(
            parent.reverse_path,
            tuple(r for r, _ in known),
            smtputf8=parent.smtputf8,
            eight_bit=parent.eight_bit,
            ret=parent.ret,
            envid=parent.envid,
        )
        incoming = Incoming(
            id=self._ids.next(),
            origin=origin,
            envelope=envelope,
            targets=tuple(t for _, t in known),
            body=self._bodies.known(parent.body, content),
            message_id=parent.message_id,
            parent=parent.id,
            account=parent.account,
        )
        return await self.prepare(incoming), refused

    async def is_ours(self, destination: str) -> bool:
        return await self._store.read(lambda tx: domain(tx, destination)) is not None

    def confirm(self, acceptance: int) -> None:
        """The client knows of our 250: what comes again now is meant. Done beside, may get lost."""
        task = asyncio.create_task(self._confirm(acceptance))
        self._confirming.add(task)
        task.add_done_callback(self._confirming.discard)

    async def _confirm(self, acceptance: int) -> None:
        try:
            await self._store.run(lambda tx: ledger.confirm(tx, acceptance))
        except StoreError as error:
            log.warning("not confirmed", queue_id=queue_id(acceptance), error=str(error))

    # -- parts of a preparation ----------------------------------------------------------------

    async def _add_success_report(self, prepared: PreparedAcceptance) -> None:
        """For the local recipients whose sender asked to be told (RFC 3461 §5.2.1)."""
        reached = [r for r in prepared.local if "SUCCESS" in r.notify]
        if reached:
            report = await self._notices.success(prepared.row, reached, prepared.content)
            prepared.also(await self.prepare_notice(report))

    async def _text(self, body: Body) -> Text:
        """What mailbox lists need, parsed once. Large bodies are parsed off the loop."""
        if body.size <= INLINE_MAX:
            found = summary(body.read())
        else:
            found = await self._world.cpu.run(summary, body.read())
        return Text(
            envelope=found.envelope,
            structure=found.bodystructure,
            basic=found.body,
            parts=found.index,
            message_id=found.message_id,
            subject=found.subject,
            preview=found.preview,
        )


def _sent_copy(incoming: Incoming, text: Text | None) -> sent.Copy | None:
    """What we file in the submitter's \\Sent; its ENVELOPE names who got a blind copy."""
    if incoming.sent is None or text is None:
        return None
    if incoming.sent:
        head = incoming.body.read(0, HEADER_OCTETS_MAX)
        envelope = summary(incoming.sent + head[: header_end(head)]).envelope
        text = msgspec.structs.replace(text, envelope=envelope)
    return sent.Copy(incoming.body, incoming.sent, text)
