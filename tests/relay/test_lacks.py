"""What a server lacks: size, 8 bits, UTF-8 addresses."""

from __future__ import annotations

from tests.relay.scene import MESSAGE, Scene, kinds, play, short, texts


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
