"""The demo's failures: scripted servers, and whether what is judged can be judged to be wrong."""

from __future__ import annotations

import asyncio
import json
import random
import smtplib
from types import SimpleNamespace
from typing import Any

import pytest

from estafeta.explain.causes import cause
from estafeta.sim.demo.failures import Failures, Sent
from estafeta.sim.demo.places import PLACES
from estafeta.sim.demo.scene import Row
from estafeta.sim.demo.scripted import Manner, Said, Scripted, Talk
from estafeta.sim.demo.troubles import SCRIPTED, TROUBLES, Trouble, address_of
from estafeta.sim.dns import Asked
from estafeta.world.certificates import Authority
from estafeta.world.clock import SystemClock
from estafeta.world.net import RealNet
from estafeta.world.real import run
from estafeta.world.seams import Endpoint
from estafeta.world.tls import ServerTls, server_config

BY_NAME = {trouble.name: trouble for trouble in TROUBLES}


# -- scripted servers ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ServerTls:
    folder = tmp_path_factory.mktemp("tls")
    return server_config([Authority("a", SystemClock().now()).issue(["mx.example"], folder)])


def send(manner: Manner, tls: ServerTls, *messages: str) -> tuple[Scripted, list[int]]:
    """What smtplib gets for each of the messages, in a session of its own."""

    def talk(port: int, message: str) -> int:
        try:
            with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
                client.starttls()
                client.sendmail("a@a.example", ["b@b.example"], message)
                return 250
        except smtplib.SMTPRecipientsRefused as refused:
            return next(iter(refused.recipients.values()))[0]
        except smtplib.SMTPResponseException as refused:
            return refused.smtp_code

    async def main() -> tuple[Scripted, list[int]]:
        server = Scripted("mx.example", manner, tls)
        listener = await server.listen(RealNet(), Endpoint("127.0.0.1", 0))
        port = listener.endpoint.port
        codes = [await asyncio.to_thread(talk, port, message) for message in messages]
        await listener.close()
        return server, codes

    return run(main())


def test_a_server_refuses_as_often_as_it_is_told(tls: ServerTls) -> None:
    for manner in (
        Manner("greeting", "421 4.3.2 busy", times=2),
        Manner("rcpt", "450 4.7.28 slow down", times=2),
        Manner("content", "451 4.7.0 later", times=2),
    ):
        server, codes = send(
            manner, tls, "Subject: 1\n\n.x\n", "Subject: 2\n\n.x\n", "x: 3\n\n.x\n"
        )
        assert codes == [int(manner.reply[:3])] * 2 + [250]
        assert [said.reply for said in server.refusals] == [manner.reply] * 2
        ((_, content),) = server.taken
        assert content == b"x: 3\r\n\r\n.x\r\n"
        assert server.took.is_set()


def test_a_server_refuses_what_holds_something(tls: ServerTls) -> None:
    manner = Manner("content", "552 5.7.1 no films", holding=b".mov")
    server, codes = send(manner, tls, "Subject: a.mov\n\nx\n", "Subject: a.txt\n\nx\n")
    assert codes == [552, 250]
    assert len(server.refusals) == len(server.taken) == 1


def test_a_server_that_greylists_does_so_for_a_time(tls: ServerTls) -> None:
    _, codes = send(Manner("rcpt", "451 4.7.1 later", seconds=60.0), tls, *["x: 1\n\nx\n"] * 3)
    assert codes == [451] * 3
    _, codes = send(Manner("rcpt", "451 4.7.1 later", seconds=1e-6), tls, *["x: 1\n\nx\n"] * 2)
    assert codes == [451, 250]


def test_each_has_an_address_of_its_own() -> None:
    assert len({address_of(trouble) for trouble in SCRIPTED}) == len(SCRIPTED)
    assert len({trouble.domain for trouble in TROUBLES}) == len(TROUBLES) - 1  # two of puerto's


# -- judging -------------------------------------------------------------------------------------


def report(sent: Sent, action: str = "failed") -> bytes:
    """As it should be."""
    trouble = sent.trouble
    title = cause(trouble.cause).in_words("es", address=trouble.recipient).title
    told = json.dumps({"recipients": [{"cause": trouble.cause, "suggestion": trouble.meant}]})
    return (
        (
            f"Return-Path: <>\r\nIn-Reply-To: {sent.message_id}\r\nMIME-Version: 1.0\r\n"
            'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
            '--b\r\nContent-Type: multipart/mixed; boundary="m"\r\n\r\n'
            "--m\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
            f"\r\n{title} {trouble.meant}\r\n--m\r\nContent-Type: application/json\r\n\r\n"
            f"{told}\r\n--m--\r\n"
            "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\n"
            f"Final-Recipient: rfc822; {trouble.recipient}\r\nAction: {action}\r\n"
            f"Status: {trouble.status}\r\nX-Estafeta-Cause: {trouble.cause}\r\n"
            "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
        ).encode()
        + sent.raw
        + b"\r\n--b--\r\n"
    )


def met(trouble: Trouble, sent: Sent, tls: ServerTls) -> Scripted:
    """Its server, after all went as it should."""
    assert trouble.manner is not None
    server = Scripted(f"mx.{trouble.domain}", trouble.manner, tls)
    for n in range(trouble.tries):
        server.talks.append(Talk(float(n)))
        if trouble.manner.reply:
            server.talks[-1].said.append(Said(float(n), "RCPT", trouble.manner.reply))
    if trouble.arrives:
        server.talks.append(Talk(9.0, [Said(9.0, ".", "250 2.0.0 taken")], sent.raw))
    return server


