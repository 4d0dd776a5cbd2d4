"""route: from a recipient's domain to the servers that take its mail (RFC 5321 §5.1).

Promises: MX by preference, random among equals; A and AAAA with the families in turn (RFC 8305
§4); address records only where there is no MX; null MX (RFC 7505); never to ourselves or past us;
never to an address the egress guard refuses. Ends in a `Route` or a `RouteFailure`, does not raise.
Routes are kept as long as the DNS says, a minute at most; failures are not kept here (the
resolver's cache holds the answers).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Iterable
from itertools import pairwise
from typing import Literal

import msgspec
import structlog

from estafeta.explain.words import DEFAULT_LANGUAGE, say_note
from estafeta.mail.outcome import Deferred, Looped, Refused, Reply
from estafeta.resolve.answer import Found, NameNotFound, Trouble
from estafeta.resolve.egress import EgressGuard
from estafeta.resolve.limits import (
    ADDRESSES_PER_HOST_MAX,
    MX_HOSTS_MAX,
    ROUTE_TTL_MAX_SECONDS,
    ROUTES_CACHED_MAX,
    TTL_MAX_SECONDS,
)
from estafeta.resolve.plan import (
    Host,
    Route,
    RouteFailure,
    RouteNote,
    StaticRoute,
    StaticRoutes,
    covers,
)
from estafeta.resolve.resolver import Resolver
from estafeta.world.seams import Endpoint, World

SMTP_PORT = 25

log = structlog.get_logger("resolve")


class _Addresses(msgspec.Struct):
    """What became of one name's A and AAAA. own: one of them is a listener of ours."""

    endpoints: list[Endpoint]
    notes: list[RouteNote]
    trouble: Trouble | None = None
    missing: bool = False
    objected: bool = False
    own: bool = False
    ttl: float = float(TTL_MAX_SECONDS)
    authenticated: bool = True


