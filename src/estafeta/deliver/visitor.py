"""Visitor: who is at the other end of a connection to port 25, as far as the DNS proves it.

Promises: an organisation is named only where the address's name leads back to the address
(resolve/reverse.py); nobody is waited for longer than set; where the DNS does not answer, a visitor
has no name and is known by their network.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections import OrderedDict
from collections.abc import Sequence

import msgspec
import structlog

from estafeta.deliver.limits import VISITOR_SECONDS, VISITOR_TROUBLE_SECONDS, VISITORS_MAX
from estafeta.intake.networks import Address, address_of, network_of, within
from estafeta.mail.organisation import organisation
from estafeta.mail.protocols import Meter
from estafeta.resolve.resolver import Resolver
from estafeta.resolve.reverse import Reverse, confirmed_name
from estafeta.world.seams import Clock

_NUMBER = re.compile(r"[0-9]{1,10}")

log = structlog.get_logger("visitors")


class Visitor(msgspec.Struct, frozen=True):
    """address: an IPv4 one also where it came mapped into IPv6. network: "192.0.2.0/24" or
    "2001:db8::/64". name: the confirmed one, "" for none. organisation: "" where there is no name,
    or one made from the address: that is what providers call those to whom they lease it. exempt:
    neither limited, nor greylisted, nor made to wait for answers."""

    address: str
    network: str
    name: str = ""
    organisation: str = ""
    exempt: bool = False

    @property
    def who(self) -> str:
        """Whom to hold to account: the organisation, or else the network."""
        return self.organisation or self.network

    def aligned(self, sender_domain: str) -> bool:
        """The domain is of the organisation that the server belongs to: whoever has the one speaks
        for the other."""
        return self.organisation != "" and organisation(sender_domain) == self.organisation


class Visitors:
    """Who comes to one process. clock: of the times it keeps."""

    def __init__(
        self,
        resolver: Resolver,
        clock: Clock,
        *,
        exempt_networks: Sequence[str],
        wait_max: float,
        meter: Meter,
    ) -> None:
        """wait_max: seconds. Raises ValueError for what is no network."""
        self._resolver = resolver
        self._clock = clock
        self._meter = meter
        self._kept: OrderedDict[str, tuple[float, float, Visitor]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Visitor]] = {}
        self.use(exempt_networks, wait_max)

    def use(self, exempt_networks: Sequence[str], wait_max: float) -> None:
        """From now on with these settings."""
        self._exempt = tuple(ipaddress.ip_network(network) for network in exempt_networks)
        self._wait_max = wait_max
        self._kept.clear()

    def known(self, host: str) -> Visitor | None:
        """Where that takes no question."""
        entry = self._kept.get(host)
        # A clock that is put right must not make a name last.
        if entry is not None and 0 <= self._clock.now() - entry[0] < entry[1]:
            return entry[2]
        if not within(host, self._exempt):
            return None
        return self._keep(host, self._visitor(address_of(host), exempt=True), VISITOR_SECONDS)

    async def of(self, host: str) -> Visitor:
        """Raises ValueError for no IP address, nothing else."""
        known = self.known(host)
        if known is not None:
            return known
        # One who stops waiting does not take the answer from the others.
        return await asyncio.shield(self._task(host))

    def expect(self, host: str) -> None:
        """They will be asked for soon: begins to look them up."""
        if self.known(host) is None:
            self._task(host)

    async def close(self) -> None:
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _task(self, host: str) -> asyncio.Task[Visitor]:
        task = self._asking.get(host)
        if task is None:
            task = asyncio.create_task(self._look_up(host), name="visitor")
            self._asking[host] = task
            task.add_done_callback(lambda _: self._asking.pop(host, None))
        return task

    async def _look_up(self, host: str) -> Visitor:
        ip = address_of(host)
        found, result = Reverse(), "late"
        try:
            async with asyncio.timeout(self._wait_max):
                found = await confirmed_name(self._resolver.query, str(ip))
            result = _result(found)
        except TimeoutError:
            pass
        except Exception:
            # Who sends must not be able to make themselves unwelcome, nor us stumble.
            result = "trouble"
            self._meter.count("errors", room="deliver")
            log.exception("looking up a visitor failed", address=str(ip))
        self._meter.count("visitors", result=result)
        unsure = result in ("late", "trouble")
        return self._keep(
            host,
            self._visitor(ip, found.name),
            VISITOR_TROUBLE_SECONDS if unsure else VISITOR_SECONDS,
        )

    def _visitor(self, ip: Address, name: str = "", *, exempt: bool = False) -> Visitor:
        owner = "" if _is_made_up(name, ip) else organisation(name)
        return Visitor(str(ip), network_of(str(ip)), name, owner, exempt)

    def _keep(self, host: str, visitor: Visitor, seconds: float) -> Visitor:
        self._kept[host] = (self._clock.now(), seconds, visitor)
        self._kept.move_to_end(host)
        if len(self._kept) > VISITORS_MAX:
            self._kept.popitem(last=False)
        return visitor


def _result(found: Reverse) -> str:
    if found.name:
        return "named"
    if found.trouble is not None:
        return "trouble"
    return "unconfirmed" if found.claimed else "unnamed"


def _is_made_up(name: str, ip: Address) -> bool:
    """The whole address stands in the name, in one of the ways of providers."""
    if ip.version == 6:
        digits = ip.exploded.replace(":", "")
        return digits in re.sub("[-.]", "", name) or ip.compressed.replace(":", "-") in name
    octets = [int(octet) for octet in ip.packed]
    numbers = [int(digits) for digits in _NUMBER.findall(name)]
    runs = [numbers[n : n + 4] for n in range(len(numbers) - 3)]
    joined = "".join(f"{octet:03}" for octet in octets)
    return octets in runs or octets[::-1] in runs or joined in name or ip.packed.hex() in name
