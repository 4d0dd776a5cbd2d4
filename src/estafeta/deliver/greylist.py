"""Greylist: strangers are asked to come again; who does, and who is known otherwise, comes in.

Promises: what was seen lasts in the store (store/greylist.py), whichever worker sees it and whoever
dies in between; whoever is known costs a look into memory. The null reverse-path never waits:
bounces come from anywhere, and once. A stranger is one sender, without what changes from message to
message, to one recipient, from one organisation or network; what strangers may make us write down
is bounded (`_Room`).
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from functools import partial

import msgspec
import structlog

from estafeta.deliver.folding import folded, unsigned
from estafeta.deliver.limits import (
    GREYLIST_APART_MS,
    GREYLIST_KNOWN_MAX,
    GREYLIST_KNOWN_SECONDS,
    GREYLIST_NETWORK_ROWS_MAX,
    GREYLIST_NETWORKS_MAX,
    GREYLIST_ROWS_MAX,
    IPV6_SITE_BITS,
)
from estafeta.deliver.visitor import Visitor
from estafeta.mail.protocols import Meter
from estafeta.store import greylist
from estafeta.store.correspondents import has_written
from estafeta.store.engine import Store, Tx
from estafeta.store.greylist import DAY_MS, Due, Known, Terms, Waiting
from estafeta.world.seams import Clock

log = structlog.get_logger("greylist")

_Key = tuple[str, str, int | str]


class GreylistSettings(msgspec.Struct, frozen=True):
    """As in [greylist] of the settings; seconds."""

    delay: float = 300.0
    window: float = 2 * 86400.0
    keep: float = 36 * 86400.0
    known_after: int = 5


class _Correspondent(msgspec.Struct, frozen=True):
    """The account has written to the sender."""


class Greylist:
    """That of one process; all over one store judge alike."""

    def __init__(
        self, store: Store, clock: Clock, meter: Meter, settings: GreylistSettings
    ) -> None:
        self._store = store
        self._clock = clock
        self._meter = meter
        self._known: OrderedDict[str | _Key, float] = OrderedDict()
        self._room = _Room()
        self.use(settings)

    def use(self, settings: GreylistSettings) -> None:
        """From now on with these settings."""
        self._terms = Terms(
            delay=int(settings.delay * 1000),
            window=int(settings.window * 1000),
            keep=int(settings.keep * 1000),
            known_after=settings.known_after,
            apart=GREYLIST_APART_MS,
        )
        self._known.clear()

    def forget(self) -> None:
        """Asks the store again, of everybody."""
        self._known.clear()

    async def judge(
        self, visitor: Visitor, reverse_path: str, address: str, account: int
    ) -> float | None:
        """Seconds after which they are to come again; None: let them pass; 0: that too, as they
        were asked to come again and have.

        address: the recipient; account: theirs, 0 where it is nobody's. Raises StoreError.
        """
        if visitor.exempt or not reverse_path:
            return None
        who = visitor.organisation or visitor.network
        seconds = self._clock.now()
        known = self._known
        since = known.get(who)
        # A clock that is put right must not make it last.
        if since is not None and 0 <= seconds - since < GREYLIST_KNOWN_SECONDS:
            return None
        stranger = (who, reverse_path, account or address)
        since = known.get(stranger)
        if since is not None and 0 <= seconds - since < GREYLIST_KNOWN_SECONDS:
            return None
        return await self._ask(visitor, stranger, account, int(seconds * 1000))

    async def _ask(self, visitor: Visitor, stranger: _Key, account: int, now: int) -> float | None:
        who, reverse_path, recipient = stranger
        terms = self._terms
        key = greylist.key_of(who, folded(reverse_path), str(recipient))

        def look(tx: Tx) -> Known | Waiting | Due | _Correspondent | None:
            found = greylist.look(tx, key, now, terms)
            if isinstance(found, Known) or not account:
                return found
            written = has_written(tx, account, unsigned(reverse_path))
            return _Correspondent() if written else found

        found = await self._store.read(look)
        if isinstance(found, _Correspondent):
            self._keep(stranger)
            return self._judged("correspondent")
        if isinstance(found, Known):
            await self._use(found, now)
            self._keep(stranger if found.key == key else who)
            return self._judged("known")
        if isinstance(found, Waiting):
            return self._judged("early", found.left)
        if found is None and not self._room.take(now // DAY_MS, visitor):
            return await self._ask_crowd(visitor, now)
        left = await self._store.run(
            partial(greylist.arrive, key=key, now=now, terms=terms),
            names=("greylist " + key[:8].hex(),),
        )
        if left is not None:
            return self._judged("stranger", left)
        self._keep(stranger)
        return self._judged("again", 0)

    async def _ask_crowd(self, visitor: Visitor, now: int) -> float | None:
        """All further strangers of a network are one, who speaks for nobody."""
        terms = self._terms
        key = greylist.key_of(_site(visitor), "", "")
        found = await self._store.read(partial(greylist.look, key=key, now=now, terms=terms))
        if isinstance(found, Known):
            await self._use(found, now)
            return self._judged("crowd")
        if isinstance(found, Waiting):
            return self._judged("crowd", found.left)
        if found is None and not self._room.take_one():
            log.warning("greylist is full: strangers are let in", rows_max=GREYLIST_ROWS_MAX)
            return self._judged("unremembered")
        unit = partial(greylist.arrive, key=key, now=now, terms=terms, counts=False)
        return self._judged("crowd", await self._store.run(unit) or 0)

    async def _use(self, found: Known, now: int) -> None:
        if found.stale:
            await self._store.run(partial(greylist.use, key=found.key, now=now, terms=self._terms))

    def _keep(self, who: str | _Key) -> None:
        known = self._known
        known[who] = self._clock.now()
        known.move_to_end(who)
        if len(known) > GREYLIST_KNOWN_MAX:
            known.popitem(last=False)

    def _judged(self, result: str, left: int | None = None) -> float | None:
        self._meter.count("greylist_judgements", result=result)
        return None if left is None else left / 1000


class _Room:
    """How many strangers may still be written down today.

    Counted by each process for itself: a stranger costs no further row, and workers need not wait
    for each other. So W processes write W times as many at most, and one that starts begins anew.
    """

    def __init__(self) -> None:
        self._day = 0
        self._all = 0
        self._networks: dict[str, int] = {}

    def take(self, day: int, visitor: Visitor) -> bool:
        if day != self._day:
            self._day, self._all = day, 0
            self._networks.clear()
        site = _site(visitor)
        rows = self._networks.get(site, 0)
        if rows >= GREYLIST_NETWORK_ROWS_MAX or not self.take_one():
            return False
        self._networks[site] = rows + 1
        if len(self._networks) > GREYLIST_NETWORKS_MAX:
            del self._networks[next(iter(self._networks))]
        return True

    def take_one(self) -> bool:
        if self._all >= GREYLIST_ROWS_MAX:
            return False
        self._all += 1
        return True


def _site(visitor: Visitor) -> str:
    if ":" not in visitor.address:
        return visitor.network
    return str(ipaddress.ip_network((visitor.address, IPV6_SITE_BITS), strict=False))
