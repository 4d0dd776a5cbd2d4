"""Session: drives the SMTP machine over one connection, for all three roles.

Promises: 250 after the end of data means committed and synced; whatever goes wrong is answered, in
bounded time and memory, and ends at most this session; a stop lets an open transaction finish.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec
import structlog

from estafeta.intake.accept import Acceptor
from estafeta.intake.answers import answers, last_word, tellable
from estafeta.intake.gate import Gate
from estafeta.intake.limits import (
    COMMAND_TIMEOUT_SECONDS,
    DATA_TIMEOUT_SECONDS,
    GOODBYE_TIMEOUT_SECONDS,
    GREETING_TIMEOUT_SECONDS,
    SEND_TIMEOUT_SECONDS,
)
from estafeta.intake.login import Login, offered
from estafeta.intake.prepared import Incoming, RefusedInUnit
from estafeta.intake.received import received_field
from estafeta.intake.role import Client, Role, Transaction
from estafeta.intake.tarpit import seconds_held
from estafeta.mail.envelope import Envelope, Recipient
from estafeta.mail.outcome import Reply
from estafeta.mail.protocols import Meter
from estafeta.store.bodies import Bodies, Body, BodyWriter
from estafeta.store.credentials import Authenticator
from estafeta.store.engine import Store, StoreError, StoreFull
from estafeta.store.ids import Ids, queue_id
from estafeta.wire import replies
from estafeta.wire.smtp_server import SmtpServer, events
from estafeta.wire.smtp_server.profile import Profile
from estafeta.world.pump import Pump
from estafeta.world.seams import Stream, TlsConfig, TlsError, World

log = structlog.get_logger("smtp")


class Load(Protocol):
    """How much this process has to do."""

    @property
    def busy(self) -> str:
        """What is short, so that new work is turned away; "" for nothing."""
        ...


class Desk(msgspec.Struct):
    """What every session of one listener shares.

    tls: for STARTTLS or from the first byte; None where the listener has no certificate.
    greeting_delay: seconds in which a client must keep quiet before the greeting. load: while it
    says so, no further message is begun; None: never. tarpit: seconds for which the answer to the
    third error is held back, see intake.tarpit; 0: never.
    """

    profile: Profile
    role: Role
    acceptor: Acceptor
    store: Store
    bodies: Bodies
    authenticator: Authenticator
    ids: Ids
    world: World
    meter: Meter
    tls: TlsConfig | None = None
    implicit_tls: bool = False
    greeting_delay: float = 0.0
    load: Load | None = None
    tarpit: float = 0.0


class Session:
    """One connection."""

    def __init__(self, desk: Desk, stream: Stream, client: Client) -> None:
        self._desk = desk
        self._stream = stream
        self._client = client
        self._machine = SmtpServer(
            msgspec.structs.replace(
                desk.profile,
                auth_without_tls=client.plaintext_auth,
            ),
            tls=desk.implicit_tls,
        )
        self._pump = Pump(stream, self._machine)
        self._transaction: Transaction | None = None
        self._writer: BodyWriter | None = None
        self._gate: Gate | None = None
        self._login: Login | None = None
        self._unconfirmed: list[int] = []  # of one pipelined burst: no more than were read at once
        self._stopping = False
        self._errors = 0  # those that were answered, as the machine counts them
        known = client.exempt or client.trusted or desk.role.name == "lmtp"
        self._tarpit = 0.0 if known else desk.tarpit
        self._task = asyncio.current_task()  # the one that runs this session
        self._waiting = False
        self._shaking_hands = False
        self._log = log.bind(role=desk.role.name, client=str(client.peer))
        self._handlers: dict[type, Callable[[Any], Awaitable[None]]] = {
            events.Connected: self._connected,
            events.EarlyTalk: self._early_talk,
            events.Hello: self._hello,
            events.StartTls: self._start_tls,
            events.AuthBegin: self._auth_begin,
            events.AuthData: self._auth_data,
            events.AuthCancelled: self._auth_cancelled,
            events.Mail: self._mail,
            events.Rcpt: self._rcpt,
            events.Data: self._data,
            events.EndOfData: self._end_of_data,
            events.Reset: self._reset,
            events.Vrfy: self._vrfy,
            events.Lost: self._lost,
        }

    async def run(self) -> None:
        """Until the peer has gone or was sent away. Raises nothing for what a peer does."""
        try:
            if self._desk.implicit_tls and not await self._handshake():
                return
            await self._converse()
            await self._stream.close()
        except (ConnectionError, TimeoutError) as error:
            # TimeoutError: the peer does not read what we say.
            reason = str(error) or "nothing is read"
            self._log.info("connection lost", error=reason, state=self._machine.state.name)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            await self._say_goodbye(replies.SHUTTING_DOWN(host=self._desk.profile.host_name))
        except Exception:
            # Our own fault: the session ends, the client comes again.
            self._log.exception("session failed", state=self._machine.state.name)
            await self._say_goodbye(replies.INTERNAL_CLOSING(host=self._desk.profile.host_name))
        finally:
            self._drop_message()
            self._pump.close()

    def stop(self) -> None:
        """No further transaction: says 421 now, or after the one that is open (RFC 5321 §3.8)."""
        self._stopping = True
        if self._shaking_hands:
            self._stream.abort()  # nothing has begun, and nothing can be said
        elif self._waiting and self._transaction is None and self._task is not None:
            self._task.cancel()

    # -- the conversation ----------------------------------------------------------------------

    async def _converse(self) -> None:
        machine, pump, handlers = self._machine, self._pump, self._handlers
        clock = asyncio.get_running_loop().time
        heard = clock()
        while True:
            if machine.refusals != self._errors:
                await self._hold_back()
                heard = clock()
            if self._stopping and self._transaction is None and not machine.closing:
                # Also where more commands wait already: no further transaction is begun.
                await self._say_goodbye(replies.SHUTTING_DOWN(host=self._desk.profile.host_name))
                return
            event = machine.next_event()
            if event is not None:
                if type(event) is events.Chunk:
                    self._chunk(event)
                else:
                    await handlers[type(event)](event)
                heard = clock()
                continue
            if machine.refusals != self._errors:
                continue  # what the machine refused by itself
            if await pump.flush(SEND_TIMEOUT_SECONDS):
                heard = clock()  # what the machine answered by itself was a command too
            if machine.closing:
                if machine.parting is not None and not machine.parting.positive:
                    self._log.info("sent away", reply=str(machine.parting))
                return
            if self._stopping and self._transaction is None:
                continue  # asked to stop while that was sent
            self._waiting = True
            patience = COMMAND_TIMEOUT_SECONDS if self._gate is None else DATA_TIMEOUT_SECONDS
            try:
                # Counted from the last whole command: one that drips in does not get it anew.
                alive = await pump.feed(heard + patience - clock())
            except TimeoutError:
                self._log.info("timed out", state=machine.state.name)
                await self._say_goodbye(replies.TIMED_OUT(host=self._desk.profile.host_name))
                return
            finally:
                self._waiting = False
            if self._unconfirmed and alive:
                # The client went on: it knows of our 250.
                for acceptance in self._unconfirmed:
                    self._desk.acceptor.confirm(acceptance)
                self._unconfirmed.clear()

    async def _hold_back(self) -> None:
        """Waits before the newest refusal is said, and what stands before it in the output."""
        before, self._errors = self._errors, self._machine.refusals
        closing = self._machine.closing or self._stopping
        if self._errors < before or closing or self._client.account is not None:
            return
        seconds = seconds_held(self._errors, self._tarpit)
        if seconds:
            self._desk.meter.count("estafeta_smtp_held_back_total")
            self._waiting = True
            try:
                await asyncio.sleep(seconds)
            finally:
                self._waiting = False
            await self._pump.flush(SEND_TIMEOUT_SECONDS)

    async def _say_goodbye(self, reply: Reply) -> None:
        self._machine.hang_up(reply)
        try:
            await self._pump.flush(GOODBYE_TIMEOUT_SECONDS)
            await self._stream.close()
        except (ConnectionError, TimeoutError):
            self._stream.abort()

    async def _handshake(self) -> bool:
        assert self._desk.tls is not None
        self._shaking_hands = True
        try:
            async with asyncio.timeout(GREETING_TIMEOUT_SECONDS):
                self._client.tls = await self._stream.start_tls(self._desk.tls)
        except (TlsError, TimeoutError) as error:
            self._log.info("tls failed", error=str(error) or "timed out")
            self._stream.abort()
            return False
        finally:
            self._shaking_hands = False
        if self._desk.profile.auth_mechanisms:
            self._machine.offer_auth(offered(self._client.tls))
        return True

    # -- greeting, TLS, login ------------------------------------------------------------------

    async def _connected(self, event: events.Connected) -> None:
        desk = self._desk
        if desk.greeting_delay and not self._stream.buffered():
            try:
                await self._pump.feed(desk.greeting_delay)
                return
            except TimeoutError:
                pass
        elif self._stream.buffered():
            await self._pump.feed(desk.greeting_delay)
            return
        greeting = replies.GREETING_LMTP if desk.role.name == "lmtp" else replies.GREETING
        self._machine.reply(greeting(host=desk.profile.host_name, banner=desk.profile.banner))

    async def _early_talk(self, event: events.EarlyTalk) -> None:
        self._log.info("talked before the greeting")

    async def _hello(self, event: events.Hello) -> None:
        self._drop_message()
        self._client.hello = event.name
        self._client.esmtp = event.esmtp
        self._machine.reply(replies.HELLO(host=self._desk.profile.host_name))

    async def _start_tls(self, event: events.StartTls) -> None:
        if self._stream.buffered():
            # RFC 3207 §4.2: what was sent in the clear must not count as sent under TLS. The
            # machine takes its 220 back, says 501 and closes.
            self._machine.receive(await self._stream.read())
            return
        await self._pump.flush(SEND_TIMEOUT_SECONDS)
        if not await self._handshake():
            raise ConnectionError("no TLS after STARTTLS")
        self._drop_message()
        self._client.hello = ""
        self._client.account = None
        self._machine.tls_started()

    async def _auth_begin(self, event: events.AuthBegin) -> None:
        self._login = Login(
            event.mechanism, self._desk.authenticator, self._desk.world.dice, self._client.tls
        )
        await self._auth_step(event.initial)

    async def _auth_data(self, event: events.AuthData) -> None:
        await self._auth_step(event.data)

    async def _auth_step(self, response: bytes | None) -> None:
        assert self._login is not None
        try:
            challenge = await self._login.step(response)
        except StoreError as error:
            self._log.warning("login not possible", error=str(error))
            self._login = None
            self._machine.reply(replies.AUTH_UNAVAILABLE)
            return
        if challenge is not None:
            self._machine.challenge(challenge)
            return
        account, failure = self._login.account, self._login.failure
        malformed, user = self._login.malformed, self._login.user
        self._login = None
        self._desk.meter.count(
            "estafeta_logins_total", protocol="smtp", result="ok" if account else "failed"
        )
        if account is None:
            self._log.warning("login failed", user=user, reason=failure)
            self._machine.reply(replies.AUTH_MALFORMED if malformed else replies.AUTH_FAILED)
            return
        self._client.account = account
        self._log = self._log.bind(account=account.address)
        self._machine.reply(replies.AUTHENTICATED)

    async def _auth_cancelled(self, event: events.AuthCancelled) -> None:
        self._login = None

    # -- the transaction -----------------------------------------------------------------------

    async def _mail(self, event: events.Mail) -> None:
        desk = self._desk
        try:
            if desk.load is not None and desk.load.busy:
                reply = replies.BUSY
            else:
                reply = await desk.role.sender(self._client, event)
        except StoreError as error:
            reply = self._not_available(error)
        if reply.positive:
            each = event.prdr or desk.role.name == "lmtp"
            self._transaction = Transaction(desk.ids.next(), event, each=each)
        self._machine.reply(reply)

    async def _rcpt(self, event: events.Rcpt) -> None:
        transaction = self._transaction
        assert transaction is not None
        recipient = event.recipient
        try:
            answer = await self._desk.role.recipient(self._client, transaction, recipient)
        except StoreError as error:
            answer = self._not_available(error)
        if isinstance(answer, Reply):
            self._recipient_refused(recipient, answer)
            self._machine.reply(answer)
            return
        transaction.recipients.append(recipient)
        transaction.targets.append(answer)
        self._machine.reply(replies.RECIPIENT_OK)

    def _not_available(self, error: StoreError) -> Reply:
        """What our own side cannot decide now is a temporary failure."""
        self._log.warning("store not available", error=str(error))
        return replies.STORE_UNAVAILABLE

    async def _data(self, event: events.Data) -> None:
        transaction = self._transaction
        assert transaction is not None
        desk, client = self._desk, self._client
        received = received_field(
            client,
            transaction,
            role=desk.role.name,
            host_name=desk.profile.host_name,
            now=desk.world.clock.now(),
        )
        self._writer = desk.bodies.writer()
        self._gate = Gate(
            self._writer,
            lambda header: desk.role.header(client, transaction, header, received),
            digested=desk.role.remembers and client.account is not None,
        )
        self._machine.reply(replies.GO_AHEAD)

    def _chunk(self, event: events.Chunk) -> None:
        gate = self._gate
        assert gate is not None
        try:
            gate.write(event.data)
        except OSError as error:
            self._log.warning("message cannot be kept", error=str(error))
            gate.problem = replies.NO_SPACE

    async def _end_of_data(self, event: events.EndOfData) -> None:
        transaction, gate = self._transaction, self._gate
        assert transaction is not None
        assert gate is not None
        problem = event.problem
        said: list[Reply] = []
        if problem is None:
            try:
                gate.finish()
                problem = gate.problem
                if problem is None:
                    problem = await self._desk.role.verify(self._client, transaction)
                if problem is None:
                    said = await self._accept(transaction, gate)
            except (StoreFull, OSError) as error:
                self._log.warning("message cannot be kept", error=str(error))
                problem = replies.NO_SPACE
            except StoreError as error:
                problem = self._not_available(error)
            except RefusedInUnit as refused:
                said = list(self._desk.role.refused(transaction, refused.reply))
                if not transaction.each:
                    # Who has nothing to do with it gets the message when it comes again.
                    said = [next((each for each in said if each.temporary), said[0])]
            except Exception:
                # Our own fault; nothing was committed, so the client keeps the message.
                self._log.exception("message not accepted")
                problem = replies.LOCAL_ERROR
        if problem is not None:
            self._desk.role.failed(transaction, problem)
        # One for all: the machine knows how often it is wanted (RFC 2033 §4.2, §4.3).
        said = said if problem is None else [problem]
        if not any(answer.positive for answer in said):
            self._log.info("message refused", reply=str(said[0]))
            self._desk.meter.count("estafeta_messages_refused_total", code=str(said[0].code))
        self._drop_message()
        if problem is None and transaction.each:
            final = last_word(transaction.id, said) if transaction.prdr else None
            self._machine.reply_each(said, final)
        else:
            self._machine.reply(said[0])

    async def _accept(self, transaction: Transaction, gate: Gate) -> list[Reply]:
        """Commits the message for those who take it. One answer, or one for each recipient."""
        desk, client = self._desk, self._client
        assert self._writer is not None
        digest = gate.digest if transaction.recognisable else None
        duplicates = (
            await desk.role.duplicates(client, transaction, digest) if digest is not None else ()
        )
        body = await self._writer.finish()
        self._writer = None
        try:
            verdicts = tellable(
                await desk.role.judge(client, transaction, body), each=transaction.each
            )
            if verdicts and all(verdicts):
                desk.bodies.discard(body)
                return [verdict for verdict in verdicts if verdict is not None]
            incoming = self._incoming(transaction, body, verdicts, digest, duplicates)
            await desk.acceptor.accept(incoming)
        except (StoreFull, OSError, RefusedInUnit):
            # Nothing refers to it, and it would fill what little is left. After other errors that
            # is not certain (a COMMIT whose answer was lost): garbage finds it in a day.
            desk.bodies.discard(body)
            raise
        desk.role.accepted(transaction)
        if digest is not None:
            self._unconfirmed.append(transaction.id)
        self._log.info(
            "accepted",
            queue_id=queue_id(transaction.id),
            sender=transaction.mail.reverse_path,
            recipients=len(incoming.targets),
            size=body.size,
            message_id=transaction.message_id,
        )
        if transaction.each:
            if verdicts:
                self._count_refused(transaction, verdicts)
            return answers(desk.role.name, transaction.id, transaction.recipients, verdicts)
        first = next((d for d in duplicates if d is not None), None)
        if first is not None:
            return [replies.ACCEPTED_BEFORE(queue_id=queue_id(first))]
        return [replies.ACCEPTED(queue_id=queue_id(transaction.id))]

    def _incoming(
        self,
        transaction: Transaction,
        body: Body,
        verdicts: Sequence[Reply | None],
        digest: bytes | None,
        duplicates: Sequence[int | None],
    ) -> Incoming:
        """The message for those whom no verdict refuses."""
        desk, client, mail, tls = self._desk, self._client, transaction.mail, self._client.tls
        recipients, targets = transaction.recipients, transaction.targets
        if any(verdicts):
            recipients = [r for r, v in zip(recipients, verdicts, strict=True) if v is None]
            targets = [t for t, v in zip(targets, verdicts, strict=True) if v is None]
            if duplicates:
                duplicates = [d for d, v in zip(duplicates, verdicts, strict=True) if v is None]
        return Incoming(
            id=transaction.id,
            origin="smtp" if desk.role.name == "mx" else desk.role.name,
            envelope=Envelope(
                mail.reverse_path,
                tuple(recipients),
                smtputf8=mail.smtputf8,
                eight_bit=mail.body == "8BITMIME",
                size=body.size,
                ret=mail.ret,
                envid=mail.envid,
            ),
            targets=tuple(targets),
            body=body,
            message_id=transaction.message_id,
            account=client.account.id if client.account else None,
            peer=f"{client.hello} {client.peer}",
            tls=f"{tls.version} {tls.cipher}" if tls else "",
            digest=digest,
            duplicates=tuple(duplicates),
            sent=transaction.sent,
            units=tuple(transaction.units),
        )

    def _count_refused(self, transaction: Transaction, verdicts: Sequence[Reply | None]) -> None:
        for recipient, verdict in zip(transaction.recipients, verdicts, strict=True):
            if verdict is not None:
                self._recipient_refused(recipient, verdict)

    def _recipient_refused(self, recipient: Recipient, reply: Reply) -> None:
        self._log.info("recipient refused", recipient=recipient.address, reply=str(reply))
        self._desk.meter.count("estafeta_recipients_refused_total", code=str(reply.code))

    async def _reset(self, event: events.Reset) -> None:
        self._drop_message()

    async def _vrfy(self, event: events.Vrfy) -> None:
        self._machine.reply(replies.CANNOT_VERIFY)

    async def _lost(self, event: events.Lost) -> None:
        if self._gate is not None:
            self._log.info("connection ended inside a message", state=event.during)

    def _drop_message(self) -> None:
        if self._writer is not None:
            self._writer.discard()
        self._writer = self._gate = self._transaction = None
