"""Lists: our own settings, lists in the DNS, and that one which does not answer refuses nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import dns.rcode
import pytest
import structlog.testing
from tests.support.dns_server import DnsServer
from tests.support.stores import StandingClock
from tests.support.streams import MemoryNet, memory_world

from estafeta.deliver import lists as module
from estafeta.deliver.limits import (
    LIST_ANSWER_SECONDS,
    LIST_FAILURES_MAX,
    LIST_LOG_SECONDS,
    LIST_REASON_CHARACTERS_MAX,
    LIST_REST_SECONDS,
)
from estafeta.deliver.lists import Allowed, Checked, DnsList, Listed, Lists, ListsSettings
from estafeta.deliver.visitor import Visitor
from estafeta.resolve import Resolver
from estafeta.sim.loop import run
from estafeta.world.seams import Endpoint

DNS = Endpoint("192.0.2.53", 53)
V4 = Visitor("192.0.2.7", "192.0.2.0/24")
V6 = Visitor("2001:db8::7", "2001:db8::/64")
NAMED = Visitor("192.0.2.7", "192.0.2.0/24", "mx.correo.example", "correo.example")
EXEMPT = Visitor("192.0.2.7", "192.0.2.0/24", exempt=True)
BLOCK = DnsList("bl.example")
ALLOW = DnsList("wl.example", means="allow")
DOMAINS = DnsList("dbl.example", kind="domain")
AT_BL = "7.2.0.192.bl.example"
AT_WL = "7.2.0.192.wl.example"


class Meter:
    def __init__(self) -> None:
        self.counted: list[tuple[str, str]] = []

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        if name == "list_answers":
            self.counted.append((labels["zone"], labels["result"]))

    def observe(self, name: str, value: float, **labels: str) -> None: ...

    def gauge(self, name: str, value: float, **labels: str) -> None: ...


class Place:
    def __init__(self, settings: ListsSettings) -> None:
        net = MemoryNet()
        self.dns = DnsServer(net, DNS)
        self.resolver = Resolver(memory_world(net), [DNS], try_seconds=2, attempts=3)
        self.clock = StandingClock()
        self.meter = Meter()
        self.lists = Lists(self.resolver, settings, self.clock, self.meter)

    async def look(self, visitor: Visitor = V4, domain: str = "a.example") -> Any:
        return await self.lists.look(visitor, domain)

    def pass_by(self, seconds: float) -> None:
        self.clock.ms += int(seconds * 1000)
        self.resolver.forget()


def play(scene: Callable[[Place], Awaitable[None]], *dns: DnsList, **settings: Any) -> None:
    async def main() -> None:
        place = Place(ListsSettings(dns=dns, **settings))
        try:
            await scene(place)
        finally:
            await place.resolver.close()

    run(main())


# -- our own settings ------------------------------------------------------------------------------


def test_without_any_list_nobody_is_asked() -> None:
    async def scene(place: Place) -> None:
        assert not place.lists.any
        assert await place.look() is None
        assert place.dns.questions == []

    play(scene)


@pytest.mark.parametrize(
    ("settings", "visitor", "domain", "expected"),
    [
        ({"block_networks": ["192.0.2.0/24"]}, V4, "", Listed("", "192.0.2.7")),
        ({"block_networks": ["192.0.2.0/24"]}, EXEMPT, "", Listed("", "192.0.2.7")),
        ({"block_networks": ["198.51.100.0/24"]}, V4, "", None),
        ({"block_networks": ["2001:db8::/32"]}, V6, "", Listed("", "2001:db8::7")),
        ({"block_domains": ["Bad.example"]}, V4, "bad.example", Listed("", "bad.example")),
        ({"block_domains": ["bad.example"]}, V4, "x.bad.example", Listed("", "x.bad.example")),
        ({"block_domains": ["bad.example"]}, V4, "notbad.example", None),
        ({"block_domains": ["bad.example"]}, V4, "example", None),
        ({"block_domains": ["bad.example"]}, V4, "", None),
        ({"allow_networks": ["192.0.2.7/32"]}, V4, "", Allowed()),
        ({"allow_domains": ["correo.example"]}, NAMED, "", Allowed()),
        ({"allow_domains": ["mx.correo.example."]}, NAMED, "", Allowed()),
        ({"allow_domains": ["reo.example"]}, NAMED, "", None),
        # Who only says so is not trusted.
        ({"allow_domains": ["correo.example"]}, V4, "correo.example", None),
        # Trusted before refused.
        (
            {"allow_networks": ["192.0.2.7/32"], "block_networks": ["192.0.2.0/24"]},
            V4,
            "",
            Allowed(),
        ),
    ],
)
def test_our_own_settings(
    settings: dict[str, Any], visitor: Visitor, domain: str, expected: object
) -> None:
    async def scene(place: Place) -> None:
        for _ in range(2):
            assert await place.look(visitor, domain) == expected

    play(scene, **{key: tuple(value) for key, value in settings.items()})


def test_our_own_settings_come_before_lists_and_new_ones_count_at_once() -> None:
    async def scene(place: Place) -> None:
        place.dns.add(AT_BL, "A", "127.0.0.2")
        assert await place.look() == Allowed()
        assert place.dns.questions == []
        place.lists.use(ListsSettings(dns=(BLOCK,)))
        assert await place.look() == Listed("bl.example", "192.0.2.7")

    play(scene, BLOCK, allow_networks=("192.0.2.0/24",))


# -- lists in the DNS ------------------------------------------------------------------------------


def test_an_address_that_is_listed_with_its_reason() -> None:
    async def scene(place: Place) -> None:
        assert await place.look() is None
        place.pass_by(LIST_ANSWER_SECONDS)
        place.dns.add(AT_BL, "A", "127.0.0.2", "127.0.0.10")
        reason = '"Spam;  see\\009https://bl.example/?" "192.0.2.7 \\195\\177\\000"'
        place.dns.add(AT_BL, "TXT", reason)
        listed = await place.look()
        assert listed == Listed("bl.example", "192.0.2.7", listed.reason)
        assert listed.reason == "Spam; see https://bl.example/?192.0.2.7"
        assert place.meter.counted == [("bl.example", "clear"), ("bl.example", "block")]

    play(scene, BLOCK)


def test_a_long_reason_is_cut() -> None:
    async def scene(place: Place) -> None:
        place.dns.add(AT_BL, "A", "127.0.0.2")
        place.dns.add(AT_BL, "TXT", " ".join(f'"{"x" * 250}"' for _ in range(8)))
        assert len((await place.look()).reason) == LIST_REASON_CHARACTERS_MAX

    play(scene, BLOCK)


def test_ipv6_is_asked_by_nibbles() -> None:
    async def scene(place: Place) -> None:
        name = f"7.{'0.' * 23}8.b.d.0.1.0.0.2.bl.example"
        place.dns.add(name, "A", "127.0.0.2")
        assert await place.look(V6) == Listed("bl.example", "2001:db8::7")

    play(scene, BLOCK)


def test_a_domain_that_is_listed() -> None:
    async def scene(place: Place) -> None:
        place.dns.add("bad.example.dbl.example", "A", "127.0.1.2")
        assert await place.look(V4, "bad.example") == Listed("dbl.example", "bad.example")
        asked = len(place.dns.questions)
        assert await place.look(V4, "") is None  # a bounce
        assert await place.look(V4, "[192.0.2.7]") is None
        assert len(place.dns.questions) == asked

    play(scene, DOMAINS)


@pytest.mark.parametrize(
    ("answers", "answer", "listed"),
    [
        ((), "127.0.0.2", True),
        ((), "127.255.255.254", False),  # asked by way of a public resolver
        ((), "198.51.100.9", False),  # a zone that was given up, and parked
        (("127.0.0.2/32",), "127.0.0.2", True),
        (("127.0.0.2/32",), "127.0.0.10", False),
        (("127.0.0.0/28", "127.0.1.0/24"), "127.0.1.7", True),
        (("127.0.0.0/8",), "127.255.255.254", True),  # whoever says so gets it
    ],
)
def test_which_answers_count(answers: tuple[str, ...], answer: str, listed: bool) -> None:
    async def scene(place: Place) -> None:
        place.dns.add(AT_BL, "A", answer)
        assert (await place.look() is not None) == listed

    play(scene, DnsList("bl.example", answers=answers))


def test_a_trusted_one_is_not_refused_whatever_other_lists_say() -> None:
    async def scene(place: Place) -> None:
        place.dns.add(AT_BL, "A", "127.0.0.2")
        place.dns.add(AT_WL, "A", "127.0.0.2")
        assert await place.look() == Allowed("wl.example")
        assert place.meter.counted == [("bl.example", "block"), ("wl.example", "allow")]
        assert (AT_BL, "TXT") not in place.dns.questions

    play(scene, BLOCK, ALLOW)


def test_who_is_exempt_does_not_wait_for_lists() -> None:
    async def scene(place: Place) -> None:
        place.dns.add(AT_BL, "A", "127.0.0.2")
        assert await place.look(EXEMPT) is None
        assert place.dns.questions == []

    play(scene, BLOCK)


def test_all_are_asked_at_once_and_waited_for_so_long() -> None:
    async def scene(place: Place) -> None:
        place.dns.silent |= {AT_BL, "7.2.0.192.b2.example"}
        place.dns.add("7.2.0.192.b3.example", "A", "127.0.0.2")
        began = asyncio.get_running_loop().time()
        assert await place.look() == Listed("b3.example", "192.0.2.7")
        assert asyncio.get_running_loop().time() - began == pytest.approx(3.0)

    play(scene, BLOCK, DnsList("b2.example"), DnsList("b3.example"))


def test_an_answer_is_remembered_and_asked_for_again() -> None:
    async def scene(place: Place) -> None:
        place.dns.add(AT_BL, "A", "127.0.0.2")
        for _ in range(3):
            place.resolver.forget()
            assert await place.look() is not None
        assert len(place.dns.questions) == 2
        assert await place.look(V4, "other.example") is not None
        place.pass_by(LIST_ANSWER_SECONDS)
        del place.dns.records[AT_BL, "A"]
        assert await place.look() is None

    play(scene, BLOCK)


def test_a_bounded_number_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIST_ANSWERS_MAX", 3)

    async def scene(place: Place) -> None:
        for n in range(10):
            await place.look(V4, f"d{n}.example")
        assert len(place.lists._kept) == 3

    play(scene, BLOCK)


# -- lists that do not answer ----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["servfail", "silent", "unwilling"])
def test_a_list_that_fails_refuses_nobody_and_the_log_says_so_once(how: str) -> None:
    async def scene(place: Place) -> None:
        with structlog.testing.capture_logs() as logs:
            if how == "servfail":
                place.dns.codes[AT_BL] = dns.rcode.SERVFAIL
            elif how == "silent":
                place.dns.silent.add(AT_BL)
            else:
                place.dns.add(AT_BL, "A", "127.255.255.254", ttl=1)
            for _ in range(2):
                assert await place.look() is None
                place.pass_by(1)
            assert [line["zone"] for line in logs] == ["bl.example"]
            place.pass_by(LIST_LOG_SECONDS)
            await place.look()
            assert len(logs) == 2
        # Nothing was remembered of it.
        place.dns.codes.clear()
        place.dns.silent.clear()
        place.dns.add(AT_BL, "A", "127.0.0.2")
        place.pass_by(LIST_REST_SECONDS)
        assert await place.look() is not None

    play(scene, BLOCK)


def test_what_a_list_could_not_say_is_not_remembered() -> None:
    async def scene(place: Place) -> None:
        place.dns.codes[AT_BL] = dns.rcode.SERVFAIL
        assert await place.look() is None
        place.dns.codes.clear()
        place.dns.add(AT_BL, "A", "127.0.0.2")
        place.resolver.forget()
        assert await place.look() == Listed("bl.example", "192.0.2.7")
        assert place.lists.any

    play(scene, BLOCK)


def test_a_list_that_fails_again_and_again_rests() -> None:
    async def scene(place: Place) -> None:
        place.dns.silent.add(AT_BL)
        place.dns.add(AT_WL, "A", "127.0.0.2")
        loop = asyncio.get_running_loop()
        domains: list[str] = []

        async def waited() -> float:
            began = loop.time()
            domains.append(f"d{len(domains)}.example")
            assert await place.look(V4, domains[-1]) == Allowed("wl.example")
            return loop.time() - began

        for _ in range(LIST_FAILURES_MAX):
            place.resolver.forget()
            assert await waited() == pytest.approx(3.0)
        assert await waited() == 0  # the others go on
        place.pass_by(LIST_REST_SECONDS)
        assert await waited() == pytest.approx(3.0)  # one finds out
        assert await waited() == 0
        place.pass_by(LIST_REST_SECONDS)
        place.dns.silent.clear()
        place.dns.add(AT_BL, "A", "127.0.0.2")
        assert await waited() == 0
        place.dns.silent.add(AT_BL)
        place.resolver.forget()
        assert await waited() == pytest.approx(3.0)  # it had answered: counted anew

    play(scene, BLOCK, ALLOW)


def test_a_clock_that_is_put_right_silences_no_list() -> None:
    async def scene(place: Place) -> None:
        place.dns.silent.add(AT_BL)
        for _ in range(LIST_FAILURES_MAX):
            assert await place.look() is None
        place.dns.silent.clear()
        place.dns.add(AT_BL, "A", "127.0.0.2")
        place.pass_by(-86_400)
        found = await place.look()
        assert isinstance(found, Listed)
        # Nor does a verdict last as long as it jumps.
        place.dns.records.clear()
        place.dns.names.clear()
        place.pass_by(-86_400)
        assert await place.look() is None

    play(scene, BLOCK)


def test_a_domain_that_cannot_be_asked_for_does_not_silence_a_list() -> None:
    async def scene(place: Place) -> None:
        place.dns.add("bad.example.dbl.example", "A", "127.0.0.2")
        for n in range(LIST_FAILURES_MAX + 1):
            long = ".".join(("x" * 60,) * 4) + f".d{n}"
            assert await place.look(V4, long) is None
        assert await place.look(V4, "bad.example") is not None

    play(scene, DOMAINS)


def test_one_question_finds_out_whether_a_list_is_back() -> None:
    async def scene(place: Place) -> None:
        place.dns.silent.add(AT_BL)
        for n in range(LIST_FAILURES_MAX):
            place.resolver.forget()
            await place.look(V4, f"d{n}.example")
        place.pass_by(LIST_REST_SECONDS)
        asked = len(place.meter.counted)
        await asyncio.gather(*(place.look(V4, f"e{n}.example") for n in range(5)))
        assert len(place.meter.counted) == asked + 1

    play(scene, BLOCK)


def test_a_reload_does_not_forget_who_is_silent() -> None:
    async def scene(place: Place) -> None:
        place.dns.silent.add(AT_BL)
        for n in range(LIST_FAILURES_MAX):
            place.resolver.forget()
            await place.look(V4, f"d{n}.example")
        place.lists.use(ListsSettings(dns=(BLOCK, ALLOW)))
        asked = len(place.meter.counted)
        await place.look()
        assert [zone for zone, _ in place.meter.counted[asked:]] == ["wl.example"]

    play(scene, BLOCK)


@pytest.mark.parametrize("kind", ["address", "domain"])
def test_checking_a_list(kind: Any) -> None:
    zone = DnsList("l.example", kind=kind)
    here, not_here = ("2.0.0.127.l.example", "1.0.0.127.l.example")
    if kind == "domain":
        here, not_here = ("test.l.example", "invalid.l.example")

    async def scene(place: Place) -> None:
        async def check() -> Checked:
            place.resolver.forget()
            return await place.lists.check(zone)

        assert (await check()).result == "lists-nothing"
        place.dns.add(here, "A", "127.0.0.2")
        assert await check() == Checked("l.example", "works")
        place.dns.add(not_here, "A", "127.0.0.2")
        assert (await check()).result == "lists-everything"
        place.dns.add(here, "A", "127.255.255.254")
        assert (await check()).result == "unwilling"
        place.dns.silent.add(here)
        assert (await check()).result == "silent"

    play(scene)
