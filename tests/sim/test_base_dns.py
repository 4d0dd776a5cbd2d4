"""The DNS server: zones, aliases, wildcards, and everything that may go wrong, over both nets."""

from __future__ import annotations

import asyncio
import random

import dns.flags
import dns.message
import dns.rcode
import pytest

from estafeta.sim.dns import DnsFault, DnsServer, Wrong
from estafeta.sim.loop import run
from estafeta.sim.net import Internet, SimNet
from estafeta.world.net import RealNet
from estafeta.world.seams import Endpoint, Net

ZONES = {
    "sudominio.example": """
@ MX 10 mx
@ MX 20 mx2.other.example.
mx A 192.0.2.1
mx AAAA 2001:db8::1
www CNAME mx
out CNAME elsewhere.example.net.
*.wild MX 5 mx
a.b.deep A 192.0.2.9
big TXT "%s"
null MX 0 .
"""
    % ("x" * 200 + '" "' + "y" * 250 + '" "' + "z" * 250),
}


def ask(server: DnsServer, name: str, kind: str, transport: str = "udp") -> dns.message.Message:
    query = dns.message.make_query(name, kind)
    wire = server.answer(query.to_wire(), transport=transport)
    assert wire is not None
    reply = dns.message.from_wire(wire)
    assert query.is_response(reply)
    return reply


def records(reply: dns.message.Message) -> list[str]:
    return sorted(str(record).lower() for rrset in reply.answer for record in rrset)


def test_answers_from_a_zone() -> None:
    server = DnsServer(ZONES)
    reply = ask(server, "SuDominio.example", "MX")  # names compare without case, RFC 4343
    assert records(reply) == ["10 mx.sudominio.example.", "20 mx2.other.example."]
    assert reply.flags & dns.flags.AA
    assert records(ask(server, "mx.sudominio.example", "AAAA")) == ["2001:db8::1"]
    assert records(ask(server, "null.sudominio.example", "MX")) == ["0 ."]
    assert [entry.answer for entry in server.log][1:] == [
        "NOERROR 2001:db8::1",
        "NOERROR 0 .",
    ]
    assert server.log[0].name == "sudominio.example"


def test_aliases_are_followed_inside_and_end_outside() -> None:
    server = DnsServer(ZONES)
    assert records(ask(server, "www.sudominio.example", "A")) == [
        "192.0.2.1",
        "mx.sudominio.example.",
    ]
    reply = ask(server, "out.sudominio.example", "A")
    assert records(reply) == ["elsewhere.example.net."]
    assert reply.rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize(
    ("name", "kind", "rcode"),
    [
        ("mx.sudominio.example", "MX", dns.rcode.NOERROR),
        ("b.deep.sudominio.example", "MX", dns.rcode.NOERROR),  # an empty non-terminal
        ("nothing.sudominio.example", "MX", dns.rcode.NXDOMAIN),
    ],
)
def test_nothing_there_and_no_such_name_are_told_apart(name: str, kind: str, rcode: int) -> None:
    reply = ask(DnsServer(ZONES), name, kind)
    assert reply.rcode() == rcode
    assert not reply.answer
    assert reply.authority[0].rdtype.name == "SOA"


def test_a_domain_nobody_has() -> None:
    assert ask(DnsServer(ZONES), "sudomenio.example", "MX").rcode() == dns.rcode.NXDOMAIN


def test_wildcards() -> None:
    reply = ask(DnsServer(ZONES), "any.thing.wild.sudominio.example", "MX")
    assert records(reply) == ["5 mx.sudominio.example."]
    assert str(reply.answer[0].name) == "any.thing.wild.sudominio.example."


def test_what_does_not_fit_is_truncated_and_whole_over_tcp() -> None:
    server = DnsServer(ZONES)
    query = dns.message.make_query("big.sudominio.example", "TXT")
    short = dns.message.from_wire(server.answer(query.to_wire()) or b"")
    assert short.flags & dns.flags.TC
    assert not short.answer
    assert records(ask(server, "big.sudominio.example", "TXT", "tcp"))
    large = dns.message.make_query("big.sudominio.example", "TXT", use_edns=0, payload=1232)
    assert dns.message.from_wire(server.answer(large.to_wire()) or b"").answer


