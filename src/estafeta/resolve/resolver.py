"""resolver: a stub resolver with a cache, over the sockets of `world`.

Promises: `query` never raises for what servers do; NXDOMAIN, no data and trouble are told apart;
aliases are followed to a bound; the same question asked by many at once is sent once; what is
remembered is bounded in number and time (TTL, RFC 2308 for what does not exist). Servers are asked
in turn, those that did not answer last.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.rrset

from estafeta.mail.protocols import Meter, NoMeter
from estafeta.resolve.answer import Answer, Found, NameNotFound, NoData, Trouble, TroubleKind
from estafeta.resolve.cache import AnswerCache, Key
from estafeta.resolve.limits import (
    ATTEMPTS,
    CACHE_ENTRIES_MAX,
    CNAME_CHAIN_MAX,
    EDNS_OCTETS,
    NEGATIVE_TTL_MAX_SECONDS,
    QUESTIONS_IN_FLIGHT_MAX,
    RECORDS_MAX,
    TROUBLE_TTL_SECONDS,
    TRY_SECONDS,
    TTL_MAX_SECONDS,
)
from estafeta.resolve.transport import Malformed, Transport
from estafeta.world.seams import Endpoint, World


class Resolver:
    """servers: recursive resolvers (or ones that know all that will be asked), in order of liking.

    try_seconds: wait for one answer; attempts: rounds over all servers.
    """

    def __init__(
        self,
        world: World,
        servers: Sequence[Endpoint],
        *,
        try_seconds: float = TRY_SECONDS,
        attempts: int = ATTEMPTS,
        cache_entries_max: int = CACHE_ENTRIES_MAX,
        meter: Meter | None = None,
    ) -> None:
        if not servers:
            raise ValueError("a resolver needs a DNS server")
        self._servers = [Endpoint(str(ipaddress.ip_address(s.host)), s.port) for s in servers]
        self._try_seconds = try_seconds
        self._attempts = attempts
        self._meter = meter or NoMeter()
        self._transport = Transport(world)
        self._cache = AnswerCache(cache_entries_max)
        self._asking: dict[Key, asyncio.Task[Answer]] = {}
        self._in_flight = asyncio.Semaphore(QUESTIONS_IN_FLIGHT_MAX)
        self._without_edns: set[Endpoint] = set()

    async def query(self, name: str, rdtype: str) -> Answer:
        """Records of `rdtype` ("MX", "A", "TXT" …) at `name`, which is absolute (A-labels)."""
        key = (name.lower().rstrip("."), rdtype)
        known = self._cache.get(key, asyncio.get_running_loop().time())
        if known is not None:
            return known
        task = self._asking.get(key)
        if task is None:
            task = asyncio.ensure_future(self._ask(key))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        # One who stops waiting does not take the answer from the others.
        return await asyncio.shield(task)

    def forget(self) -> None:
        """Empties the cache."""
        self._cache.clear()

    async def close(self) -> None:
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._transport.close()

    async def _ask(self, key: Key) -> Answer:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with self._in_flight:
            answer = await self._follow(*key)
        self._cache.put(key, answer, loop.time())
        self._meter.count("dns_questions", type=key[1], answer=type(answer).__name__)
        self._meter.observe("dns_seconds", loop.time() - began)
        return answer

    async def _follow(self, name: str, rdtype: str) -> Answer:
        """The answer at the end of the aliases (RFC 1034 §3.6.2)."""
        try:
            target = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError) as error:
            return Trouble("name", f"{name!r} cannot be asked for: {error}", TROUBLE_TTL_SECONDS)
        wanted = dns.rdatatype.from_text(rdtype)
        chain: list[dns.name.Name] = []
        ttl = float(TTL_MAX_SECONDS)
        authenticated = True
        while True:
            response = await self._exchange(target, wanted)
            if isinstance(response, Trouble):
                return response
            message, server = response
            authenticated = authenticated and bool(message.flags & dns.flags.AD)
            moved = False
            # Bounded: each turn lengthens the chain.
            while True:
                alias = _rrset(message, target, dns.rdatatype.CNAME)
                if alias is None or wanted == dns.rdatatype.CNAME:
                    break
                ttl = min(ttl, alias.ttl)
                chain.append(target)
                target = alias[0].target
                moved = True
                if target in chain or len(chain) > CNAME_CHAIN_MAX:
                    return Trouble(
                        "chain", f"{name} is an alias without end", TROUBLE_TTL_SECONDS, server
                    )
            records = _rrset(message, target, wanted)
            if records is not None:
                return Found(
                    tuple(records)[:RECORDS_MAX],
                    max(min(ttl, records.ttl), 1.0),
                    authenticated,
                    _text(target),
                    tuple(_text(link) for link in chain),
                    server,
                )
            negative = min(ttl, _negative_ttl(message))
            if message.rcode() == dns.rcode.NXDOMAIN:
                return NameNotFound(negative, authenticated, server)
            if _is_referral(message):
                text = f"{server} refers to other servers instead of answering"
                return _trouble("bogus", text, server)
            if not moved or _soa(message) is not None:
                return NoData(negative, authenticated, server)
            # The answer ends at an alias the server did not follow: ask for its target.

    async def _exchange(
        self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
    ) -> tuple[dns.message.Message, str] | Trouble:
        """A usable response (NOERROR or NXDOMAIN) of some server, and who gave it."""
        trouble = Trouble("timeout", "no DNS server answered", TROUBLE_TTL_SECONDS)
        for _ in range(self._attempts):
            for server in tuple(self._servers):
                try:
                    async with asyncio.timeout(self._try_seconds):
                        message = await self._once(name, rdtype, server)
                except TimeoutError:
                    self._put_last(server)
                    if trouble.kind == "timeout":
                        trouble = _trouble("timeout", f"no answer from {server}", server)
                    continue
                except Malformed as error:
                    trouble = _trouble("bogus", str(error), server)
                    continue
                except OSError as error:
                    self._put_last(server)
                    if trouble.kind == "timeout":
                        trouble = _trouble("timeout", f"{server}: {error}", server)
                    continue
                code = message.rcode()
                if code in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                    return message, str(server)
                kind: TroubleKind = "refused" if code == dns.rcode.REFUSED else "servfail"
                trouble = _trouble(kind, f"{server} says {dns.rcode.to_text(code)}", server)
        return trouble

    async def _once(
        self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, server: Endpoint
    ) -> dns.message.Message:
        edns = server not in self._without_edns
        message = await self._transport.udp(_question(name, rdtype, edns), server)
        if edns and message.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS):
            # RFC 6891 §7: a server that does not know EDNS; it is not asked with it again.
            self._without_edns.add(server)
            edns = False
            message = await self._transport.udp(_question(name, rdtype, edns), server)
        if message.flags & dns.flags.TC:
            message = await self._transport.tcp(_question(name, rdtype, edns), server)
        return message

    def _put_last(self, server: Endpoint) -> None:
        self._servers.remove(server)
        self._servers.append(server)


def _question(
    name: dns.name.Name, rdtype: dns.rdatatype.RdataType, edns: bool
) -> dns.message.QueryMessage:
    question = dns.message.make_query(
        name, rdtype, use_edns=0 if edns else False, payload=EDNS_OCTETS
    )
    question.flags |= dns.flags.AD  # RFC 6840 §5.7: we understand AD in the answer
    return question


def _rrset(
    message: dns.message.Message, name: dns.name.Name, rdtype: dns.rdatatype.RdataType
) -> dns.rrset.RRset | None:
    return message.get_rrset(message.answer, name, dns.rdataclass.IN, rdtype)


def _soa(message: dns.message.Message) -> dns.rrset.RRset | None:
    for rrset in message.authority:
        if rrset.rdtype == dns.rdatatype.SOA:
            return rrset
    return None


def _negative_ttl(message: dns.message.Message) -> float:
    """RFC 2308 §5: the lesser of the SOA's TTL and its minimum; without a SOA, not kept."""
    soa = _soa(message)
    if soa is None:
        return 0.0
    record = soa[0]
    assert isinstance(record, dns.rdtypes.ANY.SOA.SOA)
    return float(min(soa.ttl, record.minimum, NEGATIVE_TTL_MAX_SECONDS))


def _is_referral(message: dns.message.Message) -> bool:
    """RFC 1034 §4.3.1: says nothing of whether the name has records; a bounce must not follow."""
    return (
        not message.flags & dns.flags.AA
        and _soa(message) is None
        and any(rrset.rdtype == dns.rdatatype.NS for rrset in message.authority)
    )


def _trouble(kind: TroubleKind, text: str, server: Endpoint | str) -> Trouble:
    return Trouble(kind, text, TROUBLE_TTL_SECONDS, str(server))


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
