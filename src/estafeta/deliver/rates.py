"""Rates: how much may come in on port 25, from a network, of a sender's domain, to an account.

Promises: where nothing is limited, nothing is counted; what is put off takes nothing from any
bucket, so that whoever is over one limit uses up no other; all workers and nodes count together
(store/buckets.py). Networks that are exempt are never asked about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from estafeta.intake.networks import Network, within
from estafeta.intake.objection import Objection, objection
from estafeta.mail.protocols import Meter
from estafeta.store.buckets import Buckets, Limit
from estafeta.wire import replies


class RateSettings(msgspec.Struct, frozen=True):
    """See the settings of `[rates]`. None: as many as go."""

    network: Limit | None = None
    sender_domain: Limit | None = None
    account: Limit | None = None
    unknown_recipients: Limit | None = None
    exempt_networks: tuple[Network, ...] = ()


class Rates:
    """Of one installation. settings may be replaced at any time."""

    def __init__(
        self, buckets: Buckets, settings: RateSettings, *, host_name: str, meter: Meter
    ) -> None:
        self.settings = settings
        self._buckets = buckets
        self._host_name = host_name
        self._meter = meter

    @property
    def exempt_networks(self) -> Sequence[Network]:
        return self.settings.exempt_networks

    def is_exempt(self, host: str) -> bool:
        """Neither limited, nor greylisted, nor made to wait for answers."""
        return within(host, self.settings.exempt_networks)

    async def recipient(
        self, network: str, sender_domain: str, account: int | None
    ) -> Objection | None:
        """One recipient more: None where it may come in. network: as of intake.networks.

        sender_domain: "" for the null sender, who has none; account: None for no account of ours.
        """
        settings = self.settings
        asked: list[tuple[str, str, Limit]] = []
        if settings.network is not None:
            asked.append(("network", f"net {network}", settings.network))
        if settings.sender_domain is not None and sender_domain:
            asked.append(("sender_domain", f"from {sender_domain.lower()}", settings.sender_domain))
        if settings.account is not None and account is not None:
            asked.append(("account", f"to {account}", settings.account))
        if len(asked) > 1:
            for what, name, limit in asked:
                if seconds := await self._buckets.wait(name, limit):
                    return self._later(what, seconds)
        for what, name, limit in asked:
            if seconds := await self._buckets.take(name, limit):
                return self._later(what, seconds)
        return None

    async def unknown(self, network: str) -> Objection | None:
        """An address that nobody here has: None as long as that network may ask for more."""
        limit = self.settings.unknown_recipients
        if limit is None or not await self._buckets.take(f"unknown {network}", limit):
            return None
        return self._guessing()

    async def guesses(self, network: str) -> Objection | None:
        """Before an address is looked up: whether that network has guessed too many, so that it is
        not told of any whether it is there."""
        limit = self.settings.unknown_recipients
        if limit is None or not await self._buckets.wait(f"unknown {network}", limit):
            return None
        return self._guessing()

    def _later(self, what: str, seconds: float) -> Objection:
        self._meter.count("rate_limited", limit=what)
        return objection(replies.RATE_LIMITED, seconds=math.ceil(seconds))

    def _guessing(self) -> Objection:
        self._meter.count("rate_limited", limit="unknown_recipients")
        return objection(replies.RECIPIENTS_REFUSED, host=self._host_name)