@pytest.mark.parametrize("wrong", ["SERVFAIL", "REFUSED", "NXDOMAIN", "NODATA", "lame"])
def test_wrong_answers(wrong: Wrong) -> None:
    server = DnsServer(ZONES)
    fault = server.inject(DnsFault(wrong, "sudominio.example", "MX", times=1))
    reply = ask(server, "sudominio.example", "MX")
    assert not reply.answer
    expected = {"NODATA": "NOERROR", "lame": "NOERROR"}.get(wrong, wrong)
    assert dns.rcode.to_text(reply.rcode()) == expected
    assert bool(reply.flags & dns.flags.AA) is False
    assert fault.hits == 1
    assert server.log[-1].answer == wrong
    assert records(ask(server, "sudominio.example", "MX"))


def test_answers_that_are_none() -> None:
    server = DnsServer(ZONES)
    query = dns.message.make_query("sudominio.example", "MX")
    server.inject(DnsFault("timeout", times=1))
    assert server.answer(query.to_wire()) is None
    server.inject(DnsFault("garbage", times=1))
    with pytest.raises(dns.exception.DNSException):
        dns.message.from_wire(server.answer(query.to_wire()) or b"")
    server.inject(DnsFault("wrong-id", times=1))
    other = dns.message.from_wire(server.answer(query.to_wire()) or b"")
    assert other.id != query.id
    server.inject(DnsFault("truncate"))
    assert ask(server, "sudominio.example", "MX").flags & dns.flags.TC
    assert records(ask(server, "sudominio.example", "MX", "tcp"))
    for hostile in (b"", b"\0" * 11, b"\xff" * 600, dns.message.make_response(query).to_wire()):
        assert server.answer(hostile) is None


def test_records_of_an_origin_by_type() -> None:
    server = DnsServer({"a.example": {"MX": ["10 mx", "20 b.example."], "A": ["192.0.2.7"]}})
    assert records(ask(server, "a.example", "MX")) == ["10 mx.a.example.", "20 b.example."]
    assert records(ask(server, "a.example", "A")) == ["192.0.2.7"]


def test_a_zone_that_cannot_be_read() -> None:
    with pytest.raises(ValueError, match=r"zone a\.example"):
        DnsServer({"a.example": "@ MX ten mx"})


async def over(here: Net, there: Net, here_host: str, host: str) -> None:
    server = DnsServer(ZONES)
    serving = await server.serve(there, Endpoint(host, 0))
    query = dns.message.make_query("sudominio.example", "MX")
    sockets = await here.datagrams(Endpoint(here_host, 0))
    sockets.send(query.to_wire(), serving.endpoint)
    data, peer = await sockets.receive()
    assert peer == serving.endpoint
    assert len(records(dns.message.from_wire(data))) == 2
    stream = await here.connect(serving.endpoint)
    wire = query.to_wire()
    stream.write((len(wire).to_bytes(2) + wire) * 2)
    got = b""
    while len(got) < 2 or len(got) < 2 * (2 + int.from_bytes(got[:2])):
        got += await stream.read()
    assert len(records(dns.message.from_wire(got[2 : 2 + int.from_bytes(got[:2])]))) == 2
    await stream.close()
    assert [entry.transport for entry in server.log] == ["udp", "tcp", "tcp"]
    assert server.log[0].peer == sockets.local
    sockets.close()
    await serving.close()


def test_on_the_air_in_both_worlds() -> None:
    asyncio.run(over(RealNet(), RealNet(), "127.0.0.1", "127.0.0.1"))
    internet = Internet(random.Random(1))
    here, there = SimNet(internet, ["192.0.2.1"]), SimNet(internet, ["192.0.2.53"])

    async def main() -> None:
        await over(here, there, "192.0.2.1", "192.0.2.53")

    run(main())
