"""pop3_session: the POP3 server of an installation (RFC 1939): INBOX as it was at login.

Promises: nobody is locked out: a session sees a snapshot, others go on; what is marked for deletion
goes at QUIT, all in one unit, or not at all; bodies are streamed. The extensions are those that
CAPA names.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from estafeta.mail.protocols import Meter, NoMeter
from estafeta.read import limits, maildrop
from estafeta.read.guests import Guest, Guests
from estafeta.read.login import LoginFailed, Logins, offered
from estafeta.read.settings import Log, ReadSettings
from estafeta.store.bodies import Bodies, bring
from estafeta.store.credentials import Authenticator
from estafeta.store.engine import Store, StoreError
from estafeta.store.rows import Account
from estafeta.wire.pop3 import Ended, Event, Pop3Machine, Request, SaslResponse, State, sasl_octets
from estafeta.wire.smtp_client.dots import DotStuffer
from estafeta.world.seams import Stream, TlsConfig, TlsError, World


class _Goodbye(Exception):
    """The session ends with this reason; the client has been told what there was to tell."""


class Pop3Server:
    """Serves streams. log: a structlog logger, the module's own if None."""

    def __init__(
        self,
        store: Store,
        bodies: Bodies,
        authenticator: Authenticator,
        world: World,
        settings: ReadSettings,
        meter: Meter | None = None,
        log: Log | None = None,
    ) -> None:
        self.store = store
        self.bodies = bodies
        self.logins = Logins(authenticator, world)
        self.settings = settings
        self.meter = meter or NoMeter()
        self.log: Log = log or structlog.get_logger("pop3")
        self.guests = Guests("pop3", store, settings, self.meter)

    async def serve(self, stream: Stream, *, implicit_tls: TlsConfig | None = None) -> None:
        """One connection, to its end. implicit_tls: TLS comes first (port 995)."""
        guest = self.guests.enter(stream)
        if guest is None:
            if implicit_tls is None:
                stream.write(b"-ERR [SYS/TEMP] no connections are taken now\r\n")
                await stream.close()
            return
        try:
            if implicit_tls is not None:
                await guest.start_tls(implicit_tls)
            await _Session(self, stream, guest).run()
            await stream.close()
        except (ConnectionError, TlsError) as error:
            self.log.info("connection lost", peer=str(stream.peer), reason=str(error))
        finally:
            guest.leave()

    @property
    def empty(self) -> bool:
        return self.guests.empty

    def drain(self) -> None:
        """Takes nobody in, and ends every session as soon as it is not in a command."""
        self.guests.drain()

    async def stop(self) -> None:
        """Returns when all sessions have ended; cancelled, it cuts those that have not."""
        await self.guests.stop()


