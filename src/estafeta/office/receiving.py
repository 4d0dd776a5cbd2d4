"""Receiving: what port 25 and LMTP decide by, made from the settings, as one component."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Literal

from estafeta.deliver.greylist import Greylist, GreylistSettings
from estafeta.deliver.inbound import InboundRole
from estafeta.deliver.journal import Journal
from estafeta.deliver.lists import DnsList, Lists, ListsSettings
from estafeta.deliver.policy.book import Book
from estafeta.deliver.policy.inspector import Inspector
from estafeta.deliver.rates import Rates, RateSettings
from estafeta.deliver.reception import Reception
from estafeta.deliver.strangers import Strangers
from estafeta.deliver.visitor import Visitors
from estafeta.intake.load import Load, LoadLimits, Measures
from estafeta.intake.networks import Network
from estafeta.intake.objection import Objection
from estafeta.intake.role import Transaction
from estafeta.intake.target import Directory
from estafeta.mail.protocols import Meter
from estafeta.office.config import Config
from estafeta.office.config_types import parse_rate
from estafeta.resolve import Resolver
from estafeta.store.bodies import Body
from estafeta.store.buckets import Buckets, Limit
from estafeta.store.engine import Store
from estafeta.store.ids import Ids
from estafeta.world.seams import World


class Receiving:
    """Of one process. Starts after the store, before the listeners; stops after them."""

    name = "receiving"

    def __init__(
        self,
        config: Config,
        world: World,
        store: Store,
        ids: Ids,
        directory: Directory,
        resolver: Resolver,
        measures: Measures,
        meter: Meter,
    ) -> None:
        clock = world.clock
        self.load = Load(measures, _load_limits(config), meter)
        self.buckets = Buckets(store, clock, meter)
        self.book = Book(clock)
        self.journal = Journal(store, clock, ids, meter)
        self.strangers = Strangers(
            Visitors(
                resolver,
                clock,
                exempt_networks=config.rates.exempt_networks,
                wait_max=config.lists.wait_max,
                meter=meter,
            ),
            Lists(resolver, lists_settings(config), clock, meter),
            Rates(
                self.buckets, _rate_settings(config), host_name=config.server.hostname, meter=meter
            ),
            Greylist(store, clock, meter, _greylist_settings(config)),
            host_name=config.server.hostname,
        )
        inspector = Inspector(world, meter)

        def reception(strangers: Strangers | None) -> Reception:
            return Reception(
                store=store,
                directory=directory,
                book=self.book,
                inspector=inspector,
                journal=self.journal,
                clock=clock,
                strangers=strangers,
            )

        self._of_strangers, self._of_neighbours = reception(self.strangers), reception(None)

    def role(self, name: Literal["mx", "lmtp"]) -> InboundRole:
        """Who comes by LMTP is a neighbour, no stranger."""
        return InboundRole(name, self._of_strangers if name == "mx" else self._of_neighbours)

    async def contents(self, transaction: Transaction, body: Body) -> Sequence[Objection | None]:
        """See submit.submission.Contents."""
        return await self._of_neighbours.contents(transaction, body)

    def use(self, config: Config) -> None:
        """From now on with these settings."""
        strangers = self.strangers
        self.load.limits = _load_limits(config)
        strangers.rates.settings = _rate_settings(config)
        strangers.visitors.use(config.rates.exempt_networks, config.lists.wait_max)
        strangers.lists.use(lists_settings(config))
        strangers.greylist.use(_greylist_settings(config))

    async def start(self) -> None:
        await self.load.start()
        await self.buckets.start()
        await self.journal.start()

    async def drain(self) -> None:
        """It is needed to the last."""

    async def stop(self) -> None:
        await self._of_strangers.close()
        await self.strangers.visitors.close()
        await self.buckets.stop()  # one unit; the journal may have many
        await self.journal.stop()
        await self.load.stop()

    async def reload(self) -> None:
        """Its settings come by `use`."""


def limit_of(rate: str) -> Limit | None:
    """Of a setting that was checked; None where it is empty."""
    found = parse_rate(rate)
    return None if found is None else Limit(*found)


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


def _load_limits(config: Config) -> LoadLimits:
    busy = config.busy
    return LoadLimits(busy.units_max, busy.memory_max, busy.disk_free_min)


def _rate_settings(config: Config) -> RateSettings:
    rates = config.rates
    return RateSettings(
        network=limit_of(rates.network),
        sender_domain=limit_of(rates.sender_domain),
        account=limit_of(rates.account),
        unknown_recipients=limit_of(rates.unknown_recipients),
        exempt_networks=networks(rates.exempt_networks),
    )


def _greylist_settings(config: Config) -> GreylistSettings:
    greylist = config.greylist
    return GreylistSettings(greylist.delay, greylist.window, greylist.keep, greylist.known_after)


def lists_settings(config: Config) -> ListsSettings:
    lists = config.lists
    return ListsSettings(
        dns=tuple(
            DnsList(each.zone, each.kind, each.means, tuple(each.answers)) for each in lists.dns
        ),
        allow_networks=tuple(lists.allow_networks),
        allow_domains=tuple(lists.allow_domains),
        block_networks=tuple(lists.block_networks),
        block_domains=tuple(lists.block_domains),
        wait_max=lists.wait_max,
    )
