"""Preflight: of addresses that somebody is about to write to: will a message arrive?

Syntax, whether the domain is there and takes mail (RFC 5321 §5.1, RFC 7505), a likely slip, and
what became of the asker's own last message to it. The DNS is all that is asked, never the other
server.

Promises: of who is here, only those of the asker's own domain are looked for; an address at
another domain of this installation is answered from its domain alone, in words and in time. Past
outcomes are the asker's own. So many addresses an account and hour; one deadline for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor
from functools import partial
from typing import Literal, Protocol

import msgspec
import structlog

from estafeta.compose.limits import (
    CHECK_SECONDS_MAX,
    CHECKS_BURST,
    CHECKS_SECONDS,
    LIKELY_INLINE_MAX,
    LIKELY_SECONDS_MAX,
    LOOKUPS_AT_ONCE_MAX,
    RECIPIENTS_MAX,
)
from estafeta.explain.likely import DOMAIN_CAUSES, PERSON_CAUSES, likely, likely_domain, providers
from estafeta.intake.objection import Objection
from estafeta.intake.target import Directory
from estafeta.mail.address import AddressError, canonical
from estafeta.store import accounts
from estafeta.store.buckets import Limit
from estafeta.store.correspondents import own_domains
from estafeta.store.engine import Store, Tx
from estafeta.store.outcomes import Last, Lately, lately
from estafeta.store.rows import Account
from estafeta.store.trail import lowered
from estafeta.world.seams import Cpu

Verdict = Literal["fine", "doubtful", "wrong", "unknown"]
"""wrong: as it is written, nothing arrives there. doubtful: it may be a slip, or the last message
came back. unknown: the DNS does not say."""

LIMIT = Limit(CHECKS_BURST, CHECKS_SECONDS)

_UNANSWERED = "dns-trouble"

log = structlog.get_logger("preflight")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Of one address. recipient: as it was given. address: its canonical form, "" where it has
    none. cause: why it is not fine, a code of the catalogue. suggestion: what was probably meant.
    last: of the asker's own last message to it."""

    recipient: str
    address: str = ""
    verdict: Verdict = "fine"
    cause: str = ""
    suggestion: str = ""
    last: Last | None = None


class TooMany(Exception):
    """More addresses at once than are looked at."""


