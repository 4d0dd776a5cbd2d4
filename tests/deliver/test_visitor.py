"""Visitor: who is there, as far as the DNS proves it, and no longer waited for than set."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import dns.rcode
import pytest
from tests.support.dns_server import DnsServer
from tests.support.stores import StandingClock
from tests.support.streams import MemoryNet, memory_world

from estafeta.deliver import visitor as module
from estafeta.deliver.limits import VISITOR_SECONDS, VISITOR_TROUBLE_SECONDS
from estafeta.deliver.visitor import Visitor, Visitors
from estafeta.resolve import Resolver
from estafeta.sim.loop import run
from estafeta.world.seams import Endpoint

DNS = Endpoint("192.0.2.53", 53)
EXEMPT = ("127.0.0.0/8", "2001:db8:1::/48")


class Meter:
    def __init__(self) -> None:
        self.counted: list[str] = []

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        self.counted.append(f"{name} {labels.get('result', '')}")

    def observe(self, name: str, value: float, **labels: str) -> None: ...

    def gauge(self, name: str, value: float, **labels: str) -> None: ...


class Place:
    def __init__(self) -> None:
        net = MemoryNet()
        self.dns = DnsServer(net, DNS)
        self.resolver = Resolver(memory_world(net), [DNS], try_seconds=2, attempts=3)
        self.clock = StandingClock()
        self.meter = Meter()
        self.visitors = Visitors(
            self.resolver, self.clock, exempt_networks=EXEMPT, wait_max=3.0, meter=self.meter
        )

    def name(self, address: str, name: str) -> None:
        self.dns.add(f"{'.'.join(address.split('.')[::-1])}.in-addr.arpa", "PTR", name + ".")
        self.dns.add(name, "A", address)

    def pass_by(self, seconds: float) -> None:
        self.clock.ms += int(seconds * 1000)
        self.resolver.forget()


def play(scene: Callable[[Place], Awaitable[None]]) -> None:
    async def main() -> None:
        place = Place()
        try:
            await scene(place)
        finally:
            await place.visitors.close()
            await place.resolver.close()

    run(main())


def test_a_confirmed_name_names_the_organisation() -> None:
    async def scene(place: Place) -> None:
        place.name("192.0.2.7", "mx1.out.correo.example")
        found = await place.visitors.of("192.0.2.7")
        assert found == Visitor(
            "192.0.2.7", "192.0.2.0/24", "mx1.out.correo.example", "correo.example"
        )
        assert found.who == "correo.example"
        assert found.aligned("correo.example")
        assert found.aligned("news.correo.example")
        assert not found.aligned("correo.example.evil.example")
        assert not found.aligned("")
        assert await place.visitors.of("::ffff:192.0.2.7") == found
        assert place.meter.counted == ["visitors named"] * 2

    play(scene)


def test_without_a_confirmed_name_the_network_counts() -> None:
    async def scene(place: Place) -> None:
        place.dns.add("7.2.0.192.in-addr.arpa", "PTR", "bank.example.")
        place.dns.add("bank.example", "A", "198.51.100.1")
        for host in ("192.0.2.7", "192.0.2.8"):
            found = await place.visitors.of(host)
            assert (found.name, found.organisation, found.who) == ("", "", "192.0.2.0/24")
            assert not found.aligned("bank.example")
            assert not found.aligned("")
        assert place.meter.counted == ["visitors unconfirmed", "visitors unnamed"]

    play(scene)


@pytest.mark.parametrize(
    ("name", "made_up"),
    [
        ("c-192-0-2-77.hsd1.provider.example", True),
        ("77.2.0.192.dyn.provider.example", True),
        ("host192000002077.provider.example", True),
        ("xc000024d.dip.provider.example", True),
        ("out-2-77.provider.example", False),
        ("a77-2.mail.provider.example", False),
        ("mx192.provider.example", False),
    ],
)
def test_a_name_made_of_the_address_is_of_whoever_leased_it(name: str, made_up: bool) -> None:
    async def scene(place: Place) -> None:
        place.name("192.0.2.77", name)
        found = await place.visitors.of("192.0.2.77")
        assert found.name == name
        assert found.organisation == ("" if made_up else "provider.example")

    play(scene)


def test_so_of_ipv6() -> None:
    async def scene(place: Place) -> None:
        six = "2001:db8:0:0:1:2:3:4"
        digits = "20010db8000000000001000200030004"
        pointer = ".".join(digits[::-1]) + ".ip6.arpa"
        for name, owner in (
            (f"x{digits}.provider.example", ""),
            ("2001-db8--1-2-3-4.provider.example", ""),
            ("mx4.provider.example", "provider.example"),
        ):
            place.dns.add(pointer, "PTR", name + ".")
            place.dns.add(name, "AAAA", six)
            found = await place.visitors.of(six)
            assert (found.name, found.organisation) == (name, owner)
            place.pass_by(VISITOR_SECONDS)

    play(scene)


def test_who_is_exempt_is_not_asked_for() -> None:
    async def scene(place: Place) -> None:
        for host in ("127.0.0.1", "2001:db8:1::7", "::ffff:127.9.9.9"):
            assert place.visitors.known(host) is not None
            assert (await place.visitors.of(host)).exempt
        assert place.dns.questions == []
        assert place.visitors.known("192.0.2.7") is None
        place.visitors.use(["192.0.2.0/24"], 3.0)
        assert place.visitors.known("127.0.0.1") is None
        assert (await place.visitors.of("192.0.2.7")).exempt

    play(scene)


def test_a_dns_that_is_silent_is_waited_for_so_long_and_leaves_no_name() -> None:
    async def scene(place: Place) -> None:
        place.dns.silent.add("7.2.0.192.in-addr.arpa")
        began = asyncio.get_running_loop().time()
        found = await place.visitors.of("192.0.2.7")
        assert asyncio.get_running_loop().time() - began == pytest.approx(3.0)
        assert found.who == "192.0.2.0/24"
        assert place.meter.counted == ["visitors late"]
        place.dns.silent.clear()
        place.name("192.0.2.7", "mx.correo.example")
        place.pass_by(VISITOR_TROUBLE_SECONDS)
        assert (await place.visitors.of("192.0.2.7")).who == "correo.example"

    play(scene)


def test_trouble_is_not_remembered_as_long_as_an_answer() -> None:
    async def scene(place: Place) -> None:
        place.dns.codes["7.2.0.192.in-addr.arpa"] = dns.rcode.SERVFAIL
        assert (await place.visitors.of("192.0.2.7")).name == ""
        place.dns.codes.clear()
        place.name("192.0.2.7", "mx.correo.example")
        place.pass_by(VISITOR_TROUBLE_SECONDS)
        assert (await place.visitors.of("192.0.2.7")).name == "mx.correo.example"
        asked = len(place.dns.questions)
        place.pass_by(VISITOR_SECONDS - 1)
        await place.visitors.of("192.0.2.7")
        assert len(place.dns.questions) == asked
        place.pass_by(1)
        await place.visitors.of("192.0.2.7")
        assert len(place.dns.questions) == asked + 2
        assert place.meter.counted == ["visitors trouble"] + ["visitors named"] * 2

    play(scene)


def test_many_at_once_ask_once_and_one_who_leaves_takes_nothing_along() -> None:
    async def scene(place: Place) -> None:
        place.name("192.0.2.7", "mx.correo.example")
        place.visitors.expect("192.0.2.7")
        tasks = [asyncio.ensure_future(place.visitors.of("192.0.2.7")) for _ in range(5)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        found = await asyncio.gather(*tasks[1:])
        assert {each.name for each in found} == {"mx.correo.example"}
        assert len(place.dns.questions) == 2

    play(scene)


def test_a_bounded_number_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VISITORS_MAX", 3)

    async def scene(place: Place) -> None:
        for n in range(5):
            await place.visitors.of(f"192.0.2.{n}")
        remembered = [n for n in range(5) if place.visitors.known(f"192.0.2.{n}") is not None]
        assert remembered == [2, 3, 4]

    play(scene)


def test_a_clock_that_is_put_right_makes_no_name_last() -> None:
    async def scene(place: Place) -> None:
        place.name("192.0.2.7", "mx1.correo.example")
        assert (await place.visitors.of("192.0.2.7")).name
        place.dns.records.clear()
        place.dns.names.clear()
        place.pass_by(-86_400)
        assert place.visitors.known("192.0.2.7") is None
        assert not (await place.visitors.of("192.0.2.7")).name

    play(scene)