class Router:
    """own_names: host names under which we take mail; own_endpoints: addresses (with port) where.

    port: where MX hosts listen, 25 but in demo and tests. no_mx: what a domain without MX and
    address records means: "defer" (4.4.4) or "bounce" (5.4.4). no_mx_exceptions: domains for which
    the other of the two holds; ".example.org" is all below it. guard: which addresses a stranger's
    DNS may send us to.
    """

    def __init__(
        self,
        world: World,
        resolver: Resolver,
        *,
        own_names: Iterable[str] = (),
        own_endpoints: Iterable[Endpoint] = (),
        static: StaticRoutes | None = None,
        port: int = SMTP_PORT,
        no_mx: Literal["defer", "bounce"] = "defer",
        no_mx_exceptions: Iterable[str] = (),
        guard: EgressGuard | None = None,
    ) -> None:
        self._dice = world.dice
        self._resolver = resolver
        self._own_names = frozenset(name.lower().rstrip(".") for name in own_names)
        self._own_endpoints = frozenset(own_endpoints)
        self._static = static or StaticRoutes({})
        self._port = port
        self._no_mx_bounces = no_mx == "bounce"
        self._no_mx_exceptions = frozenset(name.lower() for name in no_mx_exceptions)
        self._guard = guard or EgressGuard()
        self._known: OrderedDict[str, tuple[float, Route]] = OrderedDict()

    async def route(self, domain: str) -> Route | RouteFailure:
        """domain: canonical (lower case, A-labels) or an address literal "[…]"."""
        now = asyncio.get_running_loop().time()
        kept = self._known.get(domain)
        if kept is not None:
            if now < kept[0]:
                return self._shuffled(kept[1])
            del self._known[domain]
        found = await self._find(domain)
        if isinstance(found, RouteFailure):
            return found
        self._known[domain] = (now + min(found.ttl, ROUTE_TTL_MAX_SECONDS), found)
        if len(self._known) > ROUTES_CACHED_MAX:
            self._known.popitem(last=False)
        return self._shuffled(found)

    def forget(self) -> None:
        """Drops the kept routes (configuration or DNS changed)."""
        self._known.clear()

    async def _find(self, domain: str) -> Route | RouteFailure:
        static = self._static.find(domain)
        if static is not None:
            return await self._by_table(domain, static)
        if domain.startswith("["):
            return self._by_literal(domain)
        answer = await self._resolver.query(domain, "MX")
        if isinstance(answer, Trouble) and answer.kind != "name":
            return _trouble(domain, answer, [])
        if isinstance(answer, NameNotFound | Trouble):
            # What cannot even be asked for (RFC 1035 §2.3.4) can be nobody's domain either.
            return RouteFailure(
                Refused(Reply(550, "5.1.2", f"domain {domain} does not exist"), "domain-not-found")
            )
        if isinstance(answer, Found):
            return await self._by_mx(domain, answer)
        return await self._by_address(domain)

    def _shuffled(self, route: Route) -> Route:
        """RFC 5321 §5.1: hosts of equal preference in random order, anew for each message."""
        hosts = route.hosts
        for this, following in pairwise(hosts):
            if this.preference == following.preference:
                break
        else:
            return route
        random = self._dice.random
        order = sorted(hosts, key=lambda host: (host.preference, random()))
        return msgspec.structs.replace(route, hosts=tuple(order))

    async def _by_mx(self, domain: str, answer: Found) -> Route | RouteFailure:
        notes: list[RouteNote] = []
        if answer.chain:
            notes.append(_alias_note(domain, answer.canonical_name))
        exchanges = sorted(
            (int(record.preference), record.exchange.to_text(omit_final_dot=True).lower())  # type: ignore[attr-defined]
            for record in answer.records
        )
        notes.append(
            _note(
                "mx",
                domain=domain,
                hosts=", ".join(f"{name} ({level})" for level, name in exchanges),
                server=answer.server,
                ttl=round(answer.ttl),
            )
        )
        if all(name in ("", ".", "@") for _, name in exchanges):
            # RFC 7505 §3: "MX 0 ." says that this domain takes no mail.
            return RouteFailure(
                Refused(
                    Reply(556, "5.1.10", f"{domain} does not accept mail (null MX)"), "null-mx"
                ),
                tuple(notes),
            )
        usable = []
        for level, name in exchanges:
            if name in ("", ".", "@"):
                # RFC 7505 §3: a null MX stands alone; beside others it means nothing.
                notes.append(_note("null-mx-ignored", domain=domain))
            elif _is_address(name):
                notes.append(_note("mx-is-address", name=name))
            else:
                usable.append((level, name))
        usable = usable[:MX_HOSTS_MAX]
        looked_up = await asyncio.gather(*(self._addresses(name) for _, name in usable))
        for addresses in looked_up:
            notes += addresses.notes
        own = [
            level
            for (level, name), addresses in zip(usable, looked_up, strict=True)
            if name in self._own_names or addresses.own
        ]
        limit = min(own, default=None)
        if limit is not None:
            # RFC 5321 §5.1: ourselves and all that are no better than we are dropped.
            notes.append(_note("we-are-mx", domain=domain, preference=limit))
            if all(level >= limit for level, _ in usable):
                return _loop(domain, notes)
        hosts: list[Host] = []
        ttl, authenticated = answer.ttl, answer.authenticated
        considered: list[_Addresses] = []
        for (level, name), addresses in zip(usable, looked_up, strict=True):
            if limit is not None and level >= limit:
                continue
            considered.append(addresses)
            ttl = min(ttl, addresses.ttl)
            authenticated = authenticated and addresses.authenticated
            if addresses.endpoints:
                hosts.append(Host(name, level, tuple(addresses.endpoints)))
        if not hosts:
            return self._no_host(domain, considered, notes)
        return Route(tuple(hosts), tuple(notes), ttl=ttl, authenticated=authenticated)

    async def _by_address(self, domain: str) -> Route | RouteFailure:
        """No MX: the domain itself is the host, with preference 0 (the implicit MX)."""
        addresses = await self._addresses(domain)
        notes = [_note("no-mx", domain=domain), *addresses.notes]
        if addresses.own or domain in self._own_names:
            return _loop(domain, notes)
        if not addresses.endpoints:
            return self._no_host(domain, [addresses], notes)
        host = Host(domain, 0, tuple(addresses.endpoints))
        return Route(
            (host,), tuple(notes), ttl=addresses.ttl, authenticated=addresses.authenticated
        )

    def _by_literal(self, domain: str) -> Route | RouteFailure:
        """RFC 5321 §4.1.3: [192.0.2.1], [IPv6:2001:db8::1]."""
        inner = domain[1:-1]
        text = inner[5:] if inner[:5].lower() == "ipv6:" else inner
        try:
            endpoint = Endpoint(str(ipaddress.ip_address(text)), self._port)
        except ValueError:
            return RouteFailure(
                Refused(Reply(550, "5.1.2", f"{domain} is not an address"), "domain-not-found")
            )
        if endpoint in self._own_endpoints:
            return _loop(domain, [])
        objection = self._guard.objection(endpoint.host)
        if objection:
            return RouteFailure(
                Refused(
                    Reply(550, "5.4.4", f"{domain} is {objection}; no mail is sent there"),
                    "no-mail-host",
                )
            )
        return Route((Host(domain, 0, (endpoint,)),), ttl=float(ROUTE_TTL_MAX_SECONDS))

    async def _by_table(self, domain: str, static: StaticRoute) -> Route | RouteFailure:
        hosts: list[Host] = []
        considered: list[_Addresses] = []
        names = ", ".join(f"{name}:{port}" for name, port in static.hosts)
        notes = [_note("static-route", domain=domain, hosts=names)]
        ttl = float(ROUTE_TTL_MAX_SECONDS)
        for place, (name, port) in enumerate(static.hosts):
            if _is_address(name):
                endpoint = Endpoint(str(ipaddress.ip_address(name)), port)
                hosts.append(Host(name, place, (endpoint,)))
                continue
            addresses = await self._addresses(name.lower().rstrip("."), port, guarded=False)
            considered.append(addresses)
            notes += addresses.notes
            ttl = min(ttl, addresses.ttl)
            if addresses.endpoints:
                hosts.append(Host(name.lower().rstrip("."), place, tuple(addresses.endpoints)))
        if not hosts:
            # The administrator's own mistake: it waits, it does not bounce.
            for addresses in considered:
                if addresses.trouble is not None:
                    return _trouble(domain, addresses.trouble, notes)
            reply = Reply(451, "4.4.4", f"the static route's hosts ({names}) have no address")
            return RouteFailure(Deferred(reply, "no-mail-host"), tuple(notes))
        return Route(tuple(hosts), tuple(notes), static.lmtp, static.tls, static.credentials, ttl)

    async def _addresses(
        self, name: str, port: int | None = None, *, guarded: bool = True
    ) -> _Addresses:
        """A and AAAA of one host, families in turn beginning with IPv6 (RFC 8305 §4)."""
        answers = await asyncio.gather(
            self._resolver.query(name, "AAAA"), self._resolver.query(name, "A")
        )
        found = _Addresses([], [])
        families: list[list[Endpoint]] = []
        for answer in answers:
            family: list[Endpoint] = []
            families.append(family)
            if isinstance(answer, Trouble):
                found.trouble = answer
                continue
            found.missing = found.missing or isinstance(answer, NameNotFound)
            if not isinstance(answer, Found):
                continue
            found.ttl = min(found.ttl, answer.ttl)
            found.authenticated = found.authenticated and answer.authenticated
            if answer.chain and not found.notes:
                # RFC 5321 §5.1 forbids an MX that names an alias; everybody follows it.
                found.notes.append(_alias_note(name, answer.canonical_name))
            for record in answer.records[:ADDRESSES_PER_HOST_MAX]:
                endpoint = Endpoint(str(record.address), port or self._port)  # type: ignore[attr-defined]
                if endpoint in self._own_endpoints:
                    found.own = True
                objection = self._guard.objection(endpoint.host) if guarded else ""
                if objection:
                    found.objected = True
                    found.notes.append(
                        _note("objected", name=name, address=endpoint.host, why=objection)
                    )
                else:
                    family.append(endpoint)
        six, four = families
        for place in range(max(len(six), len(four))):
            found.endpoints += six[place : place + 1] + four[place : place + 1]
        del found.endpoints[ADDRESSES_PER_HOST_MAX:]
        if not found.endpoints and not found.objected:
            found.notes.append(_why_none(name, found))
        return found

    def _no_host(
        self, domain: str, considered: list[_Addresses], notes: list[RouteNote]
    ) -> RouteFailure:
        """There are names or none at all, but no address to go to."""
        for addresses in considered:
            if addresses.trouble is not None:
                return _trouble(domain, addresses.trouble, notes)
        text = f"{domain} has no server that takes mail (no MX, no address)"
        if any(addresses.objected for addresses in considered):
            text = f"the mail servers of {domain} are at addresses no mail is sent to"
        elif notes and notes[0].data["what"] == "mx":
            text = f"the mail servers that {domain} names have no address"
        if self._no_mx_bounces is not covers(self._no_mx_exceptions, domain):
            return RouteFailure(Refused(Reply(550, "5.4.4", text), "no-mail-host"), tuple(notes))
        return RouteFailure(Deferred(Reply(451, "4.4.4", text), "no-mail-host"), tuple(notes))


def _trouble(domain: str, trouble: Trouble, notes: list[RouteNote]) -> RouteFailure:
    reply = Reply(451, "4.4.3", f"the DNS gives no answer for {domain}: {trouble.text}")
    return RouteFailure(Deferred(reply, "dns-trouble"), tuple(notes))


def _loop(domain: str, notes: list[RouteNote]) -> RouteFailure:
    reply = Reply(554, "5.4.6", f"mail for {domain} loops back to this server")
    return RouteFailure(Looped(reply), tuple(notes))


def _note(what: str, **values: str | float) -> RouteNote:
    """In the words of the text `note.<what>`."""
    data = {"what": what, **values}
    return RouteNote(say_note(data, DEFAULT_LANGUAGE, what), data)


def _alias_note(name: str, canonical_name: str) -> RouteNote:
    """It is logged too: whoever runs that domain may want to know (RFC 2181 §10.3)."""
    log.info("alias followed", name=name, target=canonical_name)
    return _note("alias", alias=name, target=canonical_name)


def _why_none(name: str, addresses: _Addresses) -> RouteNote:
    if addresses.trouble is not None:
        return _note("address-unknown", name=name, why=addresses.trouble.text)
    return _note("no-such-host" if addresses.missing else "no-address", name=name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
