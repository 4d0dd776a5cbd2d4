"""Ourselves: reverse DNS, block lists, the greeting's name and SPF, as others look them up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import dns.rcode
import pytest
from tests.support.dns_server import DnsServer
from tests.support.streams import MemoryNet, memory_world

from estafeta.explain.faults import Checked
from estafeta.explain.words import LANGUAGES
from estafeta.resolve import Resolver
from estafeta.resolve.ourselves import (
    block_list,
    greeting,
    reverse_dns,
    sender_dns,
    sender_domain,
)
from estafeta.resolve.spf import spf_result
from estafeta.sim.loop import run
from estafeta.world.seams import Endpoint

DNS = Endpoint("192.0.2.53", 53)
OURS = "192.0.2.7"
PTR = "7.2.0.192.in-addr.arpa"
OURS_6 = "2001:db8::7"
PTR_6 = f"7.{'0.' * 23}8.b.d.0.1.0.0.2.ip6.arpa"
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


def said(checked: Checked) -> tuple[bool | None, str]:
    for language in LANGUAGES:
        assert "{" not in checked.in_words(language)
    return checked.holds, checked.what


@pytest.mark.parametrize(("address", "name"), [(OURS, PTR), (OURS_6, PTR_6)])
def test_reverse_dns(address: str, name: str) -> None:
    rdtype = "AAAA" if ":" in address else "A"

    async def scene(resolver: Resolver, server: DnsServer) -> None:
        async def check() -> tuple[bool | None, str]:
            resolver.forget()
            return said(await reverse_dns(resolver.query, address))

        assert await check() == (False, "no-ptr")
        server.add(name, "PTR", "old.example.", "mail.example.")
        assert await check() == (False, "ptr-not-confirmed")
        server.add("old.example", rdtype, "192.0.2.8" if rdtype == "A" else "2001:db8::8")
        assert await check() == (False, "ptr-not-confirmed")
        server.codes["mail.example"] = dns.rcode.SERVFAIL
        assert await check() == (None, "dns-trouble")
        del server.codes["mail.example"]
        server.add("mail.example", rdtype, address)
        assert await check() == (True, "reverse-holds")
        server.codes[name] = dns.rcode.SERVFAIL
        assert await check() == (None, "dns-trouble")

    play(scene)


def test_a_name_that_leads_nowhere_or_in_circles_ends() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.add(PTR, "PTR", *(f"n{n}.example." for n in range(40)))
        assert said(await reverse_dns(resolver.query, OURS)) == (False, "ptr-not-confirmed")
        assert len(server.questions) == 11

    play(scene)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", (True, "not-listed")),
        ("127.0.0.2", (False, "listed")),
        ("127.255.255.254", (None, "list-unwilling")),  # asked by way of a public resolver
        ("198.51.100.9", (None, "list-unwilling")),  # a zone that was given up, and parked
    ],
)
def test_block_lists(answer: str, expected: object) -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        if answer:
            server.add("7.2.0.192.bl.example", "A", answer)
        assert said(await block_list(resolver.query, OURS, "bl.example")) == expected
        six = await block_list(resolver.query, OURS_6, "bl.example")
        assert said(six) == (True, "not-listed")
        assert server.questions[-1][0] == PTR_6.replace("ip6.arpa", "bl.example")
        server.silent.add("8.2.0.192.bl.example")
        away = await block_list(resolver.query, "192.0.2.8", "bl.example")
        assert said(away) == (None, "dns-trouble")

    play(scene)


def test_the_name_we_greet_with() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        async def check(address: str = OURS) -> tuple[bool | None, str]:
            resolver.forget()
            return said(await greeting(resolver.query, "mail.example", address))

        assert await check() == (False, "greeting-nowhere")
        server.add("mail.example", "A", "192.0.2.8")
        assert await check() == (False, "greeting-elsewhere")
        assert await check("") == (True, "greeting-holds")
        server.add("mail.example", "AAAA", OURS_6)
        assert await check("2001:db8:0::7") == (False, "greeting-elsewhere")
        assert await check(OURS_6) == (True, "greeting-holds")
        server.codes["mail.example"] = dns.rcode.SERVFAIL
        assert await check() == (None, "dns-trouble")

    play(scene)


def test_the_domain_of_a_sender() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        async def check() -> tuple[bool | None, str]:
            resolver.forget()
            return said(await sender_domain(resolver.query, "a.example"))

        assert await check() == (False, "sender-nowhere")
        server.add("a.example", "AAAA", OURS_6)
        assert await check() == (True, "sender-found")
        server.add("a.example", "MX", "0 .")
        assert await check() == (False, "sender-nowhere")
        server.add("a.example", "MX", "10 mail.example.")
        assert await check() == (True, "sender-found")
        server.codes["a.example"] = dns.rcode.SERVFAIL
        assert await check() == (None, "dns-trouble")

    play(scene)


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", "pass"),
        ("V=SPF1 IP4:192.0.2.7 -ALL", "pass"),
        ("v=spf1 ip4:192.0.2.8 ip6:2001:db8::/32 -all", "fail"),
        ("v=spf1 ~all", "softfail"),
        ("v=spf1 ip4:192.0.2.8", "neutral"),
        ("v=spf1 ?ip4:192.0.2.7 -all", "neutral"),
        ("v=spf1 a -all", "pass"),
        ("v=spf1 a:mail.example -all", "fail"),
        ("v=spf1 a:mail.example/29 -all", "pass"),
        ("v=spf1 a/29//64 -all", "pass"),
        ("v=spf1 mx -all", "pass"),
        ("v=spf1 include:in.example -all", "pass"),
        ("v=spf1 include:out.example -all", "fail"),
        ("v=spf1 redirect=in.example", "pass"),
        ("v=spf1 redirect=in.example ip4:192.0.2.8 exp=why.example", "pass"),
        ("v=spf1 exists:%{i}.x.example ptr ip4:192.0.2.7 -all", "pass"),
        ("v=spf1 include:none.example -all", "permerror"),
        ("v=spf1 redirect=none.example", "permerror"),
        ("v=spf1 ip4:nonsense -all", "permerror"),
        ("v=spf1 frobnicate -all", "permerror"),
        ("v=spf1 include:round.example -all", "permerror"),
        ("v=spf1 a:broken.example -all", "temperror"),
        ("v=spf10 ip4:192.0.2.7", "none"),
        ("something else", "none"),
    ],
)
def test_spf(record: str, result: str) -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.add("a.example", "TXT", '"other"', f'"{record[:20]}" "{record[20:]}"')
        server.add("a.example", "A", OURS)
        server.add("a.example", "MX", "10 mx.example.")
        server.add("mx.example", "A", OURS)
        server.add("mail.example", "A", "192.0.2.3")
        server.add("in.example", "TXT", '"v=spf1 ip4:192.0.2.7 -all"')
        server.add("out.example", "TXT", '"v=spf1 ip4:192.0.2.8 -all"')
        server.add("round.example", "TXT", '"v=spf1 include:round.example -all"')
        server.codes["broken.example"] = dns.rcode.SERVFAIL
        assert await spf_result(resolver.query, "a.example", OURS) == result
        holds = {"pass": True, "temperror": None}.get(result, False)
        assert said(await sender_dns(resolver.query, "a.example", OURS))[0] is holds

    play(scene)


def test_spf_two_records_and_too_many_lookups() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.add("a.example", "TXT", '"v=spf1 -all"', '"v=spf1 +all"')
        assert await spf_result(resolver.query, "a.example", OURS) == "permerror"
        for count, result in ((10, "fail"), (11, "permerror")):
            name = f"b{count}.example"
            terms = " ".join(f"a:h{n}.example" for n in range(count))
            server.add(name, "TXT", *[f'"v=spf1 {terms} -all"'])
            assert await spf_result(resolver.query, name, OURS) == result
        server.add("c.example", "TXT", '"v=spf1 mx -all"')
        server.add("c.example", "MX", *(f"{n} m{n}.example." for n in range(11)))
        assert await spf_result(resolver.query, "c.example", OURS) == "permerror"

    play(scene)
