"""Lists: whom port 25 refuses and whom it trusts: by settings of its own, and by lists in the DNS
(RFC 5782).

Promises: all lists are asked at once and waited for no longer than set; one that does not answer,
or says that it does not serve us, lists nobody: the log says so, now and then. Our own settings
come before lists, and who is trusted before who is refused.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import msgspec
import structlog

from estafeta.deliver.limits import (
    LIST_ANSWER_SECONDS,
    LIST_ANSWERS_MAX,
    LIST_FAILURES_MAX,
    LIST_LOG_SECONDS,
    LIST_REASON_CHARACTERS_MAX,
    LIST_REST_SECONDS,
)
from estafeta.deliver.visitor import Visitor
from estafeta.intake.networks import Network, within
from estafeta.mail.protocols import Meter
from estafeta.resolve.answer import Answer, Found, Trouble
from estafeta.resolve.resolver import Resolver
from estafeta.world.seams import Clock

log = structlog.get_logger("lists")

_LISTED = ipaddress.ip_network("127.0.0.0/8")  # RFC 5782 §2.1
_UNWILLING = ipaddress.ip_network("127.255.255.0/24")
"""Answers by which lists say that they do not serve us."""


class DnsList(msgspec.Struct, frozen=True):
    """As in [[lists.dns]] of the settings. answers: networks; empty: what RFC 5782 allows."""

    zone: str
    kind: Literal["address", "domain"] = "address"
    means: Literal["block", "allow"] = "block"
    answers: tuple[str, ...] = ()


class ListsSettings(msgspec.Struct, frozen=True):
    """As in [lists] of the settings. wait_max: seconds."""

    dns: tuple[DnsList, ...] = ()
    allow_networks: tuple[str, ...] = ()
    allow_domains: tuple[str, ...] = ()
    block_networks: tuple[str, ...] = ()
    block_domains: tuple[str, ...] = ()
    wait_max: float = 3.0


class Allowed(msgspec.Struct, frozen=True):
    """No other list nor greylisting counts. zone: the list that says so, "" for our settings."""

    zone: str = ""


class Listed(msgspec.Struct, frozen=True):
    """To be refused. about: the address or domain that is listed. reason: what the list says of it,
    in ASCII, perhaps ""."""

    zone: str
    about: str
    reason: str = ""


class Checked(msgspec.Struct, frozen=True):
    """What a list answers about entries that everyone must, or must not, have (RFC 5782 §5)."""

    zone: str
    result: Literal["works", "lists-nothing", "lists-everything", "unwilling", "silent"]
    words: str = ""


Verdict = Allowed | Listed | None


class Lists:
    """Those of one process."""

    def __init__(
        self, resolver: Resolver, settings: ListsSettings, clock: Clock, meter: Meter
    ) -> None:
        """Raises ValueError for what is no network."""
        self._resolver = resolver
        self._clock = clock
        self._meter = meter
        self._kept: OrderedDict[tuple[str, str, str], tuple[float, Verdict]] = OrderedDict()
        self._asked: tuple[_Asked, ...] = ()
        self.use(settings)

    def use(self, settings: ListsSettings) -> None:
        """From now on with these settings; who is silent is remembered."""
        before = {asked.list: asked for asked in self._asked}
        self._asked = tuple(before.get(each) or _Asked(each) for each in settings.dns)
        self._allow = _networks(settings.allow_networks)
        self._allow_domains = _domains(settings.allow_domains)
        self._block = _networks(settings.block_networks)
        self._block_domains = _domains(settings.block_domains)
        self._wait_max = settings.wait_max
        self._any = settings != ListsSettings(wait_max=settings.wait_max)
        self._kept.clear()

    @property
    def any(self) -> bool:
        """Whether anybody could be on a list."""
        return self._any

    async def look(self, visitor: Visitor, sender_domain: str) -> Verdict:
        """sender_domain: of the reverse-path, "" for none. Does not raise for what lists do."""
        if not self._any:
            return None
        now = self._clock.now()
        key = (visitor.address, visitor.name, sender_domain)
        entry = self._kept.get(key)
        # A clock that is put right must not make a verdict last.
        if entry is not None and 0 <= now - entry[0] < LIST_ANSWER_SECONDS:
            return entry[1]
        verdict = self._by_settings(visitor, sender_domain)
        sure = True
        if verdict is None and not visitor.exempt:
            verdict, sure = await self._by_dns(visitor, sender_domain)
        if sure:
            self._kept[key] = (now, verdict)
            self._kept.move_to_end(key)
            if len(self._kept) > LIST_ANSWERS_MAX:
                self._kept.popitem(last=False)
        return verdict

    async def check(self, zone: DnsList) -> Checked:
        """Whether a list serves us, by the entries that it must and must not have."""
        here, not_here = ("127.0.0.2", "127.0.0.1")
        if zone.kind == "domain":
            here, not_here = ("test", "invalid")
        asked = _Asked(zone)
        both = await asyncio.gather(
            self._listed(asked, _question(zone, here)),
            self._listed(asked, _question(zone, not_here)),
        )
        for found in both:
            if isinstance(found, _Failed):
                return Checked(zone.zone, "unwilling" if found.unwilling else "silent", found.why)
        if both[1]:
            return Checked(zone.zone, "lists-everything")
        return Checked(zone.zone, "works" if both[0] else "lists-nothing")

    # -- our own settings -----------------------------------------------------------------------

    def _by_settings(self, visitor: Visitor, sender_domain: str) -> Verdict:
        if within(visitor.address, self._allow) or _below(visitor.name, self._allow_domains):
            return Allowed()
        if within(visitor.address, self._block):
            return Listed("", visitor.address)
        if _below(sender_domain, self._block_domains):
            return Listed("", sender_domain)
        return None

    # -- lists in the DNS -----------------------------------------------------------------------

    async def _by_dns(self, visitor: Visitor, sender_domain: str) -> tuple[Verdict, bool]:
        """The verdict, and whether every list took part in it."""
        now = self._clock.now()
        wanted: list[tuple[_Asked, str, str]] = []
        sure = True
        for asked in self._asked:
            about = visitor.address if asked.list.kind == "address" else sender_domain
            if not about or about.startswith("["):
                continue
            if asked.rests(now):
                sure = False
                continue
            wanted.append((asked, about, _question(asked.list, about)))
        answers = await asyncio.gather(*(self._listed(each, name) for each, _, name in wanted))
        listed: Listed | None = None
        for (asked, about, name), found in zip(wanted, answers, strict=True):
            if isinstance(found, _Failed):
                sure = False
            elif found and asked.list.means == "allow":
                return Allowed(asked.list.zone), True
            elif found and listed is None:
                listed = Listed(asked.list.zone, about, name)
        if listed is not None:
            # The question stood in for the reason, which only the one that counts is asked for.
            reason = await self._reason(listed.reason)
            listed = msgspec.structs.replace(listed, reason=reason)
        return listed, sure

    async def _listed(self, asked: _Asked, name: str) -> bool | _Failed:
        zone = asked.list.zone
        try:
            async with asyncio.timeout(self._wait_max):
                answer = await self._resolver.query(name, "A")
            found = _read(answer, asked.answers)
        except TimeoutError:
            found = _Failed("it did not answer in time")
        if isinstance(found, _Failed):
            result = "failed"
            if asked.failed(self._clock.now()):
                log.warning("a list does not answer: it lists nobody", zone=zone, why=found.why)
        else:
            result = asked.list.means if found else "clear"
            asked.answered()
        self._meter.count("list_answers", zone=zone, result=result)
        return found

    async def _reason(self, name: str) -> str:
        """RFC 5782 §2.1: TXT beside the address, for people."""
        try:
            async with asyncio.timeout(self._wait_max):
                answer = await self._resolver.query(name, "TXT")
        except TimeoutError:
            return ""
        if not isinstance(answer, Found):
            return ""
        octets = b"".join(answer.records[0].strings)  # type: ignore[attr-defined]
        words = "".join(c if " " <= c <= "~" else " " for c in octets.decode("ascii", "replace"))
        return " ".join(words.split())[:LIST_REASON_CHARACTERS_MAX]


class _Failed(msgspec.Struct, frozen=True):
    """unwilling: it answered, but not about the entry."""

    why: str
    unwilling: bool = False


class _Asked:
    """A list, and how it fares."""

    __slots__ = ("_failures", "_logged", "_rests_since", "answers", "list")

    def __init__(self, list_: DnsList) -> None:
        self.list = list_
        self.answers = _networks(list_.answers)
        self._failures = 0
        self._rests_since = -LIST_REST_SECONDS
        self._logged = -LIST_LOG_SECONDS

    def rests(self, now: float) -> bool:
        """Not to be asked now. Where its rest is over, one question goes out and the others wait
        for what comes of it."""
        if self._failures < LIST_FAILURES_MAX:
            return False
        if 0 <= now - self._rests_since < LIST_REST_SECONDS:
            return True
        self._rests_since = now
        return False

    def failed(self, now: float) -> bool:
        """True where the log should say so."""
        self._failures += 1
        if self._failures >= LIST_FAILURES_MAX:
            self._rests_since = now
        if 0 <= now - self._logged < LIST_LOG_SECONDS:
            return False
        self._logged = now
        return True

    def answered(self) -> None:
        self._failures = 0


def _read(answer: Answer, answers: Sequence[Network]) -> bool | _Failed:
    if isinstance(answer, Trouble) and answer.kind != "name":
        return _Failed(answer.text)
    # A domain so long that it cannot be asked for is no fault of the list.
    if not isinstance(answer, Found):
        return False
    codes = [ipaddress.ip_address(record.address) for record in answer.records]  # type: ignore[attr-defined]
    if answers:
        if any(code in network for code in codes for network in answers):
            return True
    elif any(code in _LISTED and code not in _UNWILLING for code in codes):
        return True
    strange = [str(code) for code in codes if code in _UNWILLING or code not in _LISTED]
    if strange:
        return _Failed(f"it says {', '.join(strange[:3])}, which is no entry", unwilling=True)
    return False


def _question(zone: DnsList, about: str) -> str:
    """RFC 5782 §2.1, §2.4 (nibbles of IPv6), §3 (domains)."""
    if zone.kind == "domain":
        return f"{about}.{zone.zone}"
    reversed_, _, _ = ipaddress.ip_address(about).reverse_pointer.rpartition(
        ".in-addr.arpa" if ":" not in about else ".ip6.arpa"
    )
    return f"{reversed_}.{zone.zone}"


def _networks(texts: Sequence[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


def _domains(names: Sequence[str]) -> frozenset[str]:
    return frozenset(name.lower().strip(".") for name in names)


def _below(name: str, domains: frozenset[str]) -> bool:
    """It is one of them, or below one."""
    while name and domains:
        if name in domains:
            return True
        name = name.partition(".")[2]
    return False
