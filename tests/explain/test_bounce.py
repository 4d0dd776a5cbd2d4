"""The human part of a report, and the one for programs: what is said of each recipient."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from estafeta.explain.bounce import RECIPIENTS_IN_WORDS_MAX, bounce, delay, success
from estafeta.explain.causes import causes
from estafeta.explain.told import About, Told
from estafeta.mail.outcome import Reply
from estafeta.mail.report import Explanation

UNKNOWN = Told(
    address="ana@sudominio.example",
    cause="unknown-user",
    reply=Reply(550, "5.1.1", "<ana@sudominio.example>: no such user"),
    host="mx.sudominio.example [192.0.2.1]:25",
    status="5.1.1",
    permanent=True,
    hard=True,
    first_try=1_700_000_000,
    last_try=1_700_000_000,
    attempts=1,
)
FULL = Told(
    address="b@x.example",
    cause="mailbox-full",
    reply=Reply(452, "4.2.2", "full"),
    host="x",
    status="4.2.2",
    first_try=1_700_000_000,
    last_try=1_700_400_000,
    attempts=30,
    expired=True,
)
WAITING = Told(
    address="c@x.example",
    cause="server-busy",
    reply=Reply(451, "4.3.2", "try later"),
    host="x",
    status="4.3.2",
    first_try=1_700_000_000,
    last_try=1_700_014_400,
    attempts=7,
    next_try=1_700_020_000,
    until=1_700_432_000,
)


def about(language: str = "en", **given: Any) -> About:
    return About(language=language, support="help@correo.example", **given)


def flat(explanation: Explanation) -> str:
    return " ".join(explanation.text.split())


def test_spanish_says_what_happened_whose_it_is_and_what_to_do() -> None:
    made = bounce([UNKNOWN], about("es", subject="Hola"))
    assert made.subject == "No entregado a ana@sudominio.example"
    assert "«Hola»" in made.text
    assert "ana@sudominio.example no existe." in flat(made)
    assert "Quién puede arreglarlo: usted" in made.text
    assert "Qué hacer: Revise" in made.text
    assert "Respuesta literal del servidor mx.sudominio.example [192.0.2.1]:25: 550 5.1.1" in flat(
        made
    )
    assert "<ana@sudominio.example>: no such user" in flat(made)
    assert "Intentos: Uno, 2023-11-14 22:13:20 UTC." in made.text
    assert "help@correo.example" in made.text


def test_english_tells_of_long_trying() -> None:
    made = bounce([UNKNOWN, FULL], about(partly=True))
    assert made.subject == "Not delivered to 2 of your recipients"
    assert "We tried for a long time to deliver the message to b@x.example" in flat(made)
    assert (
        "Attempts: 30; the first one 2023-11-14 22:13:20 UTC, the last one 2023-11-19 13:20:00 UTC."
        in flat(made)
    )
    assert "What to do: Tell the recipient by other means to make room" in flat(made)
    assert "we try again" not in flat(made).lower()


@pytest.mark.parametrize(("language", "words"), [("en", "to everybody"), ("es", "a todos")])
@pytest.mark.parametrize("subject", ["", "Hi"])
def test_who_has_other_recipients_is_not_told_that_all_failed(
    language: str, words: str, subject: str
) -> None:
    assert words in bounce([UNKNOWN], about(language, subject=subject, partly=True)).text
    assert words not in bounce([UNKNOWN], about(language, subject=subject)).text


def test_a_delay_says_that_nothing_needs_to_be_done_and_until_when() -> None:
    made = delay([WAITING], about(subject="Hi"))
    assert made.subject == "Not delivered yet to c@x.example"
    assert "You need not send it again" in flat(made)
    assert "Next attempt: 2023-11-15 03:46:40 UTC; we give up on 2023-11-19 22:13:20 UTC." in flat(
        made
    )
    assert "Vuelve" not in made.text
    assert delay([WAITING, FULL], about("es")).subject == "Todavía no entregado a 2 destinatarios"


def test_who_has_it_back_is_not_told_to_wait_and_who_waits_is() -> None:
    busy = msgspec.structs.replace(WAITING, next_try=0, until=0, expired=True)
    waiting, back = delay([WAITING], about()), bounce([busy], about())
    remedy = re.compile(r"What to do: (.*?)\n\S", re.DOTALL)
    assert remedy.findall(waiting.text) != remedy.findall(back.text)


@pytest.mark.parametrize("language", ["en", "es"])
def test_the_address_that_was_meant_is_named(language: str) -> None:
    meant = msgspec.structs.replace(UNKNOWN, meant="ana@sudominio.org")
    made = bounce([meant], about(language))
    assert "ana@sudominio.org" in made.text
    assert "ana@sudominio.org" in made.html


@pytest.mark.parametrize("language", ["en", "es"])
def test_lines_are_short_but_for_long_words(language: str) -> None:
    made = bounce([UNKNOWN, FULL], about(language, subject="x " * 200))
    for line in made.text.split("\n"):
        assert len(line) <= 76 or " " not in line.strip()


def test_only_what_belongs_to_a_heading_is_indented() -> None:
    made = bounce([UNKNOWN], about("es", subject="y " * 45))
    first, recipient, last = made.text.rstrip("\n").split("\n\n")
    assert "\n" in first
    assert not any(line.startswith(" ") for line in (*first.split("\n"), *last.split("\n")))
    assert any(line.startswith("  ") for line in recipient.split("\n"))


def test_words_of_others_stay_bounded_and_in_their_line() -> None:
    words = Reply(550, "", "x\r\nBcc: y " * 5000)
    made = bounce([Told(address="a@b", cause="other", host="h", reply=words)], about())
    assert len(made.text) < 2000
    assert len(made.html) < 8000
    assert "\r" not in made.text
    assert not any(line.startswith("Bcc:") for line in made.text.split("\n"))


def test_many_recipients_are_all_named() -> None:
    many = [
        Told(address=f"u{n}@x.example", cause="unknown-user", status="5.1.1")
        for n in range(RECIPIENTS_IN_WORDS_MAX + 20)
    ]
    made = bounce(many, about())
    assert made.subject == f"Not delivered to {len(many)} recipients"
    for form in (made.text, made.html, made.data.decode()):
        assert all(f"u{n}@x.example" in form for n in range(len(many)))
    assert made.text.count("What happened") == RECIPIENTS_IN_WORDS_MAX


def test_success_is_told_and_how_far_it_is_known() -> None:
    made = success(["a@x.example", "b@x.example"], about("es"))
    assert made.subject == "Entregado a a@x.example"
    for form in (made.text, made.html):
        assert "a@x.example" in form
        assert "b@x.example" in form
    assert not made.data
    relayed = success(["a@x.example"], about(), relayed=True)
    assert "does not report deliveries" in flat(relayed)


# For programs -----------------------------------------------------------------------------------


def test_programs_get_what_explain_shows_of_any_bounce() -> None:
    given = about(
        queue_id="0123456789ABC", message_id="<a@b>", accepted=1_700_000_000, reported=1_700_000_001
    )
    data = json.loads(bounce([UNKNOWN, FULL], given).data)
    assert data["kind"] == "bounce"
    assert data["envelope"] == {
        "queue_id": "0123456789ABC",
        "message_id": "<a@b>",
        "language": "en",
        "accepted": "2023-11-14T22:13:20Z",
        "reported": "2023-11-14T22:13:21Z",
    }
    first, second = data["recipients"]
    assert first == {
        "address": "ana@sudominio.example",
        "cause": "unknown-user",
        "permanent": True,
        "hard": True,
        "status": "5.1.1",
        "reply_code": 550,
        "host": "mx.sudominio.example",
        "remote_text": "<ana@sudominio.example>: no such user",
        "repair_by": "you",
        "title": first["title"],
        "remedy": first["remedy"],
    }
    assert "ana@sudominio.example" in first["title"]
    assert (second["permanent"], second["hard"], second["repair_by"]) == (False, False, "recipient")


def test_a_delay_is_nothing_permanent_for_programs_either() -> None:
    data = json.loads(delay([WAITING], about("es")).data)
    assert data["kind"] == "delay"
    (found,) = data["recipients"]
    assert (found["permanent"], found["status"], found["cause"]) == (False, "4.3.2", "server-busy")


def test_octets_that_are_no_character_do_not_break_the_data() -> None:
    words = Reply(550, "", b"caf\xe9".decode("utf-8", "surrogateescape"))
    made = bounce([Told(address="a@b", cause="other", host="h", reply=words)], about())
    assert json.loads(made.data)["recipients"][0]["remote_text"] == "caf?"


@pytest.mark.parametrize("code", sorted(causes()))
@pytest.mark.parametrize("language", ["en", "es"])
def test_every_cause_is_told_in_every_form(code: str, language: str) -> None:
    told = Told(address="a@b.example", cause=code, status="5.0.0", host="mx.b.example")
    made = bounce([told], about(language))
    (found,) = json.loads(made.data)["recipients"]
    assert found["cause"] == code
    assert found["remedy"].rstrip(".") in " ".join(made.text.split())
    assert "{" not in made.text
