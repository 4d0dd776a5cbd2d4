"""A small DNS server in memory, for resolver and routes; every answer may be made wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from tests.support.streams import MemoryDatagrams, MemoryNet, MemoryStream

from estafeta.world.seams import Endpoint

SOA = "ns.example. admin.example. 1 3600 600 86400 60"


class DnsServer:
    """records: (name, type) -> (ttl, texts). A name without the type has no data; a name that is
    not there at all does not exist. codes: name -> rcode instead of an answer. silent: names for
    which nothing is said. questions: (name, type) as they came. spoil: changes a wire answer."""

    def __init__(self, net: MemoryNet, at: Endpoint, *, follow: bool = True) -> None:
        self.net = net
        self.at = at
        self.follow = follow
        self.records: dict[tuple[str, str], tuple[int, list[str]]] = {}
        self.names: set[str] = set()
        self.codes: dict[str, dns.rcode.Rcode] = {}
        self.silent: set[str] = set()
        self.questions: list[tuple[str, str]] = []
        self.ids: list[int] = []
        self.sources: list[Endpoint] = []
        self.edns: list[int] = []
        self.tcp_questions = 0
        self.udp_octets_max = 1232
        self.knows_edns = True
        self.authenticated = False
        self.spoil: Callable[[dns.message.Message, bytes, MemoryDatagrams], bytes | None] | None
        self.spoil = None
        net.datagram_servers[at] = self._datagram
        net.servers[at] = self._stream

    def add(self, name: str, rdtype: str, *texts: str, ttl: int = 300) -> None:
        self.records[name, rdtype] = (ttl, list(texts))
        self.names.add(name)

    def answer(self, question: dns.message.Message) -> dns.message.Message | None:
        asked = question.question[0]
        name = asked.name.to_text(omit_final_dot=True).lower()
        rdtype = dns.rdatatype.to_text(asked.rdtype)
        self.questions.append((name, rdtype))
        self.ids.append(question.id)
        self.edns.append(question.edns)
        if name in self.silent:
            return None
        reply = dns.message.make_response(question, recursion_available=True)
        if question.edns >= 0 and not self.knows_edns:
            reply.use_edns(False)
            reply.set_rcode(dns.rcode.FORMERR)
            return reply
        if self.authenticated:
            reply.flags |= dns.flags.AD
        for _ in range(20):
            if name in self.codes:
                reply.set_rcode(self.codes[name])
                return reply
            if (name, rdtype) in self.records:
                self._put(reply.answer, name, rdtype)
                return reply
            if (name, "CNAME") not in self.records:
                break
            self._put(reply.answer, name, "CNAME")
            if not self.follow:
                return reply
            name = self.records[name, "CNAME"][1][0].rstrip(".").lower()
        if name not in self.names:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        reply.authority.append(dns.rrset.from_text("example.", 3600, "IN", "SOA", SOA))
        return reply

    def _put(self, section: list[Any], name: str, rdtype: str) -> None:
        ttl, texts = self.records[name, rdtype]
        section.append(dns.rrset.from_text(dns.name.from_text(name), ttl, "IN", rdtype, *texts))

    def _datagram(self, data: bytes, sender: MemoryDatagrams, at: Endpoint) -> None:
        question = dns.message.from_wire(data)
        self.sources.append(sender.local)
        reply = self.answer(question)
        if reply is None:
            return
        wire: bytes | None = reply.to_wire(max_size=65535)
        if len(reply.to_wire(max_size=65535)) > self.udp_octets_max:
            cut = dns.message.make_response(question)
            cut.flags |= dns.flags.TC
            wire = cut.to_wire()
        if self.spoil is not None:
            assert wire is not None
            wire = self.spoil(question, wire, sender)
        if wire is not None:
            sender.put(wire, at)

    async def _stream(self, stream: MemoryStream) -> None:
        data = await stream.read()
        self.tcp_questions += 1
        reply = self.answer(dns.message.from_wire(data[2:]))
        if reply is None:
            return
        wire = reply.to_wire(max_size=65535)
        whole = len(wire).to_bytes(2, "big") + wire
        for at in range(0, len(whole), 700):  # in pieces
            stream.write(whole[at : at + 700])
        await stream.close()
