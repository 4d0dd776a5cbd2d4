"""estafeta explain: bounces and replies on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.explain.reading.letters import dsn, report

from estafeta.explain.causes import causes
from estafeta.office.limits import EXPLAIN_OCTETS_MAX

Run = Callable[..., Any]

KEYS = [
    "address",
    "cause",
    "permanent",
    "hard",
    "status",
    "reply_code",
    "host",
    "remote_text",
    "repair_by",
    "title",
    "remedy",
]


@pytest.fixture
def bounce(tmp_path: Path) -> str:
    file = tmp_path / "bounce.eml"
    file.write_bytes(dsn())
    return str(file)


def lines(done: Any) -> list[Any]:
    return [json.loads(line) for line in done.out.splitlines()]


def test_json_an_object_a_file(estafeta: Run, bounce: str, tmp_path: Path) -> None:
    letter = tmp_path / "letter.eml"
    letter.write_bytes(b"From: ana@one.example\r\nSubject: hello\r\n\r\ntext\r\n")
    done = estafeta("explain", "--json", bounce, str(letter))
    assert done.code == 0
    first, second = lines(done)
    assert list(first) == ["file", "kind", "recipients"]
    assert (first["file"], first["kind"]) == (bounce, "bounce")
    (recipient,) = first["recipients"]
    assert list(recipient) == KEYS
    assert recipient["address"] == "ana@one.example"
    assert (recipient["cause"], recipient["repair_by"]) == ("unknown-user", "you")
    assert (recipient["permanent"], recipient["hard"]) == (True, True)
    assert (recipient["status"], recipient["reply_code"]) == ("5.1.1", 550)
    assert recipient["host"] == "in.one.example"
    assert recipient["remote_text"] == "<ana.ruiz@in.one.example>: nobody here"
    assert "ana@one.example" in recipient["title"]
    assert second == {"file": str(letter), "kind": "other", "recipients": []}


def test_a_full_mailbox_is_permanent_here_and_not_hard(estafeta: Run) -> None:
    done = estafeta("explain", "--json", "--reply", "552 5.2.2 over quota")
    (recipient,) = lines(done)[0]["recipients"]
    assert (recipient["cause"], recipient["permanent"], recipient["hard"]) == (
        "mailbox-full",
        True,
        False,
    )


@pytest.mark.parametrize(
    ("words", "kind", "code"),
    [("550 5.1.1 no", "bounce", 550), ("451 4.7.1 wait", "delay", 451), ("no", "bounce", None)],
)
def test_reply(estafeta: Run, words: str, kind: str, code: int | None) -> None:
    done = estafeta(
        "explain",
        "--json",
        "--reply",
        words,
        "--host",
        "mx.one.example",
        "--address",
        "a@x.example",
    )
    explained = lines(done)[0]
    assert (explained["kind"], explained["file"]) == (kind, "")
    recipient = explained["recipients"][0]
    assert (recipient["reply_code"], recipient["host"]) == (code, "mx.one.example")
    assert recipient["address"] == "a@x.example"


def test_in_both_languages(estafeta: Run, bounce: str) -> None:
    english = estafeta("explain", "--lang", "en", bounce).out
    spanish = estafeta("explain", "--lang", "es", bounce).out
    assert "a bounce: it was not delivered" in english
    assert "ana@one.example does not exist" in english
    assert "Words of in.one.example: 550 5.1.1 <ana.ruiz@in.one.example>: nobody here" in english
    assert "un rebote: no se entregó" in spanish
    assert "ana@one.example no existe" in spanish
    assert "Quién lo repara: usted." in spanish
    assert "sobre «hello»" in spanish
    assert not any(line.endswith(" ") for line in spanish.splitlines())


def test_what_others_wrote_does_not_steer_the_terminal(estafeta: Run, tmp_path: Path) -> None:
    file = tmp_path / "x.eml"
    file.write_bytes(dsn().replace(b"nobody here", b"nobody \x1b[31mhere"))
    assert "\x1b" not in estafeta("explain", str(file)).out


def test_standard_input(estafeta: Run) -> None:
    done = estafeta("explain", "--json", "-", given=dsn().decode())
    assert (lines(done)[0]["file"], lines(done)[0]["kind"]) == ("-", "bounce")


def test_kinds_that_are_no_failure(estafeta: Run, tmp_path: Path) -> None:
    file = tmp_path / "x.eml"
    file.write_bytes(
        dsn("Final-Recipient: rfc822; ana@one.example\nAction: delivered\nStatus: 2.0.0\n")
    )
    explained = lines(estafeta("explain", "--json", str(file)))[0]
    assert (explained["kind"], explained["recipients"][0]["cause"]) == ("delivered", "delivered")
    away = ("From: ana@one.example", "Subject: Out of office", "Auto-Submitted: auto-replied")
    file.write_bytes(report(("text/plain", "550 5.1.1 user unknown\n"), head=away))
    explained = lines(estafeta("explain", "--json", str(file)))[0]
    assert (explained["kind"], explained["recipients"][0]["cause"]) == ("auto-reply", "auto-reply")


def test_one_bad_file_does_not_hide_the_others(estafeta: Run, bounce: str, tmp_path: Path) -> None:
    missing, none, folder = tmp_path / "missing.eml", tmp_path / "none.eml", tmp_path / "folder"
    none.write_bytes(b"\x00\x01 no header")
    folder.mkdir()
    done = estafeta("explain", "--json", str(missing), str(none), str(folder), bounce)
    assert done.code == 1
    assert [each["file"] for each in lines(done)] == [bounce]
    assert f"the file {missing} does not exist" in done.err
    assert "is no message: it does not begin with a header" in done.err
    assert "is a folder; a message was expected" in done.err


def test_too_large(estafeta: Run, tmp_path: Path) -> None:
    large = tmp_path / "large.eml"
    with large.open("wb") as out:
        out.write(b"A: b\r\n\r\n")
        out.truncate(EXPLAIN_OCTETS_MAX + 1)
    done = estafeta("explain", str(large))
    assert done.code == 1
    assert "is larger than 64 MiB" in done.err


@pytest.mark.parametrize(
    "typed",
    [
        (),
        ("--reply", "550 no", "x.eml"),
        ("--causes", "--reply", "550 no"),
        ("--host", "mx", "x.eml"),
        ("--lang", "fr", "--causes"),
    ],
)
def test_mistakes(estafeta: Run, typed: tuple[str, ...]) -> None:
    done = estafeta("explain", *typed)
    assert done.code == 2
    assert done.err.startswith("estafeta: ")


def test_catalogue(estafeta: Run) -> None:
    found = json.loads(estafeta("explain", "--causes", "--json").out)
    assert [each["code"] for each in found] == list(causes())
    assert all(1 <= len(each["sisimai"]) <= 2 for each in found)
    shown = estafeta("explain", "--causes", "--lang", "es").out
    assert all(code in shown for code in causes())
    assert "quién lo repara" in shown
