"""Sessions that are kept between messages; notes and settings of attempts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.relay.scene import SIX, TWO_ADDRESSES, Scene, kinds, play, texts
from tests.support.smtp_peer import CLOSE, CUT, SILENCE

from estafeta.mail.envelope import Envelope, Recipient
from estafeta.mail.protocols import Bytes, NoMeter
from estafeta.relay import Job, RelaySettings, Timeouts


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


def test_no_wait_is_longer_than_the_longest() -> None:
    async def act(scene: Scene) -> None:
        scene.peer(greeting=SILENCE)
        began = asyncio.get_running_loop().time()
        await scene.send()
        assert asyncio.get_running_loop().time() - began == pytest.approx(2)

    play(act, timeouts=Timeouts().at_most(1))
    assert Timeouts().at_most(0) == Timeouts()
    assert Timeouts().at_most(200).data == Timeouts().data
