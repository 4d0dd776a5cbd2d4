"""One message, to one server: what becomes of each recipient."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.relay.scene import FIRST, MESSAGE, SECOND, TWO, Scene, kinds, play, short, texts
from tests.support.smtp_peer import CLOSE, CUT, SILENCE

from estafeta.mail.envelope import Envelope, Recipient
from estafeta.mail.outcome import Deferred, Delivered
from estafeta.mail.protocols import Bytes
from estafeta.relay import Job
from estafeta.relay.limits import LEAVE_SECONDS

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
        ({"mail": "550 5.7.1 Access denied"}, ("Refused", 550, "5.7.1", "sender-rejected")),
        ({"greeting": "554 go away"}, ("Refused", 554, "", "blocked-ip")),
        ({"rcpt": "550 nobody"}, ("Refused", 550, "", "unknown-user")),
        ({"data": "451 4.3.0 later"}, ("Deferred", 451, "4.3.0", "server-busy")),
        ({"dot": "554 5.7.1 attachment .mov"}, ("Refused", 554, "5.7.1", "policy-attachment")),
        ({"dot": "451 4.3.2 busy"}, ("Deferred", 451, "4.3.2", "server-busy")),
        ({"greeting": "554 5.3.2 no service"}, ("Refused", 554, "5.3.2", "host-takes-no-mail")),
        ({"greeting": "421 busy"}, ("Deferred", 421, "", "server-busy")),
        ({"ehlo": "421 4.3.2 later"}, ("Deferred", 421, "4.3.2", "server-busy")),
        (
            {"ehlo": "550 5.7.1 you", "helo": "550 5.7.25 no PTR"},
            ("Refused", 550, "5.7.25", "no-reverse-dns"),
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
