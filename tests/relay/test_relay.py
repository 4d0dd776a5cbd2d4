"""One attempt against scripted servers of every kind: outcomes, next hosts, sessions kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.smtp_peer import CLOSE, CUT, SILENCE, Peer
from tests.support.streams import MemoryNet, memory_world

from estafeta.mail.envelope import Envelope, Recipient
from estafeta.mail.outcome import Deferred, Delivered, Outcome, Refused, Reply
from estafeta.mail.protocols import Bytes, NoMeter
from estafeta.relay import Job, Relay, RelaySettings, Report, Timeouts
from estafeta.relay.limits import LEAVE_SECONDS
from estafeta.resolve import Credentials, Host, Route, RouteFailure
from estafeta.sim.loop import run
from estafeta.world.seams import Endpoint, TlsError

MESSAGE = b"From: a@a.example\r\nSubject: hi\r\n\r\n.dot\r\n..\r\nbody\r\n"
FIRST = Endpoint("198.51.100.1", 25)
SECOND = Endpoint("198.51.100.2", 25)
SIX = Endpoint("2001:db8::1", 25)


class OneRoute:
    """A router that knows one route."""

    def __init__(self, route: Route | RouteFailure) -> None:
        self.answer = route

    async def route(self, domain: str) -> Route | RouteFailure:
        return self.answer


class Scene:
    def __init__(self, route: Route | RouteFailure, **settings: Any) -> None:
        self.net = MemoryNet()
        self.router = OneRoute(route)
        settings.setdefault("hello_name", "us.example")
        self.relay = Relay(
            memory_world(self.net),
            self.router,  # type: ignore[arg-type]
            RelaySettings(**settings),
        )

    def peer(self, at: Endpoint = FIRST, **says: object) -> Peer:
        peer = Peer(**says)  # type: ignore[arg-type]
        self.net.servers[at] = peer  # type: ignore[assignment]
        return peer

    async def send(self, *recipients: str, content: bytes = MESSAGE, **envelope: Any) -> Report:
        names = recipients or ("b@b.example",)
        job = Job(
            "b.example",
            Envelope("a@a.example", tuple(Recipient(name) for name in names), **envelope),
            Bytes(content),
        )
        return await self.relay.attempt(job)


ONE = Route((Host("mx.b.example", 10, (FIRST,)),))
TWO = Route((Host("mx1.b.example", 10, (FIRST,)), Host("mx2.b.example", 20, (SECOND,))))
TWO_ADDRESSES = Route((Host("mx.b.example", 10, (SIX, FIRST)),))


def play(
    act: Callable[[Scene], Awaitable[None]], route: Route | RouteFailure = ONE, **settings: Any
) -> None:
    async def main() -> None:
        scene = Scene(route, **settings)
        await act(scene)
        await scene.relay.close()

    run(main())


def short(outcome: Outcome) -> tuple[str, int, str, str]:
    cause = "" if isinstance(outcome, Delivered) else outcome.cause
    return type(outcome).__name__, outcome.reply.code, outcome.reply.status, cause


def kinds(report: Report) -> list[str]:
    return [type(outcome).__name__ for outcome in report.outcomes]


def texts(report: Report) -> str:
    return "\n".join(f"{note.kind}: {note.text}" for note in report.notes)


# One message.


def test_delivered() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()
        report = await scene.send("b@b.example", "c@b.example")
        assert [short(outcome) for outcome in report.outcomes] == [
            ("Delivered", 250, "2.0.0", "")
        ] * 2
        assert report.outcomes[0].host == "mx.b.example 198.51.100.1:25"
        assert isinstance(report.outcomes[0], Delivered)
        assert not report.outcomes[0].reports
        assert peer.messages == [
            (
                f"MAIL FROM:<a@a.example> SIZE={len(MESSAGE)}",
                ["RCPT TO:<b@b.example>", "RCPT TO:<c@b.example>"],
                MESSAGE,
            )
        ]
        assert peer.lines[0] == "EHLO us.example"
        assert [note.kind for note in report.notes] == ["connect", "mail", "reply"]
        assert report.notes[1].text.startswith("2 recipients, ")
        assert "queued as 1" in texts(report)
        again = await scene.send("b@b.example")
        assert again.notes[0].text.startswith("1 recipient, ")

    play(act)


def test_a_server_that_takes_over_the_reports() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()
        peer.offers.append("DSN")
        (outcome,) = (await scene.send(ret="HDRS", envid="x y")).outcomes
        assert isinstance(outcome, Delivered)
        assert outcome.reports
        assert peer.messages[0][0].endswith("RET=HDRS ENVID=x+20y")

    play(act)


@pytest.mark.parametrize("size", [100, 200_000])
def test_the_final_dot_is_told_of_before_it_goes_out(size: int) -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer(dot=["250 2.0.0 taken"])
        heard: list[int] = []
        content = MESSAGE + b"x" * size + b"\r\n"
        job = Job(
            "b.example",
            Envelope("a@a.example", (Recipient("b@b.example"),)),
            Bytes(content),
            lambda: heard.append(len(peer.messages)),
        )
        await scene.relay.attempt(job)
        assert heard == [0]
        peer.says["RCPT"] = "550 5.1.1 nobody"
        await scene.relay.attempt(job)
        assert heard == [0]

    play(act)


def test_a_close_does_not_wait_for_the_answer_to_quit() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer(quit=SILENCE)
        await scene.send()
        began = asyncio.get_running_loop().time()
        await scene.relay.close()
        assert asyncio.get_running_loop().time() - began <= LEAVE_SECONDS
        assert peer.verbs()[-1] == "QUIT"

    play(act)


def test_lock_step_and_helo() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer(ehlo="500 what")
        assert kinds(await scene.send()) == ["Delivered"]
        assert peer.verbs()[:5] == ["EHLO", "HELO", "MAIL", "RCPT", "DATA"]

    play(act)


def test_some_taken_and_some_not() -> None:
    def rcpt(line: str) -> str:
        if "<no@" in line:
            return "550 5.1.1 unknown"
        return "452 4.2.2 full" if "<full@" in line else "250 2.1.5 ok"

    for offers in (["PIPELINING"], []):

        async def act(scene: Scene, offers: list[str] = offers) -> None:
            scene.peer(rcpt=rcpt).offers = offers
            names = ("no@b.example", "b@b.example", "full@b.example", "c@b.example")
            report = await scene.send(*names)
            assert [short(outcome) for outcome in report.outcomes] == [
                ("Refused", 550, "5.1.1", "unknown-user"),
                ("Delivered", 250, "2.0.0", ""),
                ("Deferred", 452, "4.2.2", "mailbox-full"),
                ("Delivered", 250, "2.0.0", ""),
            ]

        play(act)


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ({"mail": "552 5.3.4 too big"}, ("Refused", 552, "5.3.4", "message-too-large")),
        ({"mail": "450 4.7.1 greylisted"}, ("Deferred", 450, "4.7.1", "greylisted")),
        ({"rcpt": "450 4.2.0 Greylisted, wait"}, ("Deferred", 450, "4.2.0", "greylisted")),
        ({"rcpt": "554 5.7.1 Relay access denied"}, ("Refused", 554, "5.7.1", "relay-denied")),
        ({"rcpt": "550 nobody"}, ("Refused", 550, "", "unknown-user")),
        ({"data": "451 4.3.0 later"}, ("Deferred", 451, "4.3.0", "server-busy")),
        ({"dot": "554 5.7.1 attachment .mov"}, ("Refused", 554, "5.7.1", "policy-attachment")),
        ({"dot": "451 4.3.2 busy"}, ("Deferred", 451, "4.3.2", "server-busy")),
        ({"greeting": "554 5.3.2 no service"}, ("Refused", 554, "5.3.2", "no-mail-host")),
        ({"greeting": "421 busy"}, ("Deferred", 421, "", "server-busy")),
        ({"ehlo": "421 4.3.2 later"}, ("Deferred", 421, "4.3.2", "server-busy")),
        (
            {"ehlo": "550 5.7.1 you", "helo": "550 5.7.25 no PTR"},
            ("Refused", 550, "5.7.25", "blocked-ip"),
        ),
        ({"mail": "421 4.3.2 bye"}, ("Deferred", 421, "4.3.2", "server-busy")),
        ({"data": "421 4.3.2 bye"}, ("Deferred", 421, "4.3.2", "server-busy")),
        ({"dot": "421 4.3.2 bye"}, ("Deferred", 421, "4.3.2", "server-busy")),
        # Without a word: before the final dot nothing is lost, after it nobody knows.
        ({"greeting": CLOSE}, ("Deferred", 451, "4.4.2", "connection-lost")),
        ({"ehlo": CUT}, ("Deferred", 451, "4.4.2", "connection-lost")),
        ({"mail": CLOSE}, ("Deferred", 451, "4.4.2", "connection-lost")),
        ({"rcpt": CUT}, ("Deferred", 451, "4.4.2", "connection-lost")),
        ({"data": CLOSE}, ("Deferred", 451, "4.4.2", "connection-lost")),
        ({"dot": CLOSE}, ("Deferred", 451, "4.4.2", "reply-lost")),
        ({"dot": CUT}, ("Deferred", 451, "4.4.2", "reply-lost")),
        # No answer at all.
        ({"greeting": SILENCE}, ("Deferred", 451, "4.4.2", "connection-lost")),
        ({"ehlo": SILENCE}, ("Deferred", 451, "4.4.2", "connection-lost")),
        ({"rcpt": SILENCE}, ("Deferred", 451, "4.4.2", "connection-lost")),
        ({"dot": SILENCE}, ("Deferred", 451, "4.4.2", "reply-lost")),
        # Not SMTP.
        ({"greeting": "SSH-2.0-OpenSSH_9"}, ("Deferred", 451, "4.5.0", "protocol-error")),
        ({"mail": "354 what"}, ("Deferred", 451, "4.5.0", "protocol-error")),
        ({"ehlo": "250-" + "x" * 9000}, ("Deferred", 451, "4.5.0", "protocol-error")),
        ({"dot": "what?"}, ("Deferred", 451, "4.4.2", "reply-lost")),
    ],
)
@pytest.mark.parametrize("offers", [["PIPELINING"], []])
def test_outcome(says: dict[str, object], expected: object, offers: list[str]) -> None:
    async def act(scene: Scene) -> None:
        scene.peer(**says).offers = offers
        report = await scene.send()
        assert [short(outcome) for outcome in report.outcomes] == [expected]
        assert report.notes

    play(act)


def test_421_in_the_middle_keeps_what_was_said_before() -> None:
    replies = ["250 2.1.5 ok", "550 5.1.1 no", "421 4.3.2 bye"]

    async def act(scene: Scene) -> None:
        scene.peer(FIRST, rcpt=list(replies))
        second = scene.peer(SECOND)
        report = await scene.send("a@b.example", "b@b.example", "c@b.example")
        assert [short(outcome) for outcome in report.outcomes] == [
            ("Deferred", 421, "4.3.2", "server-busy"),
            ("Refused", 550, "5.1.1", "unknown-user"),
            ("Deferred", 421, "4.3.2", "server-busy"),
        ]
        assert second.sessions == 0

    play(act, TWO)


def test_refused_while_the_message_is_sent() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer(early="552 5.3.4 enough|CLOSE")
        peer.stop_reading_after = 100_000
        report = await scene.send(content=b"x" * 76 + b"\r\n" + b"y" * 3_000_000)
        assert [short(outcome) for outcome in report.outcomes] == [
            ("Refused", 552, "5.3.4", "message-too-large")
        ]

    play(act)


def test_what_is_refused_meanwhile_is_not_sent_to_its_end() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer(early="552 5.3.4 enough")
        peer.stop_reading_after = 100_000
        assert kinds(await scene.send(content=b"y" * 3_000_000)) == ["Refused"]
        await asyncio.sleep(1)
        assert not peer.messages

    play(act)


def test_a_server_that_stops_reading() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()

        async def deaf(stream: Any) -> None:
            stream.write(b"220 x\r\n")
            await stream.read()
            stream.write(b"250-x\r\n250 PIPELINING\r\n")
            await stream.read()
            stream.write(b"250 ok\r\n250 ok\r\n354 go\r\n")
            await asyncio.Event().wait()

        scene.net.servers[FIRST] = deaf
        report = await scene.send(content=b"y" * 3_000_000)
        assert [short(outcome) for outcome in report.outcomes] == [
            ("Deferred", 451, "4.4.2", "connection-lost")
        ]
        assert peer.sessions == 0

    play(act)


def test_large_message_in_pieces() -> None:
    content = b"\r\n".join([b".", b"..", b"x" * 70] * 9000) + b"\r\n"

    async def act(scene: Scene) -> None:
        peer = scene.peer()
        assert kinds(await scene.send(content=content)) == ["Delivered"]
        assert peer.messages[0][2] == content

    play(act)


# Recipients per transaction.


def test_452_after_some_is_to_be_sent_at_once() -> None:
    replies = [
        "250 ok",
        "452 4.5.3 too many",
        "452 too many",
        "552 5.5.3 too many",
        "452 4.3.1 disk",
    ]

    async def act(scene: Scene) -> None:
        scene.peer(rcpt=list(replies))
        report = await scene.send(*(f"{n}@b.example" for n in range(5)))
        assert kinds(report) == ["Delivered", *["Deferred"] * 4]
        assert [
            outcome.retry_after for outcome in report.outcomes if isinstance(outcome, Deferred)
        ] == [0, 0, 0, None]

    play(act)


def test_452_to_all_is_no_reason_to_hurry() -> None:
    async def act(scene: Scene) -> None:
        scene.peer(rcpt="452 4.5.3 too many")
        (outcome,) = (await scene.send()).outcomes
        assert isinstance(outcome, Deferred)
        assert outcome.retry_after is None

    play(act)


def test_limits_rcptmax() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()
        peer.offers.append("LIMITS RCPTMAX=2")
        report = await scene.send(*(f"{n}@b.example" for n in range(5)))
        assert kinds(report) == ["Delivered", "Delivered", *["Deferred"] * 3]
        assert len(peer.messages[0][1]) == 2
        (last,) = report.outcomes[-1:]
        assert isinstance(last, Deferred)
        assert (last.retry_after, last.reply.status) == (0, "4.5.3")

    play(act)


# What the server lacks.


def test_too_large_for_the_server_is_not_sent() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()
        peer.offers = ["SIZE 10"]
        report = await scene.send()
        assert [short(outcome) for outcome in report.outcomes] == [
            ("Refused", 552, "5.3.4", "message-too-large")
        ]
        assert "MAIL" not in peer.verbs()
        peer.offers = ["SIZE 0"]
        await scene.relay.close()
        assert kinds(await scene.send()) == ["Delivered"]

    play(act)


def test_8bitmime() -> None:
    latin = b"Subject: x\r\n\r\nhasta ma\xc3\xb1ana\r\n"

    async def act(scene: Scene) -> None:
        peer = scene.peer()
        await scene.send(content=latin)
        assert peer.messages[-1][0].endswith("BODY=8BITMIME")
        assert peer.messages[-1][2] == latin
        await scene.send()
        assert "BODY" not in peer.messages[-1][0]
        await scene.relay.close()
        peer.offers = ["PIPELINING"]
        report = await scene.send(content=latin)
        assert kinds(report) == ["Delivered"]
        assert peer.messages[-1][2].isascii()
        assert b"hasta ma=C3=B1ana\r\n" in peer.messages[-1][2]
        assert "BODY" not in peer.messages[-1][0]
        assert "converted to 7-bit" in texts(report)
        report = await scene.send(content=b"Subject: ma\xc3\xb1ana\r\n\r\nx\r\n")
        assert [short(outcome) for outcome in report.outcomes] == [
            ("Refused", 554, "5.6.3", "content-conversion-needed")
        ]

    play(act)


def test_converted_it_may_be_too_large() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()
        content = b"Subject: x\r\n\r\n" + b"hasta ma\xc3\xb1ana\r\n" * 100
        peer.offers = [f"SIZE {len(content)}"]
        report = await scene.send(content=content)
        assert [short(o) for o in report.outcomes] == [
            ("Refused", 552, "5.3.4", "message-too-large")
        ]
        assert "MAIL" not in peer.verbs()

    play(act)


def test_large_8bit_message_to_a_7bit_server() -> None:
    content = b"Subject: x\r\n\r\n" + b"hasta ma\xc3\xb1ana\r\n" * 20000

    async def act(scene: Scene) -> None:
        peer = scene.peer()
        peer.offers = ["PIPELINING"]
        assert kinds(await scene.send(content=content)) == ["Delivered"]
        assert peer.messages[0][2].count(b"hasta ma=C3=B1ana\r\n") == 20000
        assert kinds(await scene.send(content=MESSAGE + b"a\r\n" * 50000)) == ["Delivered"]
        assert b"MIME-Version" not in peer.messages[1][2]

    play(act)


def test_smtputf8() -> None:
    utf8 = "Subject: mañana\r\n\r\nx\r\n".encode()

    async def act(scene: Scene) -> None:
        peer = scene.peer()
        peer.offers.append("SMTPUTF8")
        await scene.send("ñ@b.example", "b@b.example", smtputf8=True, content=utf8)
        assert peer.messages[0][0].endswith("SMTPUTF8")
        assert "RCPT TO:<ñ@b.example>" in peer.messages[0][1]
        await scene.relay.close()
        peer.offers.remove("SMTPUTF8")
        # The header needs it: nobody gets it.
        report = await scene.send("b@b.example", smtputf8=True, content=utf8)
        assert [short(o) for o in report.outcomes] == [
            ("Refused", 553, "5.6.9", "content-conversion-needed")
        ]
        # An address needs it: the others get it.
        report = await scene.send("ñ@b.example", "b@b.example", smtputf8=True)
        assert [short(outcome) for outcome in report.outcomes] == [
            ("Refused", 553, "5.6.7", "conversion-needed"),
            ("Delivered", 250, "2.0.0", ""),
        ]
        # Nothing needs it: it is left out.
        assert kinds(await scene.send(smtputf8=True)) == ["Delivered"]
        assert "SMTPUTF8" not in peer.messages[-1][0]
        assert peer.sessions == 2

    play(act)


# Addresses and hosts.


def test_next_address_and_next_host() -> None:
    route = Route((Host("mx1.b.example", 10, (SIX, FIRST)), Host("mx2.b.example", 20, (SECOND,))))

    async def act(scene: Scene) -> None:
        first = scene.peer(FIRST, greeting="421 busy")
        second = scene.peer(SECOND)
        report = await scene.send()
        assert kinds(report) == ["Delivered"]
        assert report.outcomes[0].host.startswith("mx2.b.example")
        assert (first.sessions, second.sessions) == (1, 1)
        assert "connection refused" in texts(report)

    play(act, route)


@pytest.mark.parametrize(
    "says", [{"greeting": "554 no"}, {"ehlo": CUT}, {"mail": "421 bye"}, {"mail": CLOSE}]
)
def test_a_session_that_fails_leads_to_the_next_host(says: dict[str, object]) -> None:
    async def act(scene: Scene) -> None:
        scene.peer(FIRST, **says)
        second = scene.peer(SECOND)
        assert kinds(await scene.send()) == ["Delivered"]
        assert len(second.messages) == 1

    play(act, TWO)


def test_refused_by_all_hosts_and_by_some() -> None:
    async def act(scene: Scene) -> None:
        scene.peer(FIRST, greeting="554 5.7.1 go away")
        scene.peer(SECOND, greeting="554 5.7.1 go away")
        assert kinds(await scene.send()) == ["Refused"]
        del scene.net.servers[SECOND]
        assert [short(outcome) for outcome in (await scene.send()).outcomes] == [
            ("Deferred", 451, "4.4.1", "host-unreachable")
        ]

    play(act, TWO)


def test_a_refusal_by_one_host_does_not_outweigh_that_another_was_away() -> None:
    async def act(scene: Scene) -> None:
        scene.peer(SECOND, greeting="554 5.7.1 go away")
        assert kinds(await scene.send()) == ["Deferred"]

    play(act, TWO)


def test_a_lost_reply_is_not_tried_at_the_next_host() -> None:
    async def act(scene: Scene) -> None:
        scene.peer(FIRST, dot=CUT)
        second = scene.peer(SECOND)
        assert kinds(await scene.send()) == ["Deferred"]
        assert second.sessions == 0

    play(act, TWO)


def test_happy_eyeballs() -> None:
    async def act(scene: Scene) -> None:
        scene.net.black_holes.add(SIX)
        scene.peer(FIRST)
        began = asyncio.get_running_loop().time()
        assert kinds(await scene.send()) == ["Delivered"]
        assert asyncio.get_running_loop().time() - began == pytest.approx(0.25, abs=0.01)
        assert scene.net.connects == [SIX, FIRST]
        await asyncio.sleep(0.01)
        assert not any("_one" in repr(task) for task in asyncio.all_tasks())  # the loser is gone
        assert scene.net.sources == ["2001:db8::99", "192.0.2.99"]

    play(act, TWO_ADDRESSES, source_v4="192.0.2.99", source_v6="2001:db8::99")


def test_black_holes_end() -> None:
    async def act(scene: Scene) -> None:
        scene.net.black_holes |= {SIX, FIRST}
        began = asyncio.get_running_loop().time()
        (outcome,) = (await scene.send()).outcomes
        assert short(outcome) == ("Deferred", 451, "4.4.1", "host-unreachable")
        assert "no answer" in outcome.reply.text
        assert asyncio.get_running_loop().time() - began < 31

    play(act, TWO_ADDRESSES)


def test_sessions_of_one_attempt_are_bounded() -> None:
    endpoints = [Endpoint(f"198.51.100.{n}", 25) for n in range(1, 30)]
    route = Route(tuple(Host(f"mx{n}", n, (at,)) for n, at in enumerate(endpoints)))

    async def act(scene: Scene) -> None:
        peers = [scene.peer(at, greeting="421 busy") for at in endpoints]
        assert kinds(await scene.send()) == ["Deferred"]
        assert sum(peer.sessions for peer in peers) == 6

    play(act, route)


def test_no_route() -> None:
    refused = Refused(Reply(550, "5.1.2", "no such domain"), "domain-not-found")

    async def act(scene: Scene) -> None:
        report = await scene.send("a@b.example", "b@b.example")
        assert report.outcomes == (refused, refused)

    play(act, RouteFailure(refused))


# TLS.


def test_starttls_when_offered() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()
        peer.after_tls = list(peer.offers)
        peer.offers.append("STARTTLS")
        report = await scene.send()
        assert kinds(report) == ["Delivered"]
        assert peer.verbs()[:4] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]
        assert "TLSv1.3" in texts(report)
        assert "not verified" in texts(report)

    play(act, tls_client="client")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("mx.b.example", "mx.b.example"),
        ("[198.51.100.1]", "198.51.100.1"),
        ("[IPv6:2001:db8::1]", "2001:db8::1"),
    ],
)
def test_name_shown_in_the_handshake(name: str, shown: str) -> None:
    async def act(scene: Scene) -> None:
        names: list[str] = []
        peer = Peer()
        peer.after_tls = []
        peer.offers.append("STARTTLS")

        async def server(stream: Any) -> None:
            try:
                await peer(stream)
            finally:
                names.append(stream.other.tls.server_name)

        scene.net.servers[FIRST] = server
        assert kinds(await scene.send()) == ["Delivered"]
        await scene.relay.close()
        assert names == [shown]

    play(act, Route((Host(name, 0, (FIRST,)),)), tls_client="client")


def test_tls_that_fails_is_done_without_once() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()
        peer.offers.append("STARTTLS")
        report = await scene.send()
        assert kinds(report) == ["Delivered"]
        assert peer.sessions == 2
        assert "handshake with mx.b.example 198.51.100.1:25 failed: bad" in texts(report)
        assert "in the clear" in texts(report)

    play(act, tls_client=TlsError("bad"))


@pytest.mark.parametrize("mode", ["require", "verify"])
def test_tls_required(mode: str) -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()
        expected = ("Deferred", 451, "4.7.4", "tls-required")
        assert [short(o) for o in (await scene.send()).outcomes] == [expected]
        peer.offers.append("STARTTLS")
        peer.says["STARTTLS"] = "454 4.7.0 not today"
        assert [short(o) for o in (await scene.send()).outcomes] == [expected]
        peer.says["STARTTLS"] = "220 go"
        (outcome,) = (await scene.send()).outcomes
        assert isinstance(outcome, Deferred)
        assert outcome.cause == "tls-required"
        assert not peer.messages

    play(act, tls=mode, tls_client=TlsError("bad"), tls_verifying=TlsError("bad name"))


def test_tls_verified() -> None:
    async def act(scene: Scene) -> None:
        scene.peer().offers.append("STARTTLS")
        report = await scene.send()
        assert kinds(report) == ["Delivered"]
        assert "certificate verified" in texts(report)

    play(act, tls="verify", tls_verifying="verified")


def test_implicit_tls() -> None:
    async def act(scene: Scene) -> None:
        peer = Peer()

        async def server(stream: Any) -> None:
            await asyncio.sleep(0.1)
            assert stream.other.tls is not None  # before any byte
            await stream.start_tls("server")
            peer.offers.append("STARTTLS")
            await peer(stream)

        scene.net.servers[FIRST] = server
        report = await scene.send()
        assert kinds(report) == ["Delivered"]
        assert "STARTTLS" not in peer.verbs()
        assert "certificate verified" in texts(report)

    play(act, tls="implicit", tls_verifying="verified")

    async def act_failing(scene: Scene) -> None:
        peer = scene.peer()
        (outcome,) = (await scene.send()).outcomes
        assert short(outcome) == ("Deferred", 454, "4.7.5", "tls-required")
        assert peer.sessions == 1

    play(act_failing, tls="implicit", tls_verifying=TlsError("bad name"))
    play(act_failing_without, tls="implicit")


async def act_failing_without(scene: Scene) -> None:
    scene.peer()
    (outcome,) = (await scene.send()).outcomes
    assert short(outcome) == ("Deferred", 451, "4.7.4", "tls-required")


def test_a_server_that_declines_hears_quit() -> None:
    for says in ({"greeting": "554 no"}, {"ehlo": "451 later"}):

        async def act(scene: Scene, says: dict[str, object] = says) -> None:
            peer = scene.peer(**says)
            await scene.send()
            await scene.relay.close()
            assert peer.lines[-1] == "QUIT"

        play(act)


def test_tls_refused_or_not_wanted() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer(starttls="454 4.7.0 not today")
        peer.offers.append("STARTTLS")
        assert kinds(await scene.send()) == ["Delivered"]
        assert peer.sessions == 1

    play(act, tls_client="client")

    async def act_none(scene: Scene) -> None:
        peer = scene.peer()
        peer.offers.append("STARTTLS")
        assert kinds(await scene.send()) == ["Delivered"]
        assert "STARTTLS" not in peer.verbs()

    play(act_none, tls="none", tls_client="client")


def test_bytes_behind_the_220() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer(starttls="220 go\r\n250 injected")
        peer.offers.append("STARTTLS")
        report = await scene.send()
        assert [short(o) for o in report.outcomes] == [("Deferred", 451, "4.5.0", "protocol-error")]
        assert peer.sessions == 1  # and not in the clear either

    play(act, tls_client="client")


def test_bytes_behind_the_220_in_a_packet_of_their_own() -> None:
    async def act(scene: Scene) -> None:
        sessions = 0

        async def server(stream: Any) -> None:
            nonlocal sessions
            sessions += 1
            stream.write(b"220 x\r\n")
            await stream.read()
            stream.write(b"250-x\r\n250 STARTTLS\r\n")
            await stream.read()
            stream.write(b"220 go\r\n")
            stream.write(b"250 injected\r\n")
            await stream.read()

        scene.net.servers[FIRST] = server
        report = await scene.send()
        assert [short(o) for o in report.outcomes] == [("Deferred", 451, "4.5.0", "protocol-error")]
        assert sessions == 1

    play(act, tls_client="client")


# Smarthost.

SMART = Route((Host("smart.example", 0, (FIRST,)),), credentials=Credentials("user", "secret"))


def test_login() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer(auth="235 2.7.0 welcome")
        peer.offers.append("STARTTLS")
        peer.after_tls = ["AUTH LOGIN PLAIN"]
        report = await scene.send()
        assert kinds(report) == ["Delivered"]
        assert "AUTH PLAIN AHVzZXIAc2VjcmV0" in peer.lines
        assert "logged in" in texts(report)
        assert "secret" not in texts(report)

    play(act, SMART, tls_client="client")


def test_no_password_in_the_clear() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()
        peer.offers.append("AUTH LOGIN PLAIN")
        report = await scene.send()
        assert [short(o) for o in report.outcomes] == [("Deferred", 454, "4.7.8", "login-failed")]
        assert "AUTH" not in peer.verbs()

    play(act, SMART)


def test_login_refused_waits() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer(auth="535 5.7.8 no")
        peer.offers.append("AUTH PLAIN")
        report = await scene.send()
        assert [short(o) for o in report.outcomes] == [("Deferred", 535, "5.7.8", "login-failed")]

    clear = Credentials("user", "secret", clear=True)
    play(act, Route(SMART.hosts, credentials=clear))


# LMTP.


def test_lmtp() -> None:
    def dot(rcpt: str) -> str:
        return "452 4.2.2 full" if "full" in rcpt else "250 2.0.0 stored"

    async def act(scene: Scene) -> None:
        peer = scene.peer(lmtp=True, dot=dot, rcpt=["250 ok", "550 5.1.1 no", "250 ok"])
        report = await scene.send("full@b.example", "no@b.example", "b@b.example")
        assert [short(outcome) for outcome in report.outcomes] == [
            ("Deferred", 452, "4.2.2", "mailbox-full"),
            ("Refused", 550, "5.1.1", "unknown-user"),
            ("Delivered", 250, "2.0.0", ""),
        ]
        assert peer.verbs()[0] == "LHLO"

    play(act, Route(ONE.hosts, lmtp=True))


def test_lmtp_cut_between_the_replies() -> None:
    async def act(scene: Scene) -> None:
        scene.peer(lmtp=True, dot=["250 2.0.0 stored", CUT])
        report = await scene.send("a@b.example", "b@b.example")
        assert [short(outcome) for outcome in report.outcomes] == [
            ("Delivered", 250, "2.0.0", ""),
            ("Deferred", 451, "4.4.2", "reply-lost"),
        ]

    play(act, Route(ONE.hosts, lmtp=True))


# Sessions kept.


def test_sessions_are_used_again_and_left_when_idle() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()
        for _ in range(3):
            await scene.send()
            await asyncio.sleep(1.5)
        assert peer.sessions == 1
        assert peer.verbs().count("EHLO") == 1
        assert "RSET" not in peer.verbs()
        await asyncio.sleep(3)
        assert peer.lines[-1] == "QUIT"
        await scene.send()
        assert peer.sessions == 2

    play(act)


def test_a_session_that_ended_while_idle_is_replaced_in_the_same_attempt() -> None:
    for ending in (CLOSE, CUT, "421 4.4.2 idle too long"):

        async def act(scene: Scene, ending: str = ending) -> None:
            peer = scene.peer(mail=["250 ok", ending, "250 ok"])
            await scene.send()
            report = await scene.send()
            assert kinds(report) == ["Delivered"]
            assert "had ended" in texts(report)
            assert (peer.sessions, len(peer.messages)) == (2, 2)

        play(act)


def test_reset_before_the_next_message_where_the_last_one_was_not_sent() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer(rcpt=["550 5.1.1 no", "250 ok"])
        assert kinds(await scene.send()) == ["Refused"]
        assert kinds(await scene.send()) == ["Delivered"]
        assert peer.sessions == 1
        assert peer.verbs().count("RSET") == 1

    play(act)


def test_messages_per_session_are_bounded() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()
        for _ in range(6):
            await scene.send()
        await asyncio.sleep(1)
        assert peer.sessions == 2
        await scene.relay.close()
        peer.offers.append("LIMITS MAILMAX=1")
        for _ in range(3):
            await scene.send()
        assert peer.sessions == 5

    play(act, messages_per_connection_max=3)


def test_attempts_at_once_have_sessions_of_their_own() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()
        reports = await asyncio.gather(*(scene.send() for _ in range(5)))
        assert [kinds(report) for report in reports] == [["Delivered"]] * 5
        assert peer.sessions == 5
        await scene.relay.close()
        assert peer.verbs().count("QUIT") == 5

    play(act)


def test_a_content_that_cannot_be_read_ends_the_session() -> None:
    class Torn(Bytes):
        def chunks(self) -> Any:
            yield b"x" * 65536
            raise OSError(5, "input/output error")

    async def act(scene: Scene) -> None:
        peer = scene.peer()
        envelope = Envelope("a@a.example", (Recipient("b@b.example"),))
        with pytest.raises(OSError, match="input/output"):
            await scene.relay.attempt(Job("b.example", envelope, Torn(b"x" * 200_000)))
        assert not peer.messages
        assert kinds(await scene.send()) == ["Delivered"]
        assert peer.sessions == 2

    play(act)


def test_settings_changed_in_operation() -> None:
    async def act(scene: Scene) -> None:
        peer = scene.peer()
        await scene.send()
        scene.relay.use(scene.router, RelaySettings(hello_name="new.example"))  # type: ignore[arg-type]
        await asyncio.sleep(0.1)
        assert peer.lines[-1] == "QUIT"
        await scene.send()
        assert "EHLO new.example" in peer.lines

    play(act)


def test_of_a_very_long_reply_a_part_is_kept() -> None:
    async def act(scene: Scene) -> None:
        scene.peer(rcpt="\r\n".join(["550-5.1.1 " + "no " * 1000] * 8) + "\r\n550 5.1.1 end")
        report = await scene.send()
        assert len(report.outcomes[0].reply.text) == 2000
        assert all(len(note.text) < 2200 for note in report.notes)

    play(act)


def test_what_was_counted() -> None:
    counted: list[tuple[str, str]] = []

    class Counting(NoMeter):
        def count(self, name: str, by: float = 1, **labels: str) -> None:
            counted.append((name, labels["outcome"]))

        def observe(self, name: str, value: float, **labels: str) -> None:
            counted.append((name, ""))

    async def act(scene: Scene) -> None:
        scene.relay._meter = Counting()
        scene.peer(rcpt=["250 ok", "550 no"])
        await scene.send("a@b.example", "b@b.example")
        assert counted == [
            ("relay_outcomes", "delivered"),
            ("relay_outcomes", "refused"),
            ("relay_seconds", ""),
        ]

    play(act)


def test_a_long_reply_within_a_note_is_kept_once() -> None:
    async def act(scene: Scene) -> None:
        scene.peer(greeting="554 5.7.1 " + "no " * 500)
        (told,) = [note for note in (await scene.send()).notes if note.kind == "reply"]
        assert len(told.text) > 1500
        assert told.data == {}
        scene.peer(greeting="554 5.7.1 no")
        (told,) = [note for note in (await scene.send()).notes if note.kind == "reply"]
        assert told.data["what"] == "no-session"

    play(act)


def test_notes_have_their_time() -> None:
    async def act(scene: Scene) -> None:
        scene.net.black_holes.add(SIX)
        scene.peer()
        report = await scene.send()
        assert [round(note.at, 2) for note in report.notes] == [0.25] * 3

    play(act, TWO_ADDRESSES)


def test_timeouts_are_those_set() -> None:
    async def act(scene: Scene) -> None:
        scene.peer(greeting=SILENCE)
        began = asyncio.get_running_loop().time()
        await scene.send()
        assert asyncio.get_running_loop().time() - began == pytest.approx(7)

    play(act, timeouts=Timeouts(greeting=3, hello=4))
