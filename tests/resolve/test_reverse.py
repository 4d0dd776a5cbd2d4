"""Reverse: only a name that leads back to the address is its name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import dns.rcode
import pytest
from tests.support.dns_server import DnsServer
from tests.support.streams import MemoryNet, memory_world

from estafeta.resolve import Resolver
from estafeta.resolve.limits import NAMES_OF_ADDRESS_MAX
from estafeta.resolve.reverse import Reverse, confirmed_name
from estafeta.sim.loop import run
from estafeta.world.seams import Endpoint

DNS = Endpoint("192.0.2.53", 53)
PTR = "7.2.0.192.in-addr.arpa"
Scene = Callable[[Resolver, DnsServer], Awaitable[None]]


def play(scene: Scene) -> None:
    async def main() -> None:
        net = MemoryNet()
        server = DnsServer(net, DNS)
        resolver = Resolver(memory_world(net), [DNS], try_seconds=1, attempts=1)
        try:
            await scene(resolver, server)
        finally:
            await resolver.close()

    run(main())


@pytest.mark.parametrize(
    ("address", "pointer", "rdtype"),
    [
        ("192.0.2.7", PTR, "A"),
        ("2001:db8::7", f"7.{'0.' * 23}8.b.d.0.1.0.0.2.ip6.arpa", "AAAA"),
    ],
)
def test_the_first_name_of_those_that_lead_back(address: str, pointer: str, rdtype: str) -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.add(pointer, "PTR", "Mail.Example.", "bad.example.", "next.example.")
        other = "192.0.2.8" if rdtype == "A" else "2001:db8::8"
        server.add("bad.example", rdtype, other)
        server.add("mail.example", rdtype, other, address)
        server.add("next.example", rdtype, address)
        found = await confirmed_name(resolver.query, address)
        assert found == Reverse("mail.example", ("bad.example", "mail.example"))

    play(scene)


def test_none_without_a_name_or_with_one_that_leads_elsewhere() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        assert await confirmed_name(resolver.query, "192.0.2.7") == Reverse()
        resolver.forget()
        server.add(PTR, "PTR", "bank.example.")
        server.add("bank.example", "A", "198.51.100.1")
        found = await confirmed_name(resolver.query, "192.0.2.7")
        assert found == Reverse("", ("bank.example",))

    play(scene)


def test_a_name_that_is_no_host_name_is_none() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.add(PTR, "PTR", r"a\032\010b.example.")
        server.add(r"a\032\010b.example", "A", "192.0.2.7")
        found = await confirmed_name(resolver.query, "192.0.2.7")
        assert found.name == ""
        assert len(server.questions) == 2

    play(scene)


def test_what_the_dns_does_not_say_is_trouble() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.codes[PTR] = dns.rcode.SERVFAIL
        found = await confirmed_name(resolver.query, "192.0.2.7")
        assert found.trouble is not None
        del server.codes[PTR]
        resolver.forget()
        server.add(PTR, "PTR", "mail.example.", "also.example.")
        server.codes["mail.example"] = dns.rcode.SERVFAIL
        found = await confirmed_name(resolver.query, "192.0.2.7")
        assert (found.name, found.trouble is not None) == ("", True)
        resolver.forget()
        server.add("also.example", "A", "192.0.2.7")  # one that holds is enough
        found = await confirmed_name(resolver.query, "192.0.2.7")
        assert (found.name, found.trouble) == ("also.example", None)

    play(scene)


def test_many_names_cost_few_questions() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.add(PTR, "PTR", *(f"n{n:02}.example." for n in range(40)))
        server.add("n39.example", "A", "192.0.2.7")
        assert (await confirmed_name(resolver.query, "192.0.2.7")).name == ""
        assert len(server.questions) == NAMES_OF_ADDRESS_MAX + 1

    play(scene)
