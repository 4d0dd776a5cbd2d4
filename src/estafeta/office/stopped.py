"""Stopped: tells of accounts that were stopped, and holds what they have waiting.

Every worker looks now and then, and at once where it stopped one itself. Promises: all that the
account had in the queue is held before anybody is told; its owner and the administrator are told
once, each in their own language, by messages that are accepted in the unit that says so; nothing
of it is lost by a restart.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from estafeta.explain.words import say
from estafeta.intake.prepared import PreparedAcceptance
from estafeta.office.assemble import Installation
from estafeta.office.limits import STOPPED_LOOK_SECONDS
from estafeta.office.note import in_blocks, prepare_note
from estafeta.queue import stopped as queue_stopped
from estafeta.store import accounts, stopped
from estafeta.store.engine import StoreError, StoreUncertain, Tx
from estafeta.store.rows import Account
from estafeta.store.stopped import Stopped

log = structlog.get_logger("stopped")


class StoppedSenders:
    """A component of the service."""

    name = "stopped-senders"

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._store = installation.store
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def drain(self) -> None:
        """What it does is taken up again by whoever comes after."""

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def reload(self) -> None:
        """Settings are read at each use."""

    async def _run(self) -> None:
        stirred = self._installation.outbound.stirred
        while True:
            stirred.clear()
            try:
                await self.look()
            except (StoreError, OSError) as error:
                log.warning("stopped accounts not looked after", error=str(error))
            except Exception:
                # A bug of ours must not end it for good.
                log.exception("stopped accounts not looked after")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOPPED_LOOK_SECONDS):
                    await stirred.wait()

    async def look(self) -> None:
        """Everything once. Raises StoreError."""
        for each in await self._store.read(stopped.untold):
            try:
                await self._installation.outbound.hold_all(each.account)
                await self._tell(each)
            except (StoreError, OSError):
                raise
            except Exception:
                # A bug of ours in here must not keep the next one from being told.
                log.exception("stopped account not looked after", account=each.account)

    async def _tell(self, what: Stopped) -> None:
        def read(tx: Tx) -> tuple[Account | None, int]:
            return (
                accounts.account_by_id(tx, what.account),
                queue_stopped.count_held(tx, what.account),
            )

        account, held = await self._store.read(read)
        if account is None:
            await self._store.run(lambda tx: stopped.let(tx, what.account))  # removed meanwhile
            return
        owner = await self._to_owner(account, what, held)
        try:
            both = [owner, await self._to_administrator(account, what, held)]
        except BaseException:
            owner.abandoned()
            raise
        await self._accept(both, what)

    async def _to_owner(self, account: Account, what: Stopped, held: int) -> PreparedAcceptance:
        whole = self._installation
        language = await whole.language(account.address)
        subject, text = to_owner(account.address, what.why, held, language)
        return await prepare_note(whole, account.address, language, subject, text)

    async def _to_administrator(
        self, account: Account, what: Stopped, held: int
    ) -> PreparedAcceptance:
        server = self._installation.config.server
        subject, text = to_administrator(account.address, what.why, held, server.language)
        return await prepare_note(
            self._installation, server.postmaster, server.language, subject, text
        )

    async def _accept(self, notices: list[PreparedAcceptance], what: Stopped) -> None:
        """Told and accepted in one unit, unless somebody else has told it."""

        def unit(tx: Tx) -> bool:
            if not stopped.tell(tx, what):
                return False
            for notice in notices:
                notice.apply(tx)
            return True

        touched = sorted({account for notice in notices for account in notice.accounts})
        try:
            done = await self._store.run(unit, accounts=touched)
        except StoreUncertain:
            for notice in notices:
                notice.doubted()
            raise
        except BaseException:
            for notice in notices:
                notice.abandoned()
            raise
        for notice in notices:
            if done:
                notice.committed()
            else:
                notice.abandoned()


def to_owner(account: str, limit: str, held: int, language: str) -> tuple[str, str]:
    """(subject, text). limit: as in the settings. held: recipients of what waits."""
    most, _, period = limit.partition("/")
    values = {"account": account, "most": most, "period": period, "count": held}
    parts = ["what", *(["held"] if held else []), "yours", "not-yours"]
    return (
        say("stopped.owner-subject", language, **values),
        in_blocks(say(f"stopped.owner-{part}", language, **values) for part in parts),
    )


def to_administrator(account: str, limit: str, held: int, language: str) -> tuple[str, str]:
    """As `to_owner`, with the commands that help."""
    values = {"account": account, "limit": limit, "count": held}

    def part(name: str) -> str:
        return say(f"stopped.administrator-{name}", language, **values)

    blocks = [
        part("what"),
        part("look"),
        f"    estafeta queue list --mine {account}",
        part("stolen"),
        f"    estafeta account password {account}\n"
        f"    estafeta queue cancel --all --mine {account}",
        part("let"),
        f"    estafeta account release {account}",
        part("told"),
    ]
    return part("subject"), in_blocks(blocks)
