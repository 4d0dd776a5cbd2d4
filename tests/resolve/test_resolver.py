"""The resolver against a DNS server in memory that answers well, badly, late or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from tests.support.dns_server import DnsServer
from tests.support.streams import MemoryDatagrams, MemoryNet, memory_world

from estafeta.resolve import Found, NameNotFound, NoData, Resolver, Trouble
from estafeta.sim.loop import run
from estafeta.world.seams import Endpoint

FIRST = Endpoint("192.0.2.53", 53)
SECOND = Endpoint("192.0.2.54", 53)
Scene = Callable[[Resolver, DnsServer], Awaitable[None]]


def play(scene: Scene, *, servers: tuple[Endpoint, ...] = (FIRST,), **options: Any) -> None:
    async def main() -> None:
        net = MemoryNet()
        server = DnsServer(net, FIRST)
        resolver = Resolver(memory_world(net), servers, **options)
        try:
            await scene(resolver, server)
        finally:
            await resolver.close()

    run(main())


def texts(answer: object) -> list[str]:
    assert isinstance(answer, Found), answer
    return [record.to_text() for record in answer.records]


def test_found_and_kept_until_its_ttl() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.add("b.example", "MX", "10 mx.b.example.", ttl=100)
        answer = await resolver.query("B.Example.", "MX")
        assert texts(answer) == ["10 mx.b.example."]
        assert isinstance(answer, Found)
        assert (answer.ttl, answer.canonical_name, answer.chain) == (100, "b.example", ())
        assert answer.server == str(FIRST)
        assert not answer.authenticated
        await asyncio.sleep(60)
        again = await resolver.query("b.example", "MX")
        assert isinstance(again, Found)
        assert again.ttl == pytest.approx(40, abs=0.1)
        assert len(server.questions) == 1
        await asyncio.sleep(41)
        await resolver.query("b.example", "MX")
        assert len(server.questions) == 2

    play(scene)


def test_what_does_not_exist_is_told_from_what_has_no_data() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.add("b.example", "A", "192.0.2.9")
        assert isinstance(await resolver.query("nowhere.example", "MX"), NameNotFound)
        answer = await resolver.query("b.example", "MX")
        assert isinstance(answer, NoData)
        assert answer.ttl == 60  # the SOA's minimum (RFC 2308 §5)
        await asyncio.sleep(59)
        await resolver.query("b.example", "MX")
        assert len(server.questions) == 2
        await asyncio.sleep(2)
        await resolver.query("b.example", "MX")
        assert len(server.questions) == 3

    play(scene)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(dns.rcode.SERVFAIL, "servfail"), (dns.rcode.REFUSED, "refused"), (9, "servfail")],
)
def test_trouble(code: Any, kind: str) -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.codes["b.example"] = dns.rcode.Rcode.make(code)
        answer = await resolver.query("b.example", "MX")
        assert isinstance(answer, Trouble)
        assert answer.kind == kind
        # Remembered for a moment only (RFC 9520), then it may have passed.
        asked = len(server.questions)
        await resolver.query("b.example", "MX")
        assert len(server.questions) == asked
        del server.codes["b.example"]
        await asyncio.sleep(6)
        assert isinstance(await resolver.query("b.example", "MX"), NameNotFound)

    play(scene)


def test_no_answer_is_a_timeout_after_all_tries() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.silent.add("b.example")
        began = asyncio.get_running_loop().time()
        answer = await resolver.query("b.example", "MX")
        assert isinstance(answer, Trouble)
        assert answer.kind == "timeout"
        assert asyncio.get_running_loop().time() - began == pytest.approx(6, abs=0.5)
        assert len(server.questions) == 2

    play(scene, try_seconds=3.0, attempts=2)


def test_the_next_server_is_asked_and_the_silent_one_put_last() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        second = DnsServer(server.net, SECOND)
        second.add("b.example", "A", "192.0.2.9")
        second.add("c.example", "A", "192.0.2.9")
        server.silent |= {"b.example", "c.example"}
        answer = await resolver.query("b.example", "A")
        assert isinstance(answer, Found)
        assert answer.server == str(SECOND)
        await resolver.query("c.example", "A")
        assert len(server.questions) == 1

    play(scene, servers=(FIRST, SECOND))


def test_a_server_that_fails_is_passed_over() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        second = DnsServer(server.net, SECOND)
        second.add("b.example", "A", "192.0.2.9")
        server.codes["b.example"] = dns.rcode.SERVFAIL
        assert texts(await resolver.query("b.example", "A")) == ["192.0.2.9"]

    play(scene, servers=(FIRST, SECOND))


def test_a_closed_port_is_noticed_at_once() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        DnsServer(server.net, SECOND).add("b.example", "A", "192.0.2.9")
        server.net.datagram_servers[FIRST] = lambda data, sender, at: sender.refuse()
        began = asyncio.get_running_loop().time()
        assert texts(await resolver.query("b.example", "A")) == ["192.0.2.9"]
        assert asyncio.get_running_loop().time() - began < 0.1

    play(scene, servers=(FIRST, SECOND))


def test_forged_answers_are_passed_over() -> None:
    """Another id, source or question, no answer at all, rubbish; then the true one."""

    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.add("b.example", "A", "192.0.2.9")

        def forge(question: dns.message.Message, wire: bytes, sender: MemoryDatagrams) -> bytes:
            false = dns.message.make_response(question)
            false.answer.append(dns.rrset.from_text("b.example.", 9, "IN", "A", "203.0.113.66"))
            other = dns.message.make_query("evil.example", "A")
            other.id = question.id
            other_answer = dns.message.make_response(other)
            other_type = dns.message.make_query("b.example", "MX")
            other_type.id = question.id
            sender.put(false.to_wire(), SECOND)
            sender.put(false.to_wire(), Endpoint(FIRST.host, 5353))
            sender.put(other_answer.to_wire(), FIRST)
            sender.put(dns.message.make_response(other_type).to_wire(), FIRST)
            sender.put(question.to_wire(), FIRST)
            sender.put(b"", FIRST)
            sender.put(wire[:2] + b"\xff" * 3, FIRST)
            false.id = question.id ^ 1
            sender.put(false.to_wire(), FIRST)
            return wire

        server.spoil = forge
        assert texts(await resolver.query("b.example", "A")) == ["192.0.2.9"]
        assert len(server.questions) == 1

    play(scene)


def test_ids_and_ports_are_not_to_be_foreseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("estafeta.resolve.transport.QUESTIONS_PER_SOCKET", 50)

    async def scene(resolver: Resolver, server: DnsServer) -> None:
        for number in range(400):
            await resolver.query(f"n{number}.example", "A")
        assert len(set(server.ids)) > 390
        assert sum(b == a + 1 for a, b in zip(server.ids, server.ids[1:], strict=False)) < 5
        ports = {source.port for source in server.sources}
        assert len(ports) > 8  # several at a time, and used up ones replaced
        for port in ports:
            assert sum(source.port == port for source in server.sources) <= 50

    play(scene)


def test_unreadable_answer_is_bogus() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.add("b.example", "A", "192.0.2.9")
        server.spoil = lambda question, wire, sender: wire[:-3]
        answer = await resolver.query("b.example", "A")
        assert isinstance(answer, Trouble)
        assert answer.kind == "bogus"

    play(scene)


def test_truncated_answer_is_fetched_over_tcp() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.add("b.example", "A", *(f"192.0.2.{n}" for n in range(1, 200)))
        assert len(texts(await resolver.query("b.example", "A"))) == 100  # RECORDS_MAX
        assert server.tcp_questions == 1

    play(scene)


@pytest.mark.parametrize("code", ["FORMERR", "REFUSED"])
def test_an_error_without_its_question(code: str) -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        def refuse(question: dns.message.Message, wire: bytes, sender: MemoryDatagrams) -> bytes:
            reply = dns.message.make_response(question)
            reply.set_rcode(dns.rcode.from_text(code))
            reply.question.clear()
            return reply.to_wire()

        server.spoil = refuse
        began = asyncio.get_running_loop().time()
        answer = await resolver.query("b.example", "A")
        assert isinstance(answer, Trouble)
        assert answer.kind in ("servfail", "refused")
        assert asyncio.get_running_loop().time() - began < 0.1

    play(scene)


def test_truncated_and_no_tcp() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.add("b.example", "A", *(f"192.0.2.{n}" for n in range(1, 200)))
        del server.net.servers[FIRST]
        answer = await resolver.query("b.example", "A")
        assert isinstance(answer, Trouble)
        assert answer.kind == "timeout"

    play(scene)


def test_a_server_without_edns_is_asked_without_it() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.knows_edns = False
        server.add("b.example", "A", "192.0.2.9")
        assert texts(await resolver.query("b.example", "A")) == ["192.0.2.9"]
        await resolver.query("c.example", "A")
        assert server.edns == [0, -1, -1]

    play(scene)


@pytest.mark.parametrize("follow", [True, False])
def test_aliases_are_followed(follow: bool) -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.follow = follow
        server.add("a.example", "CNAME", "b.example.", ttl=50)
        server.add("b.example", "CNAME", "C.example.")
        server.add("c.example", "A", "192.0.2.9")
        answer = await resolver.query("a.example", "A")
        assert isinstance(answer, Found)
        assert answer.canonical_name == "c.example"
        assert answer.chain == ("a.example", "b.example")
        assert answer.ttl == 50
        assert isinstance(await resolver.query("a.example", "MX"), NoData)
        server.add("d.example", "CNAME", "nowhere.example.")
        assert isinstance(await resolver.query("d.example", "A"), NameNotFound)
        assert texts(await resolver.query("a.example", "CNAME")) == ["b.example."]

    play(scene)


@pytest.mark.parametrize("follow", [True, False])
def test_aliases_without_end(follow: bool) -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.follow = follow
        server.add("a.example", "CNAME", "b.example.")
        server.add("b.example", "CNAME", "a.example.")
        server.add("self.example", "CNAME", "self.example.")
        for number in range(30):
            server.add(f"n{number}.example", "CNAME", f"n{number + 1}.example.")
        for name in ("a.example", "self.example", "n0.example"):
            answer = await resolver.query(name, "A")
            assert isinstance(answer, Trouble), name
            assert answer.kind == "chain"
        assert len(server.questions) < 30

    play(scene)


def test_a_referral_is_no_statement_about_the_name() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        def refer(question: dns.message.Message, wire: bytes, sender: MemoryDatagrams) -> bytes:
            reply = dns.message.make_response(question)
            reply.authority.append(dns.rrset.from_text("example.", 9, "IN", "NS", "ns.example."))
            return reply.to_wire()

        server.spoil = refer
        answer = await resolver.query("b.example", "MX")
        assert isinstance(answer, Trouble)
        assert answer.kind == "bogus"

    play(scene)


def test_the_ad_bit_is_kept() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.authenticated = True
        server.add("b.example", "A", "192.0.2.9")
        answer = await resolver.query("b.example", "A")
        assert isinstance(answer, Found)
        assert answer.authenticated

    play(scene)


def test_the_same_question_of_many_is_asked_once() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.add("b.example", "A", "192.0.2.9")
        first = asyncio.ensure_future(resolver.query("b.example", "A"))
        others = [asyncio.ensure_future(resolver.query("b.example", "A")) for _ in range(50)]
        await asyncio.sleep(0)
        first.cancel()  # one who gives up does not take the answer from the others
        for other in others:
            assert texts(await other) == ["192.0.2.9"]
        assert len(server.questions) == 1

    play(scene)


def test_the_cache_is_bounded() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        for number in range(20):
            server.add(f"n{number}.example", "A", "192.0.2.9")
        for number in range(20):
            await resolver.query(f"n{number}.example", "A")
            await resolver.query("n0.example", "A")  # used all the time: stays
        assert len(resolver._cache) == 10
        assert server.questions.count(("n0.example", "A")) == 1
        resolver.forget()
        await resolver.query("n0.example", "A")
        assert server.questions.count(("n0.example", "A")) == 2

    play(scene, cache_entries_max=10)


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "a..example", "a." * 200 + "example"])
def test_a_name_that_is_none(name: str) -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        answer = await resolver.query(name, "A")
        assert isinstance(answer, Trouble)
        assert answer.kind == "name"
        assert not server.questions

    play(scene)


def test_many_at_once_over_silent_servers_end() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        names = [f"n{number}.example" for number in range(500)]
        server.silent |= set(names)
        answers = await asyncio.gather(*(resolver.query(name, "A") for name in names))
        assert all(isinstance(answer, Trouble) for answer in answers)
        assert len(server.net.sockets) <= 12

    play(scene)


def test_closing_ends_what_is_asked() -> None:
    async def scene(resolver: Resolver, server: DnsServer) -> None:
        server.silent.add("b.example")
        asking = asyncio.ensure_future(resolver.query("b.example", "A"))
        await asyncio.sleep(0.1)
        await resolver.close()
        with pytest.raises(asyncio.CancelledError):
            await asking

    play(scene)
