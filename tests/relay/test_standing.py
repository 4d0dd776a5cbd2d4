"""Standing: who is asked before a connection, and what of a reply is the host's own matter."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.relay.scene import FIRST, ONE, SECOND, TWO, Scene, kinds, play, texts

from estafeta.mail.outcome import Deferred, Reply
from estafeta.relay import Report

BUSY = Deferred(Reply(421, "4.3.2", "busy"), "server-busy")


class Said(msgspec.Struct, frozen=True):
    go: bool = True
    probe: bool = False
    why: Deferred | None = None
    since: int = 0
    until: int = 0


class Keeper:
    """A gate that says what it is told, and remembers what it was told."""

    def __init__(self, **says: Said) -> None:
        self.says = {f"{name}.b.example": said for name, said in says.items()}
        self.told: list[str] = []

    async def ask(self, host: str) -> Said:
        self.told.append(f"ask {host}")
        return self.says.get(host, Said())

    def opened(self, host: str) -> None:
        self.told.append(f"opened {host}")

    def failed(self, host: str, why: Deferred) -> None:
        self.told.append(f"failed {host} {why.reply.code}")

    def dropped(self, host: str) -> None:
        self.told.append(f"dropped {host}")


def at(scene: Scene, **says: Said) -> Keeper:
    keeper = Keeper(**says)
    scene.relay._gate = keeper
    return keeper


def seen(report: Report) -> list[tuple[str, int]]:
    return [(each.host, each.failure.reply.code if each.failure else 0) for each in report.seen]


def test_a_host_that_answers_is_asked_for_once_a_session() -> None:
    async def act(scene: Scene) -> None:
        keeper = at(scene)
        scene.peer()
        report = await scene.send()
        assert kinds(report) == ["Delivered"]
        assert (report.seen, report.blocked, report.untried) == ((), (), False)
        await scene.send()  # over the session that was kept
        assert keeper.told == ["ask mx.b.example", "opened mx.b.example"]

    play(act)


def test_a_host_that_waits_gets_no_connection() -> None:
    async def act(scene: Scene) -> None:
        keeper = at(scene, mx=Said(False, why=BUSY))
        peer = scene.peer()
        report = await scene.send("b@b.example", "c@b.example")
        assert list(report.outcomes) == [BUSY, BUSY]
        assert (report.seen, report.blocked, report.untried) == ((), ("mx.b.example",), True)
        assert peer.sessions == 0
        assert keeper.told == ["ask mx.b.example"]
        assert "mx.b.example is not asked now" in texts(report)

    play(act)


def test_another_host_is_asked_where_the_first_waits() -> None:
    async def act(scene: Scene) -> None:
        at(scene, mx1=Said(False, why=BUSY))
        scene.peer(FIRST)
        second = scene.peer(SECOND)
        report = await scene.send()
        assert kinds(report) == ["Delivered"]
        assert (len(second.messages), report.blocked, report.untried) == (1, (), False)

    play(act, TWO)


def test_where_one_waits_and_one_fails_an_attempt_was_made() -> None:
    async def act(scene: Scene) -> None:
        at(scene, mx1=Said(False, why=BUSY))
        report = await scene.send()
        assert report.outcomes[0].reply.status == "4.4.1"
        assert seen(report) == [("mx2.b.example", 451)]
        assert set(report.blocked) == {"mx1.b.example", "mx2.b.example"}
        assert not report.untried

    play(act, TWO)


def test_a_refusal_by_one_host_is_not_final_while_the_other_waits() -> None:
    async def act(scene: Scene) -> None:
        at(scene, mx1=Said(False, why=BUSY))
        scene.peer(SECOND, greeting="554 5.7.1 go away")
        report = await scene.send()
        assert kinds(report) == ["Deferred"]
        assert not report.untried

    play(act, TWO)


HOSTS_MATTER: list[dict[str, Any]] = [
    {"greeting": "421 4.3.2 too busy"},
    {"greeting": "450 4.3.2 not now"},
    {"ehlo": "421 4.3.2 not now"},
    {"mail": "421 4.3.2 not now"},
    {"mail": "451 4.3.2 not now"},
    {"mail": "450 4.7.1 too many connections from you"},
    {"rcpt": "421 4.7.0 closing"},
    {"rcpt": "450 4.7.0 too many concurrent SMTP connections"},
    {"dot": "421 4.3.0 not now"},
]
OTHERS_MATTER: list[dict[str, Any]] = [
    {"mail": "451 4.1.8 no such domain of a sender"},
    {"mail": "450 4.7.1 greylisted, try again"},
    {"mail": "452 4.5.3 too many"},
    {"rcpt": "450 4.2.0 mailbox busy"},
    {"rcpt": "451 4.7.1 greylisted"},
    {"dot": "451 4.3.0 not now"},
    {"greeting": "554 5.7.1 go away"},
    {"rcpt": "550 5.1.1 too many connections with nobody"},
]


@pytest.mark.parametrize("says", HOSTS_MATTER, ids=str)
def test_what_is_the_hosts_matter(says: dict[str, Any]) -> None:
    async def act(scene: Scene) -> None:
        keeper = at(scene)
        scene.peer(**says)
        report = await scene.send()
        assert kinds(report) == ["Deferred"]
        assert [host for host, _ in seen(report)] == ["mx.b.example"]
        assert report.blocked == ("mx.b.example",)
        assert any(line.startswith("failed mx.b.example") for line in keeper.told)
        assert sum(line.startswith(("opened", "dropped")) for line in keeper.told) == 1

    play(act)


@pytest.mark.parametrize("says", OTHERS_MATTER, ids=str)
def test_what_is_not(says: dict[str, Any]) -> None:
    async def act(scene: Scene) -> None:
        keeper = at(scene)
        scene.peer(**says)
        report = await scene.send()
        assert (report.seen, report.blocked) == ((), ())
        assert not any(line.startswith("failed") for line in keeper.told)

    play(act)


def test_nobody_listens() -> None:
    async def act(scene: Scene) -> None:
        keeper = at(scene)
        report = await scene.send()
        assert seen(report) == [("mx.b.example", 451)]
        assert keeper.told == [
            "ask mx.b.example",
            "failed mx.b.example 451",
            "dropped mx.b.example",
        ]

    play(act, ONE)


@pytest.mark.parametrize(
    "says", [{}, {"rcpt": "550 5.1.1 nobody"}, {"greeting": "554 5.7.1 go away"}], ids=str
)
def test_a_probe_that_is_answered_is_told(says: dict[str, Any]) -> None:
    async def act(scene: Scene) -> None:
        at(scene, mx=Said(probe=True))
        scene.peer(**says)
        assert seen(await scene.send()) == [("mx.b.example", 0)]

    play(act)


def test_a_mail_that_is_turned_down_leads_to_the_next_host() -> None:
    async def act(scene: Scene) -> None:
        scene.peer(FIRST, mail="451 4.3.2 not now")
        second = scene.peer(SECOND)
        report = await scene.send()
        assert kinds(report) == ["Delivered"]
        assert (len(second.messages), seen(report)) == (1, [("mx1.b.example", 451)])

    play(act, TWO)


def test_the_wait_that_a_reply_asks_for_is_kept() -> None:
    async def act(scene: Scene) -> None:
        scene.peer(rcpt="451 4.7.1 greylisted, try again in 90 seconds")
        outcome = (await scene.send()).outcomes[0]
        assert isinstance(outcome, Deferred)
        assert outcome.retry_after == 90
        scene.peer(greeting="421 4.3.2 busy, come back in 2 minutes")
        await scene.relay.close()
        outcome = (await scene.send()).outcomes[0]
        assert isinstance(outcome, Deferred)
        assert outcome.retry_after == 120

    play(act)
