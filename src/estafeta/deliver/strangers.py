"""Strangers: what whoever comes to port 25 must pass for a recipient: lists, rates, greylisting.

In this order: who is refused for good is not asked to come again, and who comes too often is not
taken for somebody new.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import msgspec

from estafeta.deliver.greylist import Greylist
from estafeta.deliver.lists import Allowed, Listed, Lists
from estafeta.deliver.policy.rules import Effective
from estafeta.deliver.rates import Rates
from estafeta.deliver.visitor import Visitor, Visitors
from estafeta.intake.objection import Objection, objection
from estafeta.wire import replies

Overruled = Callable[[Objection], Awaitable[bool]]
"""Whether an objection does not count, because the owner of the account said so."""


class Asked(msgspec.Struct, frozen=True):
    """One recipient of one sender. account: theirs, None where the address is not one account's."""

    visitor: Visitor
    reverse_path: str
    address: str
    account: int | None
    rules: Effective

    @property
    def sender_domain(self) -> str:
        return self.reverse_path.rpartition("@")[2]


class Passed(msgspec.Struct, frozen=True):
    """again: they had been asked to come again, and did."""

    again: bool = False


class Strangers:
    """Of one process."""

    def __init__(
        self,
        visitors: Visitors,
        lists: Lists,
        rates: Rates,
        greylist: Greylist,
        *,
        host_name: str,
    ) -> None:
        """host_name: ours, where our own settings list somebody."""
        self._host_name = host_name
        self.visitors = visitors
        self.lists = lists
        self.rates = rates
        self.greylist = greylist

    async def judge(self, asked: Asked, overruled: Overruled) -> Objection | Passed:
        """Raises StoreError."""
        listed = None
        if asked.rules.lists:
            listed = await self.lists.look(asked.visitor, asked.sender_domain)
            if isinstance(listed, Listed):
                return self._listed(listed, asked.visitor)
        if asked.visitor.exempt:
            return Passed()
        # Whoever forges a domain must not use up what its own servers may send.
        domain = asked.sender_domain
        if domain and not asked.visitor.aligned(domain):
            domain = f"{domain} {asked.visitor.network}"
        found = await self.rates.recipient(asked.visitor.network, domain, asked.account)
        if found is not None and not await overruled(found):
            return found
        if asked.rules.greylist and not isinstance(listed, Allowed):
            return await self._greylisted(asked, overruled)
        return Passed()

    async def guesses(self, visitor: Visitor) -> Objection | None:
        """Whether so many unknown addresses were asked for that no further one is looked up."""
        return None if visitor.exempt else await self.rates.guesses(visitor.network)

    async def guessed(self, visitor: Visitor) -> Objection | None:
        """One more was unknown."""
        return None if visitor.exempt else await self.rates.unknown(visitor.network)

    async def _greylisted(self, asked: Asked, overruled: Overruled) -> Objection | Passed:
        seconds = await self.greylist.judge(
            asked.visitor, asked.reverse_path, asked.address, asked.account or 0
        )
        if not seconds:
            return Passed(again=seconds is not None)
        found = objection(replies.GREYLISTED, seconds=math.ceil(seconds))
        return Passed() if await overruled(found) else found

    def _listed(self, listed: Listed, visitor: Visitor) -> Objection:
        values = {
            "zone": listed.zone or self._host_name,
            "reason": f": {listed.reason}" if listed.reason else "",
        }
        if listed.about == visitor.address:
            return objection(replies.CLIENT_LISTED, client=listed.about, **values)
        return objection(replies.SENDER_LISTED, domain=listed.about, **values)
