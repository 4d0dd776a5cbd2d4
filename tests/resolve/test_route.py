"""Routes: RFC 5321 §5.1 case by case, with a DNS server in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import dns.rcode
import pytest
from structlog.testing import capture_logs
from tests.support.dns_server import DnsServer
from tests.support.streams import MemoryNet, memory_world

from estafeta.mail.outcome import Deferred, Looped, Refused
from estafeta.resolve import (
    Credentials,
    EgressGuard,
    Resolver,
    Route,
    RouteFailure,
    Router,
    StaticRoute,
    StaticRoutes,
)
from estafeta.sim.loop import run
from estafeta.world.seams import Endpoint

DNS = Endpoint("192.0.2.53", 53)
GLOBAL = "198.51.100.0/24"
Scene = Callable[[Router, DnsServer], Awaitable[None]]


def play(scene: Scene, **options: Any) -> None:
    async def main() -> None:
        net = MemoryNet()
        server = DnsServer(net, DNS)
        world = memory_world(net)
        resolver = Resolver(world, [DNS], try_seconds=1, attempts=1)
        options.setdefault("guard", EgressGuard([GLOBAL, "2001:db8::/32"]))
        try:
            await scene(Router(world, resolver, **options), server)
        finally:
            await resolver.close()

    run(main())


def hosts(route: Route | RouteFailure) -> list[tuple[str, list[str]]]:
    assert isinstance(route, Route), route
    return [(host.name, [str(address) for address in host.addresses]) for host in route.hosts]


def failure(route: Route | RouteFailure) -> tuple[type, int, str, str]:
    assert isinstance(route, RouteFailure), route
    outcome = route.outcome
    return type(outcome), outcome.reply.code, outcome.reply.status, outcome.cause


def notes(route: Route | RouteFailure) -> str:
    return "\n".join(note.text for note in route.notes)


def test_mx_by_preference_with_both_families_in_turn() -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        dns.add("b.example", "MX", "20 mx2.b.example.", "10 MX1.b.example.")
        dns.add("mx1.b.example", "A", "198.51.100.1", "198.51.100.2")
        dns.add("mx1.b.example", "AAAA", "2001:db8::1", "2001:db8::2", "2001:db8::3")
        dns.add("mx2.b.example", "A", "198.51.100.9")
        (first, addresses), second = hosts(await router.route("b.example"))
        assert first == "mx1.b.example"
        assert [address[0] for address in addresses] == ["[", "1", "[", "1", "["]
        assert len(set(addresses)) == 5
        assert second == ("mx2.b.example", ["198.51.100.9:25"])

    play(scene)


def test_equals_in_random_order_each_time() -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        names = ["a", "b", "c", "d"]
        dns.add("b.example", "MX", *(f"10 {name}.b.example." for name in names), "5 z.b.example.")
        for name in [*names, "z"]:
            dns.add(f"{name}.b.example", "A", "198.51.100.1")
        seen = set()
        for _ in range(300):
            found = [name for name, _ in hosts(await router.route("b.example"))]
            assert found[0] == "z.b.example"
            seen.add(tuple(found[1:]))
        assert len(seen) == 24

    play(scene)


def test_no_mx_falls_back_to_addresses() -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        dns.add("b.example", "A", "198.51.100.1")
        route = await router.route("b.example")
        assert hosts(route) == [("b.example", ["198.51.100.1:2525"])]
        assert "has no MX" in notes(route)

    play(scene, port=2525)


def test_no_fallback_to_addresses_where_there_is_an_mx() -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        dns.add("b.example", "MX", "10 gone.b.example.")
        dns.add("b.example", "A", "198.51.100.1")
        route = await router.route("b.example")
        assert failure(route) == (Deferred, 451, "4.4.4", "no-mail-host")
        assert "gone.b.example does not exist" in notes(route)

    play(scene)


@pytest.mark.parametrize(
    ("no_mx", "expected"),
    [
        ("defer", (Deferred, 451, "4.4.4", "no-mail-host")),
        ("bounce", (Refused, 550, "5.4.4", "no-mail-host")),
    ],
)
def test_neither_mx_nor_address(no_mx: str, expected: object) -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        dns.add("b.example", "TXT", '"hello"')
        assert failure(await router.route("b.example")) == expected

    play(scene, no_mx=no_mx)


@pytest.mark.parametrize(
    ("no_mx", "usual", "exception"), [("defer", Deferred, Refused), ("bounce", Refused, Deferred)]
)
def test_some_domains_are_treated_the_other_way(no_mx: str, usual: type, exception: type) -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        for name in ("b.example", "c.example", "x.c.example", "d.example", "ad.example"):
            dns.add(name, "TXT", '"hello"')
        seen = [
            failure(await router.route(name))[0]
            for name in ("b.example", "c.example", "x.c.example", "d.example", "ad.example")
        ]
        assert seen == [usual, usual, exception, exception, usual]

    play(scene, no_mx=no_mx, no_mx_exceptions=["D.example", ".c.example"])


@pytest.mark.parametrize("no_mx", ["defer", "bounce"])
def test_what_is_not_known_of_a_domain_waits_whatever_no_mx_says(no_mx: str) -> None:
    """No MX is said with certainty, of an address nothing: it may have one."""

    async def scene(router: Router, dns_server: DnsServer) -> None:
        dns_server.add("b.example", "TXT", '"hello"')
        answer = dns_server.answer

        def without_addresses(question: Any) -> Any:
            reply = answer(question)
            if dns_server.questions[-1][1] in ("A", "AAAA"):
                reply.set_rcode(dns.rcode.SERVFAIL)
            return reply

        dns_server.answer = without_addresses  # type: ignore[method-assign]
        assert failure(await router.route("b.example")) == (Deferred, 451, "4.4.3", "dns-trouble")

    play(scene, no_mx=no_mx)


def test_a_name_that_no_domain_can_have() -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        long = ".".join(["a" * 63] * 4)
        assert failure(await router.route(long)) == (Refused, 550, "5.1.2", "domain-not-found")
        assert not dns.questions

    play(scene)


def test_domain_that_does_not_exist() -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        assert failure(await router.route("sudomenio.example")) == (
            Refused,
            550,
            "5.1.2",
            "domain-not-found",
        )

    play(scene)


def test_null_mx() -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        dns.add("b.example", "MX", "0 .")
        dns.add("b.example", "A", "198.51.100.1")
        assert failure(await router.route("b.example")) == (Refused, 556, "5.1.10", "null-mx")
        dns.add("c.example", "MX", "0 .", "10 mx.c.example.")
        dns.add("mx.c.example", "A", "198.51.100.1")
        route = await router.route("c.example")
        assert [name for name, _ in hosts(route)] == ["mx.c.example"]
        assert "null MX beside others" in notes(route)

    play(scene)


@pytest.mark.parametrize("code", ["SERVFAIL", "REFUSED", "silent"])
@pytest.mark.parametrize("name", ["b.example", "mx.b.example"])
def test_dns_trouble(code: str, name: str) -> None:
    async def scene(router: Router, dns_server: DnsServer) -> None:
        dns_server.add("b.example", "MX", "10 mx.b.example.", "20 gone.b.example.")
        dns_server.add("mx.b.example", "A", "198.51.100.1")
        if code == "silent":
            dns_server.silent.add(name)
        else:
            dns_server.codes[name] = dns.rcode.from_text(code)
        assert failure(await router.route("b.example")) == (
            Deferred,
            451,
            "4.4.3",
            "dns-trouble",
        )

    play(scene)


def test_trouble_with_one_host_leaves_the_others() -> None:
    async def scene(router: Router, dns_server: DnsServer) -> None:
        dns_server.add("b.example", "MX", "10 bad.b.example.", "20 good.b.example.")
        dns_server.codes["bad.b.example"] = dns.rcode.SERVFAIL
        dns_server.add("good.b.example", "A", "198.51.100.1")
        route = await router.route("b.example")
        assert [name for name, _ in hosts(route)] == ["good.b.example"]
        assert "SERVFAIL" in notes(route)

    play(scene)


def test_one_family_in_trouble_leaves_the_other() -> None:
    async def scene(router: Router, dns_server: DnsServer) -> None:
        dns_server.add("b.example", "MX", "10 mx.b.example.")
        dns_server.add("mx.b.example", "A", "198.51.100.1")
        answer = dns_server.answer

        def without_aaaa(question: Any) -> Any:
            reply = answer(question)
            if dns_server.questions[-1][1] == "AAAA":
                reply.set_rcode(dns.rcode.SERVFAIL)
            return reply

        dns_server.answer = without_aaaa  # type: ignore[method-assign]
        assert hosts(await router.route("b.example")) == [("mx.b.example", ["198.51.100.1:25"])]

    play(scene)


def test_we_and_all_that_are_no_better_are_dropped() -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        dns.add(
            "b.example",
            "MX",
            "10 best.b.example.",
            "20 us.example.",
            "20 equal.b.example.",
            "30 worse.b.example.",
        )
        for number, name in enumerate(["best.b.example", "us.example", "equal.b.example"]):
            dns.add(name, "A", f"198.51.100.{number + 1}")
        dns.add("worse.b.example", "A", "198.51.100.9")
        route = await router.route("b.example")
        assert [name for name, _ in hosts(route)] == ["best.b.example"]
        assert "we are an MX" in notes(route)
        dns.add("c.example", "MX", "10 US.example.", "20 worse.b.example.")
        assert failure(await router.route("c.example")) == (Looped, 554, "5.4.6", "loop")

    play(scene, own_names=["us.example"])


def test_we_are_known_by_address_too() -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        dns.add("b.example", "MX", "10 alias-of-us.example.")
        dns.add("alias-of-us.example", "A", "198.51.100.7")
        assert failure(await router.route("b.example"))[0] is Looped
        dns.add("c.example", "A", "198.51.100.7")
        assert failure(await router.route("c.example"))[0] is Looped
        assert failure(await router.route("[198.51.100.7]"))[0] is Looped

    play(scene, own_endpoints=[Endpoint("198.51.100.7", 25)])


def test_the_best_unreachable_and_we_next_waits() -> None:
    """Not a loop: the better host has no address for the moment."""

    async def scene(router: Router, dns_server: DnsServer) -> None:
        dns_server.add("b.example", "MX", "10 best.b.example.", "20 us.example.")
        dns_server.codes["best.b.example"] = dns.rcode.SERVFAIL
        assert failure(await router.route("b.example"))[0] is Deferred

    play(scene, own_names=["us.example"])


def test_mx_that_is_an_address_is_ignored() -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        dns.add("b.example", "MX", "5 198.51.100.1.", "10 mx.b.example.")
        dns.add("mx.b.example", "A", "198.51.100.2")
        route = await router.route("b.example")
        assert hosts(route) == [("mx.b.example", ["198.51.100.2:25"])]
        assert "is an address" in notes(route)

    play(scene)


def test_aliases_are_followed_and_noted() -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        dns.add("www.example", "CNAME", "b.example.")
        dns.add("b.example", "MX", "10 mx.b.example.")
        dns.add("mx.b.example", "CNAME", "real.b.example.")
        dns.add("real.b.example", "A", "198.51.100.2")
        with capture_logs() as logged:
            route = await router.route("www.example")
        assert [(line["name"], line["target"]) for line in logged] == [
            ("www.example", "b.example"),
            ("mx.b.example", "real.b.example"),
        ]
        assert hosts(route) == [("mx.b.example", ["198.51.100.2:25"])]
        assert "www.example is an alias of b.example" in notes(route)
        assert "mx.b.example is an alias of real.b.example" in notes(route)

    play(scene)


def test_egress() -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        dns.add("b.example", "MX", "10 inside.b.example.", "20 mx.b.example.")
        dns.add("inside.b.example", "A", "127.0.0.1")
        dns.add("mx.b.example", "A", "198.51.100.2", "10.0.0.1")
        dns.add("mx.b.example", "AAAA", "::1")
        route = await router.route("b.example")
        assert hosts(route) == [("mx.b.example", ["198.51.100.2:25"])]
        assert "127.0.0.1, a loopback address" in notes(route)
        dns.add("c.example", "A", "192.168.0.1")
        assert failure(await router.route("c.example"))[3] == "no-mail-host"
        assert failure(await router.route("[127.0.0.1]"))[0] is Refused

    play(scene)


def test_address_literals() -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        assert hosts(await router.route("[198.51.100.4]")) == [
            ("[198.51.100.4]", ["198.51.100.4:25"])
        ]
        assert hosts(await router.route("[IPv6:2001:db8::4]")) == [
            ("[IPv6:2001:db8::4]", ["[2001:db8::4]:25"])
        ]
        assert failure(await router.route("[tag:what]"))[2] == "5.1.2"
        assert not dns.questions

    play(scene)


def test_static_routes() -> None:
    login = Credentials("u", "p")
    table = StaticRoutes(
        {
            "b.example": StaticRoute((("127.0.0.1", 2525), ("::1", 26))),
            ".b.example": StaticRoute((("store.example", 24),), lmtp=True, tls="none"),
            ".deep.b.example": StaticRoute((("192.0.2.77", 25),)),
            "*": StaticRoute((("smart.example", 587),), tls="verify", credentials=login),
        }
    )

    async def scene(router: Router, dns: DnsServer) -> None:
        dns.add("store.example", "A", "10.0.0.5")  # the administrator's word: no guard
        dns.add("smart.example", "A", "198.51.100.5")
        assert hosts(await router.route("b.example")) == [
            ("127.0.0.1", ["127.0.0.1:2525"]),
            ("::1", ["[::1]:26"]),
        ]
        sub = await router.route("sub.b.example")
        assert hosts(sub) == [("store.example", ["10.0.0.5:24"])]
        assert isinstance(sub, Route)
        assert (sub.lmtp, sub.tls) == (True, "none")
        assert hosts(await router.route("x.deep.b.example"))[0][0] == "192.0.2.77"
        other = await router.route("anything.example")
        assert isinstance(other, Route)
        assert hosts(other) == [("smart.example", ["198.51.100.5:587"])]
        assert (other.tls, other.credentials) == ("verify", login)
        assert all(rdtype != "MX" for _, rdtype in dns.questions)

    play(scene, static=table)


def test_static_route_without_address_waits() -> None:
    table = StaticRoutes({"*": StaticRoute((("gone.example", 25),))})

    async def scene(router: Router, dns: DnsServer) -> None:
        assert failure(await router.route("b.example"))[0] is Deferred

    play(scene, static=table, no_mx="bounce")


def test_routes_are_kept_for_their_ttl_and_a_minute_at_most() -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        dns.add("b.example", "A", "198.51.100.1", ttl=10)
        await router.route("b.example")
        asked = len(dns.questions)
        await router.route("b.example")
        assert len(dns.questions) == asked
        await asyncio.sleep(11)
        dns.add("b.example", "A", "198.51.100.2", ttl=3600)
        assert hosts(await router.route("b.example"))[0][1] == ["198.51.100.2:25"]
        router.forget()
        await router.route("b.example")

    play(scene)


def test_a_long_list_is_cut() -> None:
    async def scene(router: Router, dns: DnsServer) -> None:
        dns.add("b.example", "MX", *(f"{n} mx{n}.b.example." for n in range(90)))
        for number in range(90):
            dns.add(f"mx{number}.b.example", "A", *(f"198.51.100.{n}" for n in range(1, 60)))
        route = await router.route("b.example")
        assert len(hosts(route)) == 16
        assert all(len(addresses) == 8 for _, addresses in hosts(route))

    play(scene)
