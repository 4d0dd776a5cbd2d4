"""The demo's receptions: whether what is judged can be judged to be wrong."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from estafeta.sim.demo.internet import Internet
from estafeta.sim.demo.places import ANA, SUDOMINIO
from estafeta.sim.demo.reception import Call, Receptions, Sent, judged
from estafeta.sim.demo.receptions import RATE_AT_ONCE, RECEPTIONS, Reception
from estafeta.sim.demo.stores import Wish

BY_NAME = {reception.name: reception for reception in RECEPTIONS}
ARRIVING = [name for name, reception in BY_NAME.items() if reception.arrives]
RETURNING = [name for name in BY_NAME if name not in ARRIVING]
TAKEN = ("delivered", "250 2.0.0 Message accepted, queue id 38HEBATSR1W81")


def words(reception: Reception) -> str:
    return f"{reception.begins} no {reception.names} [{reception.cause}]"


def report(reception: Reception, sent: Sent) -> bytes:
    """As it should be."""
    said = words(reception)
    told = json.dumps({"recipients": [{"cause": reception.cause, "remote_text": said}]})
    return (
        (
            "Return-Path: <>\r\nMIME-Version: 1.0\r\n"
            'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
            '--b\r\nContent-Type: multipart/mixed; boundary="m"\r\n\r\n'
            "--m\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
            f"They said: {said}\r\n--m\r\nContent-Type: application/json\r\n\r\n{told}\r\n--m--\r\n"
            "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\n"
            f"Final-Recipient: rfc822; {reception.address}\r\nAction: failed\r\n"
            f"Status: {reception.begins[4:]}\r\nX-Estafeta-Cause: {reception.cause}\r\n"
            "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
        ).encode()
        + sent.raw
        + b"\r\n--b--\r\n"
    )


def gone_well(name: str) -> Call:
    """Tests spoil it."""
    reception = BY_NAME[name]
    internet: Any = SimpleNamespace(world=SimpleNamespace(dice=random.Random(1)))
    receptions = Receptions(internet, "en")
    call = receptions._call(reception)
    for letter in call.letters:
        letter.reply = "250 2.0.0 Message accepted, queue id 38HEBATSR1W81"
        letter.outcomes = [TAKEN]
        letter.copy = b"Return-Path: <x>\r\n" + letter.raw if reception.arrives else None
    last = call.letters[-1]
    if reception.arrives:
        last.outcomes = [("deferred", words(reception)), TAKEN]
    else:
        last.outcomes = [("refused", words(reception))]
        call.report = report(reception, last)
    if reception.told:
        call.knock = {
            "row": "38HEBATSR1W81",
            "cause": reception.cause,
            "sender": ANA.address,
            "reply": words(reception),
            "proven": True,
            "words": [f"{ANA.address} tried."],
        }
    if reception.let_in:
        call.again = receptions._letter(reception)
        call.again.outcomes = [TAKEN]
        call.again.copy = call.again.raw
    return call


def ok(call: Call) -> bool:
    return judged(call, "en").ok


@pytest.mark.parametrize("name", BY_NAME)
def test_what_went_well_is_seen_and_explained(name: str) -> None:
    row = judged(gone_well(name), "en")
    assert row.ok, row
    assert row.step == f"reception {name}"
    assert row.expected
    assert BY_NAME[name].begins in row.seen
    assert row.explanation


@pytest.mark.parametrize("name", BY_NAME)
def test_another_answer(name: str) -> None:
    reception = BY_NAME[name]
    for before, after in (
        (reception.begins, f"4{reception.begins[1:4]} 4.0.0"),
        (f"[{reception.cause}]", "[other]"),
        (reception.names or reception.begins, ""),
    ):
        call = gone_well(name)
        last = call.letters[-1]
        last.outcomes = [
            (event, reply if event == "delivered" else reply.replace(before, after))
            for event, reply in last.outcomes
        ]
        assert not ok(call), (before, after)


def test_an_answer_that_was_not_heard_is_none() -> None:
    call = gone_well("film")
    last = call.letters[-1]
    unheard = ("deferred", "451 4.4.2 mx.correo.example: no reply within 1 s")
    last.outcomes = [unheard, *last.outcomes]
    assert ok(call)
    last.outcomes = [unheard]
    assert not ok(call)


@pytest.mark.parametrize("name", BY_NAME)
def test_what_was_not_handed_in_or_not_seen(name: str) -> None:
    call = gone_well(name)
    call.letters[-1].reply = "451 4.3.0 not now"
    assert not ok(call)
    call = gone_well(name)
    call.error = "OSError: gone"
    assert not ok(call)
    call = gone_well(name)
    call.letters[-1].outcomes = []
    assert not ok(call)


@pytest.mark.parametrize("name", ARRIVING)
def test_what_should_arrive(name: str) -> None:
    call = gone_well(name)
    call.letters[-1].copy = None
    assert not ok(call), "nobody has it"
    call = gone_well(name)
    call.letters[0].copy = call.letters[0].raw.replace(b"tomates", b"patatas")
    assert not ok(call), "it is another"
    call = gone_well(name)
    call.letters[-1].outcomes = call.letters[-1].outcomes[:1]
    assert not ok(call), "it waits"
    call = gone_well(name)
    call.letters[-1].outcomes = [TAKEN]
    assert not ok(call), "it was never refused"


@pytest.mark.parametrize("name", RETURNING)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Status: ", "Status: 4"),
        ("Action: failed", "Action: delayed"),
        ("X-Estafeta-Cause: ", "X-Estafeta-Cause: x"),
        ('"cause": "', '"cause": "x'),
        ("rfc822; ", "rfc822; x"),
        ("Return-Path: <>", "Return-Path: <a@b>"),
        ("They said: ", "They said: x"),
        ('"remote_text": "', '"remote_text": "x'),
        ("tomates", "patatas"),
    ],
)
def test_a_report_that_is_not_as_it_should_be(name: str, before: str, after: str) -> None:
    call = gone_well(name)
    assert call.report is not None
    if before == "They said: ":
        before, after = f"They said: {words(call.reception)}", "They said something."
    changed = call.report.replace(before.encode(), after.encode(), 1)
    assert changed != call.report
    call.report = changed
    assert not ok(call)


@pytest.mark.parametrize("name", RETURNING)
def test_no_report(name: str) -> None:
    call = gone_well(name)
    call.report = None
    assert not ok(call)


@pytest.mark.parametrize("name", [name for name, one in BY_NAME.items() if one.told])
def test_who_is_not_told_who_tried(name: str) -> None:
    for spoilt in (
        {},
        {"sender": "mallory@sudominio.example"},
        {"reply": "250 2.0.0 OK"},
        {"proven": False},
        {"words": ["Somebody tried."]},
    ):
        call = gone_well(name)
        call.knock = call.knock | spoilt if spoilt else {}
        assert not ok(call), spoilt


@pytest.mark.parametrize("name", [name for name, one in BY_NAME.items() if one.let_in])
def test_who_is_let_in_and_does_not_come_in(name: str) -> None:
    call = gone_well(name)
    call.again = None
    assert not ok(call)
    for spoilt in ([], [("refused", words(call.reception))]):
        call = gone_well(name)
        assert call.again is not None
        call.again.outcomes = spoilt
        assert not ok(call)
    call = gone_well(name)
    assert call.again is not None
    call.again.copy = None
    assert not ok(call)


def test_each_has_somebody_of_their_own() -> None:
    assert len({reception.address for reception in RECEPTIONS}) == len(RECEPTIONS)
    assert BY_NAME["rate"].letters == RATE_AT_ONCE + 1


def test_what_the_senders_server_was_answered(tmp_path: Path) -> None:
    """By the lines of its log about one letter, of this run."""

    async def look() -> list[tuple[str, str]]:
        wish = Wish("sqlite", None, keep=True)
        world: Any = SimpleNamespace(dice=random.Random(1))
        internet = Internet(tmp_path, SimpleNamespace(), world, wish, 1)  # type: ignore[arg-type]
        log = internet.installed[SUDOMINIO.domain].log
        log.parent.mkdir(parents=True)
        lines = [
            {"queue_id": id, "event": event, "reply": reply}
            for id, event, reply in (
                ("A", "accepted", ""),
                ("A", "deferred", "451 4.7.1 later"),
                ("B", "refused", "550 5.1.1 no"),
                ("A", "delivered", "250 2.0.0 taken"),
            )
        ]
        log.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
        assert internet.outcomes(SUDOMINIO, "") == []
        return internet.outcomes(SUDOMINIO, "A")

    assert asyncio.run(look()) == [
        ("deferred", "451 4.7.1 later"),
        ("delivered", "250 2.0.0 taken"),
    ]
