"""session: one IMAP connection over a stream and the store.

Promises: commands are served one at a time in their order; the client learns of changes by others
at the times RFC 3501 §5.2, §5.5 and §7.4.1 allow (no EXPUNGE while FETCH, STORE or SEARCH); no read
transaction is open while we wait for the peer; every end has a reason in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from estafeta.mail.protocols import Meter
from estafeta.read import limits
from estafeta.read.guests import Guest, Guests
from estafeta.read.imap import fetch
from estafeta.read.imap.view import View, registry
from estafeta.read.login import Logins
from estafeta.read.settings import Log, ReadSettings
from estafeta.store import accounts, mailboxes, messages
from estafeta.store.bodies import Bodies
from estafeta.store.engine import Store, StoreError, StoreFull, StoreReadOnly, Tx
from estafeta.store.flags import KeywordError
from estafeta.store.messages import Changes
from estafeta.store.rows import Account, Mailbox
from estafeta.wire.imap.commands import Command, Idle, State
from estafeta.wire.imap.machine import Ended, Event, ImapMachine
from estafeta.world.seams import Stream, TlsError, World

T = TypeVar("T")


class Refusal(Exception):
    """The command is answered NO (bad: BAD) with this text and response code."""

    def __init__(self, text: str, code: str = "", *, bad: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.bad = bad


class Goodbye(Exception):
    """The session ends. said: the client has been told already."""

    def __init__(self, reason: str, code: str = "", *, said: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.said = said


class House:
    """What all sessions of a server share."""

    def __init__(
        self,
        store: Store,
        bodies: Bodies,
        logins: Logins,
        world: World,
        settings: ReadSettings,
        meter: Meter,
        log: Log,
    ) -> None:
        self.store = store
        self.bodies = bodies
        self.logins = logins
        self.world = world
        self.settings = settings
        self.meter = meter
        self.log = log
        self.guests = Guests("imap", store, settings, meter)
        self.registry = registry(store)


class Session:
    """machine: reads and writes the protocol. account, view: None until there is one."""

    def __init__(self, house: House, stream: Stream, guest: Guest) -> None:
        self.house = house
        self.store = house.store
        self.stream = stream
        self.guest = guest
        self.machine = ImapMachine()
        self.account: Account | None = None
        self.view: View | None = None
        self.login_failures = 0
        self.plain_starttls = house.settings.starttls is not None and stream.tls is None

    # The loop ---------------------------------------------------------------------------------

    async def run(
        self, handlers: Mapping[type[Command], Handler], capabilities: Callable[[Session], str]
    ) -> None:
        """Serves until the end; the stream is closed by the caller."""
        machine = self.machine
        reason = "the client closed"
        try:
            machine.ok(b"*", f"{self.house.settings.hostname} ready", capabilities(self))
            while True:
                event = await self.event()
                if isinstance(event, Ended):
                    if event.reason:
                        raise Goodbye(event.reason)
                    break
                assert isinstance(event, Command), event
                await self._serve(handlers[type(event)], event)
                if machine.state is State.LOGOUT:
                    reason = "logout"
                    break
            await self.flush()
        except Goodbye as goodbye:
            reason = str(goodbye)
            if not goodbye.said:
                machine.bye(reason, goodbye.code)
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self.flush()
        except ConnectionError:
            reason = "the connection was cut"
        except TlsError as error:
            reason = f"TLS: {error}"
        except Exception:
            reason = "an error of ours"
            self.house.log.exception("error", peer=str(self.stream.peer))
            self.house.meter.count("estafeta_errors_total", room="read")
            machine.bye("internal error, please try again", "SERVERBUG")
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self.flush()
        finally:
            await self._end(reason)

    async def _serve(self, handler: Handler, command: Command) -> None:
        tag = command.tag
        loop = asyncio.get_running_loop()
        begun = loop.time()
        result = "no"
        try:
            await handler(self, command)
            result = "ok"
        except Refusal as refusal:
            answer = self.machine.bad if refusal.bad else self.machine.no
            answer(tag, str(refusal), refusal.code)
        except mailboxes.MailboxError as error:
            text, code = _mailbox_error(error)
            self.machine.no(tag, text, code)
        except KeywordError as error:
            self.machine.no(tag, _ascii(str(error)), "LIMIT")
        except StoreFull:
            self.machine.no(tag, "no space left; reading goes on", "OVERQUOTA")
            self.house.log.warning("store full", command=command.name)
        except StoreReadOnly:
            self.machine.no(tag, "the store takes no changes now", "READ-ONLY")
        except StoreError as error:
            self.machine.no(tag, "the store cannot do it now, try again", "UNAVAILABLE")
            self.house.log.warning("store error", command=command.name, error=str(error))
        finally:
            meter = self.house.meter
            meter.count("estafeta_imap_commands_total", command=command.name, result=result)
            if not isinstance(command, Idle):
                meter.observe("estafeta_imap_command_seconds", loop.time() - begun)

    async def _end(self, reason: str) -> None:
        with contextlib.suppress(StoreError):
            await self.deselect()
        self.guest.leave()
        self.house.log.info(
            "session ended",
            peer=str(self.stream.peer),
            account=self.account.address if self.account else "",
            reason=reason,
        )

    # Talking ----------------------------------------------------------------------------------

    async def event(self) -> Event:
        """The next event of the machine; waits for the client."""
        machine = self.machine
        while (event := machine.next()) is None:
            await self.flush()
            seconds = (
                self.house.settings.idle_seconds
                if self.account
                else self.house.settings.login_seconds
            )
            try:
                data = await self.guest.read(seconds)
            except TimeoutError:
                self.raise_timeout()
            machine.receive(data)
        return event

    def raise_timeout(self) -> None:
        if self.house.guests.closing.is_set():
            raise Goodbye("the server is going down, come back soon", "UNAVAILABLE") from None
        raise Goodbye("you have been silent for too long") from None

    async def flush(self) -> None:
        """Sends what there is to send. Raises ConnectionError."""
        output = self.machine.take_output()
        if output:
            await self.send(output)

    async def send(self, octets: bytes) -> None:
        """Sends octets behind what was gathered before. Raises ConnectionError."""
        before = self.machine.take_output()
        if before:
            self.stream.write(before)
        self.stream.write(octets)
        try:
            async with asyncio.timeout(limits.SEND_SECONDS):
                await self.stream.drain()
        except TimeoutError:
            raise ConnectionError("the client takes nothing") from None

    # The store --------------------------------------------------------------------------------

    @property
    def owner(self) -> int:
        """The account's id, once logged in."""
        assert self.account is not None
        return self.account.id

    @property
    def selected(self) -> View:
        assert self.view is not None
        return self.view

    def writable(self) -> View:
        """The selected mailbox, if it may be changed (RFC 3501 §6.3.2)."""
        view = self.selected
        if view.read_only:
            raise Refusal("the mailbox is selected read-only", "READ-ONLY")
        return view

    async def write(self, unit: Callable[[Tx], T]) -> T:
        """A unit that changes the account."""
        return await self.store.run(unit, accounts=(self.owner,))

    # Selecting --------------------------------------------------------------------------------

    async def deselect(self) -> None:
        """Leaves the mailbox."""
        view, self.view = self.view, None
        if view is not None:
            self.machine.state = State.AUTHENTICATED
            self.house.registry.leave(view.key, view.shared)

    async def claim_recent(self, view: View, first: int, uidnext: int) -> None:
        """What came with uids from `first` on is \\Recent to one session, of whatever process: to
        this one, if the store gives it (RFC 3501 §2.3.2)."""
        first = max(first, view.shared.recent)
        if first < uidnext and not view.read_only:
            try:
                first, uidnext = await self.write(
                    lambda tx: messages.take_recent(tx, view.account, view.id)
                )
            except mailboxes.NoSuchMailbox:
                return  # deleted a moment ago: the session will be told
            except StoreError as error:
                # Shown once too often perhaps; but a mailbox can be read while the disk is full.
                self.house.log.warning("recent not recorded", error=str(error))
        view.claim_recent(first, uidnext)

    async def sync(self, *, expunge: bool) -> None:
        """Tells the client what has changed in the selected mailbox (RFC 3501 §5.2).

        expunge: whether its numbers may change now.
        """
        view = self.view
        if view is None:
            return
        changes = await self.store.read(lambda tx: _changes(tx, view))
        if isinstance(changes, str):
            self.house.registry.leave(view.key, view.shared)
            self.view = None
            raise Goodbye(changes)
        if changes.modseq == view.modseq and not view.vanished:
            return
        await self.tell(view, changes, expunge=expunge)

    async def tell(self, view: View, changes: Changes, *, expunge: bool) -> None:
        machine = self.machine
        new, rows = view.follow(changes)
        if expunge:
            for number in view.expunge():
                machine.untagged(b"%d EXPUNGE" % number)
        if new:
            await self.claim_recent(view, new[0], new[-1] + 1)
            machine.untagged(b"%d EXISTS" % view.count)
            machine.untagged(b"%d RECENT" % view.recent_count())
        if rows:
            if expunge or view.vanished:
                rows = [row for row in rows if view.number(row.uid)]
            await self.send(fetch.flag_lines(view, rows, uid=False))