class _Session:
    def __init__(self, server: Pop3Server, stream: Stream, guest: Guest) -> None:
        self.server = server
        self.stream = stream
        self.guest = guest
        self.machine = Pop3Machine()
        self.user = ""
        self.account: Account | None = None
        self.drop = maildrop.Maildrop(0, 0)
        self.failures = 0

    # The loop ---------------------------------------------------------------------------------

    async def run(self) -> None:
        reason = "the client closed"
        machine = self.machine
        try:
            machine.ok(f"{self.server.settings.hostname} ready")
            while machine.state is not State.UPDATE:
                event = await self.event()
                if isinstance(event, Ended):
                    if event.reason:
                        machine.err(event.reason)
                        reason = event.reason
                    break
                assert isinstance(event, Request)
                await self.serve(event)
            else:
                reason = "quit"
            await self.flush()
        except _Goodbye as goodbye:
            reason = str(goodbye)
            with contextlib.suppress(ConnectionError):
                await self.flush()
        except ConnectionError:
            reason = "the connection was cut"
        except TlsError as error:
            reason = f"TLS: {error}"
        except Exception:
            reason = "an error of ours"
            self.server.log.exception("error", peer=str(self.stream.peer))
            self.server.meter.count("estafeta_errors_total", room="read")
            machine.err("internal error, please try again", "SYS/TEMP")
            with contextlib.suppress(ConnectionError):
                await self.flush()
        finally:
            self.server.log.info(
                "session ended",
                peer=str(self.stream.peer),
                account=self.account.address if self.account else "",
                reason=reason,
            )

    async def serve(self, request: Request) -> None:
        try:
            await _HANDLERS[request.name](self, request)
        except StoreError as error:
            self.machine.err("the store cannot do it now, try again", "SYS/TEMP")
            self.server.log.warning("store error", command=request.name, error=str(error))

    async def event(self) -> Event:
        settings = self.server.settings
        while (event := self.machine.next()) is None:
            await self.flush()
            seconds = settings.pop3_idle_seconds if self.account else settings.login_seconds
            try:
                data = await self.guest.read(seconds)
            except TimeoutError:
                # RFC 1939 §3: without UPDATE, nothing is deleted.
                closing = self.server.guests.closing.is_set()
                reason = "the server is going down" if closing else "silent for too long"
                self.machine.err(reason, "SYS/TEMP")
                raise _Goodbye(reason) from None
            self.machine.receive(data)
        return event

    async def flush(self) -> None:
        output = self.machine.take_output()
        if output:
            await self.send(output)

    async def send(self, octets: bytes) -> None:
        self.stream.write(octets)
        try:
            async with asyncio.timeout(limits.SEND_SECONDS):
                await self.stream.drain()
        except TimeoutError:
            raise ConnectionError("the client takes nothing") from None

    # Authorization ----------------------------------------------------------------------------

    async def capa(self, request: Request) -> None:
        """RFC 2449 §5."""
        words = ["TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER"]
        if self.account is None:
            if self.server.settings.may_send_password(self.stream):
                words += ["USER", f"SASL {' '.join(offered(self.stream.tls))}"]
            if self._offers_tls():
                words.append("STLS")
        self.machine.ok("what can be done here")
        self.machine.lines(word.encode("ascii") for word in [*words, "IMPLEMENTATION estafeta"])

    def _offers_tls(self) -> bool:
        return self.server.settings.starttls is not None and self.stream.tls is None

    async def stls(self, request: Request) -> None:
        """RFC 2595 §4. What the client sent behind it is an injection (RFC 3207 §4.2)."""
        config = self.server.settings.starttls
        if config is None or self.stream.tls is not None:
            self.machine.err("TLS is not offered here")
            return
        if self.machine.buffered or self.stream.buffered():
            self.machine.err("nothing may follow STLS before TLS has begun")
            raise _Goodbye("octets in the clear behind STLS")
        self.machine.ok("begin TLS now")
        await self.flush()
        await self.guest.start_tls(config)
        self.machine.forget_plaintext()
        self.user = ""

    def _guarded(self) -> bool:
        """Answers and is True where a password must not come."""
        if self.server.settings.may_send_password(self.stream):
            return False
        self.machine.err("begin TLS first", "AUTH")
        return True

    async def name(self, request: Request) -> None:
        """USER: says nothing about whether there is such an account."""
        if not self._guarded():
            self.user = request.words[0]
            self.machine.ok("and the password?")

    async def password(self, request: Request) -> None:
        if self._guarded():
            return
        user, self.user = self.user, ""
        if not user:
            self.machine.err("USER comes first")
            return
        await self._log_in("USER", self.server.logins.password(user, request.words[0]))

    async def auth(self, request: Request) -> None:
        """RFC 5034."""
        if self._guarded():
            return
        if not request.words:
            # RFC 5034 knows no AUTH without a mechanism; old clients list them so.
            self.machine.ok("mechanisms")
            self.machine.lines(name.encode("ascii") for name in offered(self.stream.tls))
            return
        mechanism = request.words[0].upper()
        if mechanism not in offered(self.stream.tls):
            self.machine.err("no such mechanism; CAPA names them")
            return
        initial = None
        if len(request.words) == 2:
            try:
                initial = b"" if request.words[1] == "=" else sasl_octets(request.words[1])
            except ValueError:
                self.machine.err("this is not base64")
                return
        exchange = self.server.logins.exchange(mechanism, initial, self._ask, self.stream.tls)
        await self._log_in(mechanism, exchange)

    async def _ask(self, challenge: bytes) -> bytes | None:
        self.machine.challenge(challenge)
        event = await self.event()
        if isinstance(event, Ended):
            raise _Goodbye(event.reason or "the client closed")
        assert isinstance(event, SaslResponse)
        return event.data

    async def _log_in(self, method: str, attempt: Awaitable[Account]) -> None:
        server = self.server
        try:
            account = await attempt
        except LoginFailed as failure:
            if not failure.cancelled:
                await self._failed(failure)
            return
        if not self.guest.admit(account.id):
            self.machine.err("too many connections for this account", "IN-USE")
            raise _Goodbye("too many connections for the account")
        drop = await server.store.read(lambda tx: maildrop.open_maildrop(tx, account.id))
        if drop is None:
            self.machine.err("there is no INBOX", "SYS/PERM")
            raise _Goodbye("no INBOX")
        self.account, self.drop = account, drop
        self.machine.state = State.TRANSACTION
        tls = self.stream.tls
        server.log.info(
            "login",
            peer=str(self.stream.peer),
            account=account.address,
            method=method,
            tls=tls.version if tls else "",
        )
        server.meter.count("estafeta_logins_total", protocol="pop3", result="ok")
        self.machine.ok(drop.described())

    async def _failed(self, failure: LoginFailed) -> None:
        server = self.server
        self.failures += 1
        server.meter.count("estafeta_logins_total", protocol="pop3", result="failed")
        server.log.warning(
            "login failed", peer=str(self.stream.peer), user=failure.user, reason=str(failure)
        )
        await asyncio.sleep(server.settings.login_failure_seconds * self.failures)
        # RFC 3206 §4: the credentials are wrong, trying again will not help.
        self.machine.err("name or password is wrong", "AUTH")
        if self.failures >= limits.LOGIN_FAILURES_MAX:
            raise _Goodbye("too many failed logins")

    # Transaction ------------------------------------------------------------------------------

    async def stat(self, request: Request) -> None:
        count, octets = self.drop.totals()
        self.machine.ok(f"{count} {octets}")

    async def list(self, request: Request) -> None:
        drop = self.drop
        self._scan(request, lambda n: f"{n} {drop.sizes[n - 1]}")

    async def uidl(self, request: Request) -> None:
        drop = self.drop
        self._scan(request, lambda n: f"{n} {drop.unique_id(n)}")

    def _scan(self, request: Request, line: Callable[[int], str]) -> None:
        if request.numbers:
            if self._known(request.numbers[0]):
                self.machine.ok(line(request.numbers[0]))
            return
        self.machine.ok(self.drop.described())
        self.machine.lines(line(n).encode("ascii") for n in self.drop.numbers())

    def _known(self, number: int) -> bool:
        if self.drop.there(number):
            return True
        self.machine.err("no such message")
        return False

    async def retr(self, request: Request) -> None:
        await self._send_message(request.numbers[0], None)

    async def top(self, request: Request) -> None:
        await self._send_message(request.numbers[0], request.numbers[1])

    async def _send_message(self, number: int, lines: int | None) -> None:
        """lines: of the body, after the header (TOP); None for all."""
        if not self._known(number):
            return
        uid = self.drop.uids[number - 1]
        assert self.account is not None
        account = self.account.id
        found = await self.server.store.read(
            lambda tx: maildrop.message(tx, self.server.bodies, account, self.drop.mailbox, uid)
        )
        if found is None:
            # Deleted by another session since login (RFC 1939 has no word for it).
            self.machine.err("the message is gone")
            return
        prefix, content, parts = found
        await bring(content)
        if lines is None:
            self.machine.ok(f"{self.drop.sizes[number - 1]} octets")
            pieces = content.chunks()
            self.drop.retrieved.add(number)
        else:
            self.machine.ok("the top of it")
            pieces = maildrop.top(content, parts, lines)
        stuffer = DotStuffer()
        out = [self.machine.take_output(), stuffer.chunk(prefix) if prefix else b""]
        for piece in pieces:
            out.append(stuffer.chunk(piece))
            if sum(map(len, out)) >= limits.OUTPUT_OCTETS:
                await self.send(b"".join(out))
                out = []
        out.append(stuffer.end())
        await self.send(b"".join(out))

    async def dele(self, request: Request) -> None:
        number = request.numbers[0]
        if self._known(number):
            self.drop.deleted.add(number)
            self.machine.ok("deleted at QUIT")

    async def noop(self, request: Request) -> None:
        self.machine.ok("here I am")

    async def rset(self, request: Request) -> None:
        self.drop.deleted.clear()
        self.machine.ok(self.drop.described())

    async def quit(self, request: Request) -> None:
        """RFC 1939 §6 UPDATE."""
        self.machine.state = State.UPDATE
        drop = self.drop
        if self.account is not None and (drop.deleted or drop.retrieved):
            account = self.account.id
            try:
                await self.server.store.run(
                    lambda tx: maildrop.update(tx, account, drop), accounts=(account,)
                )
            except StoreError as error:
                self.server.log.warning("store error", command="QUIT", error=str(error))
                self.machine.err("nothing was deleted, the store cannot do it now", "SYS/TEMP")
                return
        self.machine.ok("until next time")


_HANDLERS: dict[str, Callable[[_Session, Request], Awaitable[None]]] = {
    "CAPA": _Session.capa,
    "QUIT": _Session.quit,
    "STLS": _Session.stls,
    "USER": _Session.name,
    "PASS": _Session.password,
    "AUTH": _Session.auth,
    "STAT": _Session.stat,
    "LIST": _Session.list,
    "UIDL": _Session.uidl,
    "RETR": _Session.retr,
    "TOP": _Session.top,
    "DELE": _Session.dele,
    "NOOP": _Session.noop,
    "RSET": _Session.rset,
}


__all__ = ["Pop3Server"]