class TooOften(Exception):
    """This account has had as many looked at as it may. seconds: come again then."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Rates(Protocol):
    """See store.buckets.Buckets."""

    async def take(self, name: str, limit: Limit, by: int = 1) -> float: ...


class _Known(msgspec.Struct, frozen=True):
    """What the store says. ours: of the domains asked for. missing: cause by address of the asker's
    own domain that leads nowhere. domains: ours, all that are compared."""

    ours: set[str]
    missing: dict[str, str]
    lately: Lately
    domains: list[str]


class Preflight:
    """failing: why no mail can go to a domain that is not ours, a cause, or "". directory: where
    addresses lead."""

    def __init__(
        self,
        *,
        store: Store,
        cpu: Cpu,
        failing: Callable[[str], Awaitable[str]],
        directory: Directory,
        rates: Rates,
    ) -> None:
        self._store = store
        self._cpu = cpu
        self._failing = failing
        self._directory = directory
        self._rates = rates
        self._asking = asyncio.Semaphore(LOOKUPS_AT_ONCE_MAX)

    async def check(
        self, account: Account, recipients: Sequence[str], *, limited: bool = True
    ) -> list[Found]:
        """One for each, in order. limited: False for who need not be counted.

        Raises TooMany, TooOften, StoreError.
        """
        if len(recipients) > RECIPIENTS_MAX:
            raise TooMany(f"at most {RECIPIENTS_MAX} recipients at once were expected")
        if not recipients:
            return []
        if limited:
            wait = await self._rates.take(f"preflight {account.id}", LIMIT, len(recipients))
            if wait > 0:
                raise TooOften(wait)
        written = [_canonical(recipient) for recipient in recipients]
        addresses = {address for address in written if address}
        known = await self._store.read(
            partial(_look, directory=self._directory, account=account, addresses=addresses)
        )
        asked = sorted({_domain(address) for address in addresses} - known.ours)
        failing = dict(zip(asked, await self._ask(asked), strict=True))
        causes = {
            address: known.missing.get(address) or failing.get(_domain(address), "")
            for address in addresses
        }
        meant = await self._meant(causes, known)
        return [
            _found(recipient, address, causes[address], meant[address], known.lately)
            if address
            else Found(recipient=recipient, verdict="wrong", cause="bad-address")
            for recipient, address in zip(recipients, written, strict=True)
        ]

    # -- the DNS -------------------------------------------------------------------------------

    async def _ask(self, domains: Sequence[str]) -> list[str]:
        """A cause for each, "" where mail can go there."""
        tasks = [asyncio.create_task(self._in_turn(domain)) for domain in domains]
        if not tasks:
            return []
        try:
            done, late = await asyncio.wait(tasks, timeout=CHECK_SECONDS_MAX)
        finally:
            for task in tasks:
                task.cancel()
        if late:
            log.info("the DNS did not answer in time", domains=len(late))
        return [task.result() if task in done else _UNANSWERED for task in tasks]

    async def _in_turn(self, domain: str) -> str:
        async with self._asking:
            return await self._failing(domain)

    # -- slips ---------------------------------------------------------------------------------

    async def _meant(self, causes: dict[str, str], known: _Known) -> dict[str, str]:
        """By address, "" where nothing else was meant."""
        people, domains = known.lately.reached, known.domains
        reached = {lowered(address) for address in people}
        found = dict.fromkeys(causes, "")
        asked = {}
        for address, cause in causes.items():
            why = cause or _came_back(address, known.lately)
            if why or (lowered(address) not in reached and _domain(address) not in known.ours):
                asked[address] = why
        if len(people) + len(domains) + len(providers()) <= LIKELY_INLINE_MAX:
            for address, cause in asked.items():
                found |= _named({address: cause}, people, domains)
                await asyncio.sleep(0)
            return found
        try:
            async with asyncio.timeout(LIKELY_SECONDS_MAX):
                return found | await self._cpu.apart(_named, asked, people, domains)
        except (TimeoutError, BrokenExecutor) as trouble:
            log.warning("addresses not compared", count=len(asked), error=repr(trouble))
            return found


def _canonical(recipient: str) -> str:
    """ "" where it is no address."""
    try:
        address = canonical(recipient.strip(" \t"))
    except AddressError:
        return ""
    return address if "@" in address else ""


def _domain(address: str) -> str:
    return address.rpartition("@")[2]


def _look(
    tx: Tx,
    *,
    directory: Directory,
    account: Account,
    addresses: Iterable[str],
) -> _Known:
    addresses = sorted(addresses)
    names = sorted({_domain(address) for address in addresses})
    ours = {name for name in names if accounts.domain(tx, name) is not None}
    missing = {}
    for address in addresses:
        if _domain(address) != account.domain:
            continue  # who else is here is nobody's to find out
        found = directory(tx, address)
        if isinstance(found, Objection):
            missing[address] = found.cause
    return _Known(ours, missing, lately(tx, account.id, addresses), own_domains(tx))


def _named(causes: dict[str, str], people: list[str], domains: list[str]) -> dict[str, str]:
    """causes: "" for an address against which nothing speaks but that nobody was reached there."""
    found = {}
    for address, cause in causes.items():
        local, _, domain = address.rpartition("@")
        if cause in DOMAIN_CAUSES | PERSON_CAUSES:
            found[address] = likely(address, cause, correspondents=people, domains=domains)
        elif not cause:
            # Names that are a slip from a great one take mail, which is lost.
            meant = likely_domain(domain, local=local, correspondents=people)
            found[address] = f"{local}@{meant}" if meant else ""
    return found


def _came_back(address: str, lately: Lately) -> str:
    """Why the last message did, a cause; "" where it did not, or nobody knows."""
    last = lately.last.get(lowered(address))
    return last.cause if last is not None and last.state == "returned" else ""


def _found(recipient: str, address: str, cause: str, meant: str, lately: Lately) -> Found:
    last = lately.last.get(lowered(address))
    verdict: Verdict = "fine"
    if cause == _UNANSWERED:
        verdict = "unknown"
    elif cause:
        verdict = "wrong"
    elif meant or (last is not None and last.state == "returned"):
        verdict, cause = "doubtful", _came_back(address, lately)
    return Found(
        recipient=recipient,
        address=address,
        verdict=verdict,
        cause=cause,
        suggestion=meant,
        last=last,
    )