Handler = Callable[[Session, Any], Awaitable[None]]


def _changes(tx: Tx, view: View) -> Changes | str:
    """What happened since; or why the session is over."""
    account = accounts.account_by_id(tx, view.account)
    if account is None or account.disabled:
        return "the account has been closed"
    box: Mailbox | None = mailboxes.mailbox(tx, view.account, view.id)
    if box is None:
        return "the mailbox you were in has been deleted"
    if box.modseq == view.modseq:
        return Changes(box.modseq, [], [], True)
    changes = messages.changes_since(tx, view.account, view.id, view.modseq)
    if changes.complete:
        return changes
    # Tombstones that old are gone: what the session knows and the mailbox has not, vanished.
    there = set(messages.uids(tx, view.account, view.id))
    gone = [uid for uid in view.uids[: view.count] if uid not in there]
    return Changes(changes.modseq, changes.changed, gone, True)


def _mailbox_error(error: mailboxes.MailboxError) -> tuple[str, str]:
    """(text, code of RFC 5530)."""
    code = "CANNOT"
    if isinstance(error, mailboxes.NoSuchMailbox):
        code = "NONEXISTENT"
    elif isinstance(error, mailboxes.MailboxExists):
        code = "ALREADYEXISTS"
    elif isinstance(error, mailboxes.MailboxLimit):
        code = "LIMIT"
    return _ascii(str(error)), code


def _ascii(text: str) -> str:
    """For resp-text, which is ASCII without line ends (RFC 3501 §9)."""
    shown = "".join(c if " " <= c < "\x7f" else "?" for c in text)
    return shown.replace("]", ")")


__all__ = ["Goodbye", "Handler", "House", "Refusal", "Session"]