class Stage:
    """One trouble, gone well; tests spoil it."""

    def __init__(self, name: str, tls: ServerTls) -> None:
        trouble = BY_NAME[name]
        self.internet: Any = SimpleNamespace(
            scripted={},
            installed={place.domain: place for place in PLACES},
            refusals=lambda recipient: self.refusals,
            dns=SimpleNamespace(
                log=[Asked(0.0, Endpoint("127.0.0.1", 1), "udp", trouble.domain, "MX", "said")]
            ),
            world=SimpleNamespace(dice=random.Random(1)),
        )
        self.refusals = ["452 4.2.2 no"] * trouble.tries  # of an installation, by its log
        self.failures = Failures(self.internet, "en")
        self.sent = self.failures._write(trouble)
        self.sent.reply = "250 2.0.0 Message accepted"
        if trouble.manner is not None:
            self.internet.scripted[trouble.domain] = met(trouble, self.sent, tls)
        if not trouble.arrives:
            self.sent.reports = [report(self.sent)]
            if trouble.delayed:
                self.sent.reports.insert(0, report(self.sent, "delayed"))

    @property
    def server(self) -> Scripted:
        found: Scripted = self.internet.scripted[self.sent.trouble.domain]
        return found

    def judged(self) -> Row:
        return self.failures._judged(self.sent)


@pytest.mark.parametrize("name", BY_NAME)
def test_what_went_well_is_seen_and_explained(name: str, tls: ServerTls) -> None:
    row = Stage(name, tls).judged()
    assert row.ok, row
    assert row.step == f"failure {name}"
    assert row.expected
    assert row.seen
    assert row.explanation


@pytest.mark.parametrize("name", [name for name, trouble in BY_NAME.items() if not trouble.arrives])
@pytest.mark.parametrize(
    "change",
    [
        ("Status: ", "Status: 4"),
        ("Action: failed", "Action: delayed"),
        ("X-Estafeta-Cause: ", "X-Estafeta-Cause: x"),
        ('"cause": "', '"cause": "x'),
        ("rfc822; ", "rfc822; x"),
        ("Return-Path: <>", "Return-Path: <a@b>"),
        ("utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n", "utf-8\r\n\r\nSorry.\r\n--m\r\n\r\n"),
        ("mar", "sea"),
        ("multipart/report", "multipart/mixed"),
    ],
)
def test_a_report_that_is_not_as_it_should_be(
    name: str, change: tuple[str, str], tls: ServerTls
) -> None:
    stage = Stage(name, tls)
    good = stage.sent.reports.pop()
    stage.sent.reports += [good.replace(change[0].encode(), change[1].encode())]
    assert stage.sent.reports[-1] != good
    assert not stage.judged().ok


@pytest.mark.parametrize("name", [name for name, trouble in BY_NAME.items() if not trouble.arrives])
def test_no_report_or_one_delay_notice_too_many(name: str, tls: ServerTls) -> None:
    stage = Stage(name, tls)
    stage.sent.reports.insert(0, report(stage.sent, "delayed"))
    assert not stage.judged().ok
    stage = Stage(name, tls)
    stage.sent.reports.pop()
    assert not stage.judged().ok


def test_no_delay_notice_where_there_should_be_one(tls: ServerTls) -> None:
    stage = Stage("full", tls)
    del stage.sent.reports[0]
    assert not stage.judged().ok


def test_an_address_meant_that_nobody_names(tls: ServerTls) -> None:
    stage = Stage("invalid-domain", tls)
    meant = stage.sent.trouble.meant.encode()
    (good,) = stage.sent.reports
    for number in (1, 2):
        stage.sent.reports = [good.replace(meant, b"", number)]
        assert not stage.judged().ok


@pytest.mark.parametrize("name", [name for name, trouble in BY_NAME.items() if trouble.manner])
def test_once_too_often_or_too_seldom(name: str, tls: ServerTls) -> None:
    stage = Stage(name, tls)
    stage.server.talks.insert(0, stage.server.talks[0])
    assert not stage.judged().ok
    del stage.server.talks[:2]
    assert not stage.judged().ok


@pytest.mark.parametrize("name", ["unknown-user", "full"])
def test_an_installation_that_was_asked_once_too_often(name: str, tls: ServerTls) -> None:
    stage = Stage(name, tls)
    stage.refusals.append("452 4.2.2 no")
    assert not stage.judged().ok


@pytest.mark.parametrize("name", [name for name, trouble in BY_NAME.items() if trouble.arrives])
def test_what_should_arrive(name: str, tls: ServerTls) -> None:
    stage = Stage(name, tls)
    taken = stage.server.talks[-1]
    taken.content = taken.content.replace(b"mar", b"sea")
    assert not stage.judged().ok, "the body is another"
    stage = Stage(name, tls)
    stage.server.talks.append(stage.server.talks[-1])
    assert not stage.judged().ok, "it came twice"
    stage = Stage(name, tls)
    stage.server.talks.pop()
    assert not stage.judged().ok, "it never came"
    stage = Stage(name, tls)
    stage.sent.reports = [report(stage.sent)]
    assert not stage.judged().ok, "it came, and came back"
    stage = Stage(name, tls)
    stage.sent.reply = "451 4.3.0 not now"
    assert not stage.judged().ok, "it was not even handed over"


def test_who_is_greylisted_comes_back_in_time(tls: ServerTls) -> None:
    stage = Stage("greylisting", tls)
    stage.server.talks[-1].said[0] = Said(1.9, ".", "250 2.0.0 taken")
    assert not stage.judged().ok
