"""Journal: who tried to reach an account and was refused or delayed, noted for its owner.

Promises: noting costs no unit of its own: attempts are merged in memory and written together, once
a second and when the service stops. What is held is bounded for each account and in all; what finds
no place is counted, not named. So an account that is flooded neither pushes out what others are to
read, nor costs more than the one unit. A crash loses what is not written yet: the attempts of a
second; of PENDING_MAX / FLUSH_ROWS_MAX seconds at most while all accounts are flooded.
"""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec
import structlog

from estafeta.deliver.folding import folded
from estafeta.deliver.limits import (
    ARRIVALS_MAX,
    AWAY_LOG_SECONDS,
    FLUSH_ROWS_MAX,
    FLUSH_SECONDS,
    KNOCK_TEXT_CHARACTERS_MAX,
    PENDING_ACCOUNT_MAX,
    PENDING_CROWDED_MAX,
    PENDING_MAX,
    PENDING_OF_ONE_MAX,
    PENDING_PROOF_MAX,
)
from estafeta.mail.protocols import Meter, NoMeter
from estafeta.store import knocks
from estafeta.store.engine import Store, StoreError, StoreUncertain
from estafeta.store.ids import Ids
from estafeta.store.knocks import (
    NAMED,
    PROVEN,
    UNKNOWN,
    Arrival,
    Detail,
    Noted,
    many_places,
    many_senders,
)
from estafeta.world.seams import Clock

log = structlog.get_logger("journal")

Key = tuple[str, str, str]
"""By which attempts are one row: who, sender (folded), cause."""


