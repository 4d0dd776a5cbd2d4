"""A smarthost with its login, and servers that speak LMTP."""

from __future__ import annotations

from tests.relay.scene import FIRST, ONE, Scene, kinds, play, short, texts
from tests.support.smtp_peer import CUT

from estafeta.resolve import Credentials, Host, Route

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
