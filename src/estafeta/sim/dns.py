"""DNS server: answers from zones given as text, and goes wrong as it is told (RFC 1034, 1035).

`DnsServer.answer` is sans-IO; `serve` puts it on UDP and TCP of any Net: the simulation's, or the
real one, where the demo runs it. Every question and what was said to it is kept in `log`, so that
what happened can be seen from outside.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.zone

from estafeta.world.seams import Datagrams, Endpoint, Listener, Net, Stream

UDP_OCTETS = 512
"""Without EDNS, RFC 1035 §4.2.1."""

LOG_ENTRIES_MAX = 10_000
CNAME_CHAIN_MAX = 16
TCP_IDLE_SECONDS = 10.0

Records = str | Mapping[str, Sequence[str]]
"""Of one zone: master file text, or for its origin alone type -> values ("MX": ["10 mx"])."""

Zones = dict[str, Records]

Wrong = Literal[
    "SERVFAIL",
    "REFUSED",
    "NXDOMAIN",
    "NODATA",
    "timeout",  # no answer at all
    "truncate",  # over UDP: TC and nothing else
    "wrong-id",  # over UDP: an answer to another question's id
    "lame",  # not authoritative, no data, a referral to the root
    "garbage",  # octets that are no message
]


@dataclass(frozen=True, slots=True)
class Asked:
    """One question. at: time of the loop; answer: rcode, records in short, or what went wrong."""

    at: float
    peer: Endpoint
    transport: str
    name: str
    type: str
    answer: str


@dataclass(slots=True)
class DnsFault:
    """name: the name asked for and all below it, "" any; type: "MX" …, "" any; times: how often,
    None always; hits: how often it was."""

    wrong: Wrong
    name: str = ""
    type: str = ""
    times: int | None = None
    hits: int = 0

    def fits(self, name: str, kind: str) -> bool:
        own = self.name.lower().rstrip(".")
        return (
            (self.times is None or self.hits < self.times)
            and (not own or name == own or name.endswith("." + own))
            and self.type.upper() in ("", kind)
        )


class DnsServer:
    """Authoritative for its zones; NXDOMAIN for whatever lies outside them."""

    def __init__(self, zones: Mapping[str, Records]) -> None:
        self.faults: list[DnsFault] = []
        self.log: deque[Asked] = deque(maxlen=LOG_ENTRIES_MAX)
        self.on_asked: Callable[[Asked], None] | None = None
        self._zones: dict[dns.name.Name, dns.zone.Zone] = {}
        for origin, records in zones.items():
            self.set_zone(origin, records)

    def set_zone(self, origin: str, records: Records) -> None:
        """Raises ValueError where the records cannot be read."""
        name = dns.name.from_text(origin)
        if not isinstance(records, str):
            records = "\n".join(
                f"@ {kind} {value}" for kind, values in records.items() for value in values
            )
        text = f"$TTL 300\n{records}\n"
        upper = text.upper()
        if " SOA " not in upper:
            text += "@ SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 60\n"
        if " NS " not in upper:
            text += "@ NS ns.invalid.\n"
        try:
            self._zones[name] = dns.zone.from_text(text, name, relativize=False)
        except (dns.exception.DNSException, ValueError) as error:
            raise ValueError(f"zone {origin}: {error}") from None

    def remove_zone(self, origin: str) -> None:
        """The domain does not exist any more."""
        self._zones.pop(dns.name.from_text(origin), None)

    def inject(self, fault: DnsFault) -> DnsFault:
        self.faults.append(fault)
        return fault

    def heal(self) -> None:
        self.faults.clear()

    async def serve(self, net: Net, at: Endpoint) -> Serving:
        """Puts it on UDP and TCP of one port (0: a free one). Raises OSError."""
        return await serve(net, at, self)

    def answer(
        self, query: bytes, *, peer: Endpoint | None = None, transport: str = "udp", at: float = 0.0
    ) -> bytes | None:
        """The answer to one query message, or None for silence."""
        try:
            asked = dns.message.from_wire(query)
        except dns.exception.DNSException:
            return None
        if asked.flags & dns.flags.QR or len(asked.question) != 1:
            return None
        question = asked.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        wrong = self._wrong(name, kind, transport)
        reply = dns.message.make_response(asked, recursion_available=True)
        self._fill(reply, question, wrong)
        wire = self._wire(reply, asked, wrong, transport)
        said = wrong or dns.rcode.to_text(reply.rcode())
        if wire is not None and not wrong:
            records = [str(record) for rrset in reply.answer for record in rrset]
            said = " ".join((said, "; ".join(records) if records else "no records"))
            if wire[2] & 0x02:
                said += " (truncated)"
        entry = Asked(at, peer or Endpoint("", 0), transport, name, kind, said)
        self.log.append(entry)
        if self.on_asked is not None:
            self.on_asked(entry)
        return wire

    def _wrong(self, name: str, kind: str, transport: str) -> Wrong | None:
        for fault in self.faults:
            if fault.fits(name, kind):
                if fault.wrong in ("truncate", "wrong-id") and transport != "udp":
                    continue
                fault.hits += 1
                return fault.wrong
        return None

    def _fill(
        self, reply: dns.message.Message, question: dns.rrset.RRset, wrong: Wrong | None
    ) -> None:
        if wrong in ("SERVFAIL", "REFUSED"):
            reply.set_rcode(dns.rcode.from_text(wrong))
        elif wrong in ("NXDOMAIN", "NODATA"):
            reply.set_rcode(dns.rcode.NXDOMAIN if wrong == "NXDOMAIN" else dns.rcode.NOERROR)
            zone = self._zone(question.name)
            if zone is not None:
                self._add_soa(reply, zone)
        elif wrong == "lame":
            reply.authority.append(
                dns.rrset.from_text(".", 518400, "IN", "NS", "a.root-servers.net.")
            )
        elif wrong is None:
            reply.flags |= dns.flags.AA
            self._look_up(reply, question.name, question.rdtype)

    def _look_up(
        self, reply: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType
    ) -> None:
        """Follows aliases within our zones (RFC 1034 §4.3.2)."""
        for _ in range(CNAME_CHAIN_MAX):
            zone = self._zone(name)
            if zone is None:
                if not reply.answer:  # an alias that leads out of our zones ends the answer there
                    reply.set_rcode(dns.rcode.NXDOMAIN)
                return
            node, owner = self._node(zone, name)
            if node is None:
                if not self._is_above_something(zone, name):
                    reply.set_rcode(dns.rcode.NXDOMAIN)
                self._add_soa(reply, zone)
                return
            found = node.get_rdataset(dns.rdataclass.IN, kind)
            if found is not None:
                reply.answer.append(dns.rrset.from_rdata_list(owner, found.ttl, list(found)))
                return
            alias = node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.CNAME)
            if alias is None:
                self._add_soa(reply, zone)
                return
            reply.answer.append(dns.rrset.from_rdata_list(owner, alias.ttl, list(alias)))
            name = alias[0].target

    def _zone(self, name: dns.name.Name) -> dns.zone.Zone | None:
        while True:
            zone = self._zones.get(name)
            if zone is not None or name == dns.name.root:
                return zone
            name = name.parent()

    def _node(
        self, zone: dns.zone.Zone, name: dns.name.Name
    ) -> tuple[dns.node.Node | None, dns.name.Name]:
        """The node of a name, or of the wildcard that covers it (RFC 4592), and the name to say."""
        node = zone.get_node(name)
        if node is not None or self._is_above_something(zone, name):
            return node, name
        encloser = name
        while encloser != zone.origin:
            encloser = encloser.parent()
            node = zone.get_node(dns.name.Name((b"*", *encloser.labels)))
            if node is not None:
                return node, name
            if zone.get_node(encloser) is not None or self._is_above_something(zone, encloser):
                break
        return None, name

    @staticmethod
    def _is_above_something(zone: dns.zone.Zone, name: dns.name.Name) -> bool:
        """An empty non-terminal exists (RFC 8020)."""
        return any(owner != name and owner.is_subdomain(name) for owner in zone.nodes)

    @staticmethod
    def _add_soa(reply: dns.message.Message, zone: dns.zone.Zone) -> None:
        """For negative caching (RFC 2308 §3)."""
        assert zone.origin is not None
        soa = zone.find_rdataset(zone.origin, dns.rdatatype.SOA)
        reply.authority.append(dns.rrset.from_rdata_list(zone.origin, soa.ttl, list(soa)))

    @staticmethod
    def _wire(
        reply: dns.message.Message,
        asked: dns.message.Message,
        wrong: Wrong | None,
        transport: str,
    ) -> bytes | None:
        if wrong == "timeout":
            return None
        if wrong == "garbage":
            return b"\xff" * 7
        if wrong == "wrong-id":
            reply.id = asked.id ^ 0x5555
        limit = 65535
        if transport == "udp":
            limit = max(UDP_OCTETS, asked.payload) if asked.edns >= 0 else UDP_OCTETS
        try:
            if wrong == "truncate":
                raise dns.exception.TooBig
            return reply.to_wire(max_size=limit)
        except dns.exception.TooBig:
            short = dns.message.make_response(asked, recursion_available=True)
            short.flags |= dns.flags.TC
            return short.to_wire()


class Serving:
    """A DnsServer on the air. endpoint: of UDP and TCP both."""

    def __init__(
        self, endpoint: Endpoint, sockets: Datagrams, listener: Listener, task: asyncio.Task[None]
    ) -> None:
        self.endpoint = endpoint
        self._sockets = sockets
        self._listener = listener
        self._task = task

    async def close(self) -> None:
        self._task.cancel()
        self._sockets.close()
        await self._listener.close()


async def serve(net: Net, at: Endpoint, server: DnsServer) -> Serving:
    """Puts a server on UDP and TCP of one port (0: a free one). Raises OSError."""
    loop = asyncio.get_running_loop()

    async def over_tcp(stream: Stream) -> None:
        """RFC 7766: messages with a length before each, until the client ends."""
        waiting = b""
        while True:
            async with asyncio.timeout(TCP_IDLE_SECONDS):
                data = await stream.read()
            if not data:
                break
            waiting += data
            while len(waiting) >= 2 and len(waiting) >= 2 + int.from_bytes(waiting[:2]):
                end = 2 + int.from_bytes(waiting[:2])
                query, waiting = waiting[2:end], waiting[end:]
                said = server.answer(query, peer=stream.peer, transport="tcp", at=loop.time())
                if said is not None:
                    stream.write(len(said).to_bytes(2) + said)
            await stream.drain()
        await stream.close()

    async def over_tcp_patiently(stream: Stream) -> None:
        try:
            await over_tcp(stream)
        except TimeoutError:
            return

    async def over_udp(sockets: Datagrams) -> None:
        while True:
            try:
                query, peer = await sockets.receive()
            except ConnectionRefusedError:
                continue  # somebody did not wait for the answer
            except ConnectionError:
                return
            said = server.answer(query, peer=peer, transport="udp", at=loop.time())
            if said is not None:
                sockets.send(said, peer)

    sockets = await net.datagrams(at)
    try:
        listener = await net.listen(Endpoint(at.host, sockets.local.port), over_tcp_patiently)
    except BaseException:
        sockets.close()
        raise
    task = loop.create_task(over_udp(sockets), name=f"dns server {sockets.local}")
    return Serving(sockets.local, sockets, listener, task)