class Knock(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. account: whose journal. who: organisation of the server, or its network.

    sender: the reverse-path as written, "" for none. named: the address that was asked for, and
    no other by which it leads to the account. cause: of explain/causes.toml. reply: what was
    answered. hello: how the client named itself. aligned: the server is the sender's domain's own.
    size: octets, 0: not said. subject: after DATA only. finding: what the message was refused for.
    """

    account: int
    who: str
    network: str
    organisation: str
    sender: str
    named: str
    cause: str
    reply: str
    hello: str
    aligned: bool
    size: int = 0
    subject: str = ""
    finding: str = ""


class _Page:
    """What is still to be written of one account."""

    __slots__ = ("of_one", "of_proof", "rows")

    def __init__(self) -> None:
        self.rows: dict[Key, Noted] = {}
        self.of_one: dict[str, int] = {}
        self.of_proof = [0, 0, 0]


class Journal:
    """See the module."""

    def __init__(self, store: Store, clock: Clock, ids: Ids, meter: Meter | None = None) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._meter = meter or NoMeter()
        self._pages: dict[int, _Page] = {}
        self._held = 0
        self._arrivals: dict[tuple[int, str, str], Arrival] = {}
        self._some = asyncio.Event()
        self._writing = asyncio.Lock()
        self._told_away = -AWAY_LOG_SECONDS
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="journal")

    async def stop(self) -> None:
        """Writes what is left."""
        if self._task is not None:
            async with self._writing:  # what is on its way would be neither written nor held
                self._task.cancel()
            await asyncio.wait([self._task])
        while self._pages or self._arrivals:
            if not await self.flush():
                break

    def note(self, knock: Knock) -> None:
        """To be read by the owner of the account, soon."""
        now = self._now()
        self._meter.count("journal_attempts", cause=knock.cause)
        page = self._pages.get(knock.account)
        if page is None:
            if self._held >= PENDING_MAX:
                self._meter.count("journal_dropped")
                return
            page = self._pages[knock.account] = _Page()
        sender = _cleaned(folded(knock.sender))
        self._put(page, self._noted(knock, sender, now))
        self._some.set()

    def arrived(self, account: int, who: str, sender: str) -> None:
        """A message of theirs came in that had been held up: greylisted, or over a rate. sender:
        the reverse-path as written. To be called for those that were, not for every message."""
        key = (account, _cleaned(who), _cleaned(folded(sender)))
        if len(self._arrivals) < ARRIVALS_MAX or key in self._arrivals:
            self._arrivals[key] = Arrival(*key, self._now())
            self._some.set()

    async def flush(self) -> bool:
        """Writes what is held, FLUSH_ROWS_MAX rows at most; False where the store cannot."""
        async with self._writing:
            rows, arrivals = self._take()
            try:
                await self._store.run(
                    partial(knocks.write, noted=rows, arrivals=arrivals), names=("knocks",)
                )
            except StoreError as error:
                if not isinstance(error, StoreUncertain):
                    self._put_back(rows, arrivals)
                self._away(error)
                return False
            return True

    def _away(self, error: StoreError) -> None:
        """Told now and then: the log may lie on the disk that is full."""
        now = asyncio.get_running_loop().time()
        if now - self._told_away >= AWAY_LOG_SECONDS:
            self._told_away = now
            log.warning("who tried to come in cannot be noted", error=str(error))

    # -- in memory -------------------------------------------------------------------------------

    def _noted(self, knock: Knock, sender: str, now: int) -> Noted:
        detail = Detail(
            network=knock.network,
            organisation=knock.organisation,
            sender=_cleaned(knock.sender),
            reply=_cleaned(knock.reply),
            hello=_cleaned(knock.hello),
            aligned=knock.aligned,
            size=knock.size,
            subject=_cleaned(knock.subject),
            finding=_cleaned(knock.finding),
        )
        return Noted(
            account=knock.account,
            id=0,
            who=_cleaned(knock.who),
            sender=sender,
            cause=knock.cause,
            named=_cleaned(knock.named),
            proof=PROVEN if knock.aligned else NAMED if knock.organisation else UNKNOWN,
            first=now,
            last=now,
            times=1,
            detail=detail,
        )

    def _put(self, page: _Page, noted: Noted) -> None:
        """Merges it, or makes it a row, or counts it among many where there is no room for one."""
        if self._merged(page, noted):
            return
        if page.of_one.get(noted.who, 0) >= PENDING_OF_ONE_MAX and noted.sender != knocks.MANY:
            noted = many_senders(noted)
            if self._merged(page, noted):
                return
        if not self._has_room(page, noted.proof):
            noted = many_places(noted)
            if self._merged(page, noted):
                return
            if self._held >= 2 * PENDING_MAX:
                self._meter.count("journal_dropped", noted.times)
                return
        noted.id = noted.id or self._ids.next()
        page.rows[noted.who, noted.sender, noted.cause] = noted
        page.of_one[noted.who] = page.of_one.get(noted.who, 0) + 1
        page.of_proof[noted.proof] += 1
        self._held += 1

    @staticmethod
    def _merged(page: _Page, noted: Noted) -> bool:
        known = page.rows.get((noted.who, noted.sender, noted.cause))
        if known is None:
            return False
        known.times += noted.times
        known.first = min(known.first, noted.first)
        if noted.last >= known.last:
            known.last, known.named, known.detail = noted.last, noted.named, noted.detail
        return True

    def _has_room(self, page: _Page, proof: int) -> bool:
        """Claims leave room for senders that are proven, servers without a name for those with."""
        crowded = self._held >= PENDING_MAX // 2
        most = PENDING_CROWDED_MAX if crowded else PENDING_ACCOUNT_MAX
        return (
            self._held < PENDING_MAX
            and len(page.rows) < most
            and (crowded or page.of_proof[proof] < PENDING_PROOF_MAX[proof])
        )

    def _take(self) -> tuple[list[Noted], list[Arrival]]:
        """What is written next: of each account its share, so that none waits for another's."""
        rows: list[Noted] = []
        share = max(1, FLUSH_ROWS_MAX // max(1, len(self._pages)))
        for account in list(self._pages):
            if len(rows) >= FLUSH_ROWS_MAX:
                break
            page = self._pages.pop(account)
            keys = list(page.rows)[: min(share, FLUSH_ROWS_MAX - len(rows))]
            for key in keys:
                noted = page.rows.pop(key)
                page.of_one[noted.who] -= 1
                page.of_proof[noted.proof] -= 1
                rows.append(noted)
            self._held -= len(keys)
            if page.rows:
                self._pages[account] = page  # behind the others
        rows.sort(key=lambda noted: (noted.account, noted.id))
        # After the attempts that they end.
        arrivals = [each for each in self._arrivals.values() if each.account not in self._pages]
        del arrivals[FLUSH_ROWS_MAX:]
        for each in arrivals:
            del self._arrivals[each.account, each.who, each.sender]
        return rows, arrivals

    def _put_back(self, rows: list[Noted], arrivals: list[Arrival]) -> None:
        for noted in rows:
            self._put(self._pages.setdefault(noted.account, _Page()), noted)
        for arrival in arrivals:
            key = (arrival.account, arrival.who, arrival.sender)
            self._arrivals.setdefault(key, arrival)

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(FLUSH_SECONDS)
            self._some.clear()
            try:
                await self.flush()
            except Exception:
                # A bug of ours in one of them must not keep the next ones from being noted.
                log.exception("who tried to come in is not noted")
            if self._pages or self._arrivals:
                self._some.set()

    def _now(self) -> int:
        return int(self._clock.now() * 1000)


def _cleaned(text: str) -> str:
    """Without what could steer a terminal or its reader's eye, and of a length to be read."""
    if len(text) > KNOCK_TEXT_CHARACTERS_MAX:
        text = text[: KNOCK_TEXT_CHARACTERS_MAX - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
