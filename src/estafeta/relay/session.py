"""session: one connection to one server: opened, encrypted, logged in, used, left.

Drives the sans-IO client over a stream under the timeouts of RFC 5321 §4.5.3.2. Ends of all kinds
come back as values (`SessionFailure` while opening, `Result` of a transaction).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import msgspec

from estafeta.explain.cause import cause_of
from estafeta.mail.envelope import Envelope
from estafeta.mail.outcome import Deferred, Refused, Reply
from estafeta.mail.protocols import Content
from estafeta.relay.job import Journey, RelaySettings
from estafeta.relay.limits import ENVELOPE_SECONDS_MAX, SMALL_OCTETS_MAX
from estafeta.relay.login import choose_mechanism
from estafeta.resolve import Credentials, TlsMode
from estafeta.wire.smtp_client import (
    Authenticated,
    AuthenticationFailed,
    Broken,
    Closing,
    ContentWanted,
    Declined,
    Event,
    Finished,
    Offer,
    Ready,
    SmtpClient,
    State,
    TlsDeclined,
    TlsProceed,
)
from estafeta.world.pump import Pump
from estafeta.world.seams import Endpoint, Stream, TlsConfig, TlsError


class SessionFailure(Exception):
    """No session with this address. outcome: what that means for the recipients if no other
    address helps. handshake: TLS broke, a session in the clear might not."""

    def __init__(self, outcome: Deferred | Refused, *, handshake: bool = False) -> None:
        super().__init__(str(outcome.reply))
        self.outcome = outcome
        self.handshake = handshake


class Result(msgspec.Struct, frozen=True):
    """What came of one transaction. replies: a recipient's final reply, or None.

    end: what ended the session within it, None where it was answered in full.
    dot_sent: the message went out whole; content_begun: the server asked for it. mail_failed: every
    reply is that to MAIL.
    """

    replies: tuple[Reply | None, ...]
    end: Closing | Broken | None
    dot_sent: bool
    content_begun: bool
    mail_failed: bool = False


class Session:
    """host: name of the server for SNI and records. source: from where we connected. used:
    transactions so far."""

    __slots__ = (
        "_client",
        "_clock",
        "_lmtp",
        "_pump",
        "_settings",
        "endpoint",
        "idle_until",
        "key",
        "label",
        "name",
        "source",
        "stream",
        "used",
    )

    def __init__(
        self, stream: Stream, endpoint: Endpoint, name: str, settings: RelaySettings, *, lmtp: bool
    ) -> None:
        self.stream = stream
        self.endpoint = endpoint
        self.name = name
        self.label = f"{name} {endpoint}"
        self.source = str(stream.local)
        self.used = 0
        self.idle_until = 0.0
        self.key: object = None
        self._settings = settings
        self._lmtp = lmtp
        self._client = SmtpClient(settings.hello_name, lmtp=lmtp)
        self._pump = Pump(stream, self._client)
        self._clock = asyncio.get_running_loop().time

    @property
    def offer(self) -> Offer:
        return self._client.offer

    @property
    def reusable(self) -> bool:
        """Whether another transaction may be begun."""
        offered = self._client.offer.transactions_max
        most = self._settings.messages_per_connection_max
        return self._client.state is State.READY and self.used < min(most, offered or most)

    async def open(
        self, tls: TlsMode, credentials: Credentials | None, nonce: str, journey: Journey
    ) -> None:
        """Greeting, EHLO, STARTTLS, AUTH. Raises SessionFailure; then it is to be left.

        nonce: for SCRAM, never used before.
        """
        try:
            if tls == "implicit":
                await self._handshake(self._settings.tls_verifying, journey)
            await self._hello()
            if tls not in ("none", "implicit"):
                await self._encrypt(tls, journey)
            if credentials is not None:
                await self._log_in(credentials, nonce, journey)
        except SessionFailure:
            raise
        except BaseException:
            self._cut()
            raise

    async def transact(
        self,
        envelope: Envelope,
        content: Content,
        *,
        eight_bit: bool,
        smtputf8: bool,
        sent: Callable[[], None],
    ) -> Result:
        """One message. Raises only what reading the content raises; the stream is then aborted.

        sent: called before the final dot goes out.
        """
        client, timeouts = self._client, self._settings.timeouts
        self.used += 1
        client.begin(envelope, size=content.size, eight_bit=eight_bit, smtputf8=smtputf8)
        patience = min(
            timeouts.mail + timeouts.rcpt * len(envelope.recipients) + timeouts.data,
            ENVELOPE_SECONDS_MAX,
        )
        content_begun = False
        try:
            event = await self._event(patience)
            if isinstance(event, ContentWanted):
                content_begun = True
                await self._send(content, sent)
                event = await self._event(timeouts.final)
        except BaseException:
            self._cut()
            raise
        if isinstance(event, Finished):
            failed = client.mail_failed
            return Result(event.replies, None, client.dot_sent, content_begun, failed)
        assert isinstance(event, Closing | Broken)
        return Result(tuple(client.replies), event, client.dot_sent, content_begun)

    async def leave(self) -> None:
        """QUIT, and the connection closed in order; bounded, raises nothing of its own.

        Cancelled, it is closed at once; QUIT has been said by then.
        """
        if self._client.state in (State.READY, State.DECLINED):
            self._client.quit()
            try:
                await self._event(self._settings.timeouts.quit)
                with contextlib.suppress(OSError):
                    await self.stream.close()
            except asyncio.CancelledError:
                self.stream.abort()
                raise
            finally:
                self._pump.close()
        else:
            self._cut()

    def _cut(self) -> None:
        self.stream.abort()
        self._pump.close()

    # Opening.

    async def _hello(self) -> None:
        timeouts = self._settings.timeouts
        event = await self._event(timeouts.greeting + timeouts.hello)
        if not isinstance(event, Ready):
            raise SessionFailure(self._outcome_of(event))

    async def _encrypt(self, tls: TlsMode, journey: Journey) -> None:
        verify = tls == "verify"
        config = self._settings.tls_verifying if verify else self._settings.tls_client
        required = verify or tls == "require"
        if config is None:
            if required:
                raise self._no_tls("no TLS is configured here")
            return
        if not self.offer.starttls:
            if required:
                raise self._no_tls(f"{self.label} does not offer STARTTLS")
            journey.tell("tls", "no-starttls", {"host": self.label, "tls": False})
            return
        self._client.start_tls()
        event = await self._event(self._settings.timeouts.hello)
        if isinstance(event, TlsDeclined):
            # RFC 3207 §4: the server may be unable for the moment; opportunism goes on without.
            journey.tell(
                "tls",
                "starttls-refused",
                {"host": self.label, "reply": str(event.reply), "tls": False},
            )
            if required:
                raise self._no_tls(f"{self.label} refuses STARTTLS: {event.reply}")
            return
        if not isinstance(event, TlsProceed):
            raise SessionFailure(self._outcome_of(event))
        if self.stream.buffered():
            # RFC 3207 §4.2: whoever put bytes behind the 220 is not to be talked to at all.
            self._client.receive(await self.stream.read())
            raise SessionFailure(self._outcome_of(await self._event(0)))
        await self._handshake(config, journey)
        self._client.tls_started()
        await self._hello()

    async def _handshake(self, config: TlsConfig | None, journey: Journey) -> None:
        if config is None:
            raise self._no_tls("no TLS is configured here")
        # An address literal stands for the address, in SNI as in the certificate.
        name = self.name.strip("[]").removeprefix("IPv6:")
        try:
            info = await self.stream.start_tls(config, server_name=name)
        except (TlsError, OSError) as error:
            text = f"TLS handshake with {self.label} failed: {error}"
            journey.tell(
                "tls", "handshake-failed", {"host": self.label, "why": str(error), "tls": False}
            )
            outcome = Deferred(Reply(454, "4.7.5", text), "tls-required", self.label)
            raise SessionFailure(outcome, handshake=True) from None
        journey.tell(
            "tls",
            "verified" if info.verified else "not-verified",
            {
                "host": self.label,
                "tls": True,
                "version": info.version,
                "cipher": info.cipher,
                "verified": info.verified,
            },
        )

    def _no_tls(self, text: str) -> SessionFailure:
        return SessionFailure(Deferred(Reply(451, "4.7.4", text), "tls-required", self.label))

    async def _log_in(self, credentials: Credentials, nonce: str, journey: Journey) -> None:
        in_the_clear = self.stream.tls is None
        mechanism = choose_mechanism(
            self.offer.auth, credentials, in_the_clear=in_the_clear, nonce=nonce
        )
        if mechanism is None:
            offered = " ".join(self.offer.auth) or "nothing"
            text = f"{self.label} offers {offered} for AUTH, none of which is to be used here"
            raise SessionFailure(Deferred(Reply(454, "4.7.8", text), "login-failed", self.label))
        self._client.authenticate(mechanism)
        event = await self._event(self._settings.timeouts.hello)
        if isinstance(event, Authenticated):
            journey.tell("auth", "logged-in", {"host": self.label, "mechanism": mechanism.name})
            return
        if isinstance(event, AuthenticationFailed):
            # Our own set-up is at fault, not the message: it waits, it does not bounce.
            journey.tell("auth", "login-refused", {"host": self.label, "reply": str(event.reply)})
            raise SessionFailure(Deferred(event.reply, "login-failed", self.label))
        raise SessionFailure(self._outcome_of(event))

    def _outcome_of(self, event: Event) -> Deferred | Refused:
        if isinstance(event, Declined | Closing):
            kind = Refused if event.reply.permanent else Deferred
            stage = event.stage if isinstance(event, Declined) else ""
            command = {"greeting": "CONN", "hello": "HELO"}.get(stage, "")
            return kind(event.reply, cause_of(event.reply, command, self.label), self.label)
        assert isinstance(event, Broken)
        return lost(event, self.label)

    # The stream.

    async def _event(self, seconds: float) -> Event:
        """The next event; `Broken` where the wait or the connection ends before."""
        client, pump = self._client, self._pump
        event = client.next_event()
        if event is not None:
            return event
        clock = self._clock
        end = clock() + seconds
        try:
            while event is None:
                await pump.flush(end - clock())
                await pump.feed(end - clock())
                event = client.next_event()
        except TimeoutError:
            client.abandon(f"no reply within {seconds:.0f} s")
        except ConnectionError as error:
            client.abandon(f"the connection broke: {error}")
        event = event or client.next_event()
        assert event is not None
        return event

    async def _send(self, content: Content, sent: Callable[[], None]) -> None:
        client, stream = self._client, self.stream
        if content.size <= SMALL_OCTETS_MAX:
            sent()
            stream.write(client.content(content.read()) + client.end_content())
            return
        try:
            for chunk in content.chunks():
                stream.write(client.content(chunk))
                async with asyncio.timeout(self._settings.timeouts.block):
                    await stream.drain()
                if stream.buffered():
                    # The server speaks before its turn: it has something against the message.
                    client.receive(await stream.read())
                    if client.state is not State.CONTENT:
                        return
        except TimeoutError:
            client.abandon(
                f"the message was not taken within {self._settings.timeouts.block:.0f} s"
            )
            return
        except ConnectionError:
            return  # what the server said before it closed may still be read
        sent()
        stream.write(client.end_content())


def lost(event: Broken, label: str) -> Deferred:
    """A session that ended without a word, before the message was out."""
    if event.why == "malformed":
        return Deferred(Reply(451, "4.5.0", f"{label}: {event.text}"), "protocol-error", label)
    return Deferred(Reply(451, "4.4.2", f"{label}: {event.text}"), "connection-lost", label)
