"""The human part of a bounce: what a person reads."""

from __future__ import annotations

from estafeta.explain.bounce import (
    RECIPIENTS_IN_WORDS_MAX,
    FailedRecipient,
    bounce_text,
    success_text,
)

UNKNOWN = FailedRecipient(
    address="ana@sudominio.example",
    cause="unknown-user",
    reply="550 5.1.1 <ana@sudominio.example>: no such user",
    host="mx.sudominio.example [192.0.2.1]:25",
    first_try=1_700_000_000,
    last_try=1_700_000_000,
    attempts=1,
)
FULL = FailedRecipient(
    address="b@x.example",
    cause="mailbox-full",
    reply="452 4.2.2 full",
    host="x",
    first_try=1_700_000_000,
    last_try=1_700_400_000,
    attempts=30,
    expired=True,
)


def test_spanish_says_what_happened_whose_it_is_and_what_to_do() -> None:
    subject, text = bounce_text([UNKNOWN], "es", "postmaster@correo.example", subject="Hola")
    flat = " ".join(text.split())
    assert subject == "No entregado a ana@sudominio.example"
    assert "«Hola»" in text
    assert "ana@sudominio.example no existe." in flat
    assert "Quién puede arreglarlo: usted" in text
    assert "Qué hacer: Revise" in text
    assert "550 5.1.1 <ana@sudominio.example>: no such user" in flat
    assert "Se intentó una vez: 2023-11-14 22:13:20 UTC." in text
    assert "postmaster@correo.example" in text


def test_english_tells_of_long_trying() -> None:
    subject, text = bounce_text([UNKNOWN, FULL], "en", "p@x", partly=True)
    flat = " ".join(text.split())
    assert subject == "Not delivered to 2 of your recipients"
    assert "We tried for a long time to deliver the message to b@x.example" in flat
    assert "(30 attempts)" in flat
    assert "What to do: Tell the recipient by another way to make room" in flat
    assert "we try again" not in flat.lower()


def test_who_has_other_recipients_is_not_told_that_all_failed() -> None:
    for language, words in (("en", "to everybody"), ("es", "a todos")):
        for subject in ("", "Hi"):
            _, partly = bounce_text([UNKNOWN], language, "p@x", subject=subject, partly=True)
            _, wholly = bounce_text([UNKNOWN], language, "p@x", subject=subject)
            assert words in partly
            assert words not in wholly


def test_lines_are_short_but_for_long_words() -> None:
    _, text = bounce_text([UNKNOWN, FULL], "es", "p@x", subject="x " * 200)
    for line in text.split("\n"):
        assert len(line) <= 76 or " " not in line.strip()


def test_only_what_belongs_to_a_heading_is_indented() -> None:
    _, text = bounce_text([UNKNOWN], "es", "p@x", subject="y " * 45)
    first, recipient, last = text.rstrip("\n").split("\n\n")
    assert "\n" in first
    assert not any(line.startswith(" ") for line in (*first.split("\n"), *last.split("\n")))
    assert any(line.startswith("  ") for line in recipient.split("\n"))


def test_words_of_others_stay_bounded_and_in_their_line() -> None:
    hostile = FailedRecipient(
        address="a@b", cause="other", host="h", reply="550 " + "x\r\nBcc: y " * 5000
    )
    _, text = bounce_text([hostile], "en", "p@x")
    assert len(text) < 2000
    assert "\r" not in text
    assert not any(line.startswith("Bcc:") for line in text.split("\n"))


def test_many_recipients_are_all_named() -> None:
    many = [
        FailedRecipient(address=f"u{n}@x.example", cause="unknown-user")
        for n in range(RECIPIENTS_IN_WORDS_MAX + 20)
    ]
    subject, text = bounce_text(many, "en", "p@x")
    assert subject == f"Not delivered to {len(many)} recipients"
    assert all(f"u{n}@x.example" in text for n in range(len(many)))
    assert text.count("What happened") == RECIPIENTS_IN_WORDS_MAX


def test_success_is_told_and_how_far_it_is_known() -> None:
    subject, text = success_text(["a@x.example", "b@x.example"], "es")
    assert subject == "Entregado a a@x.example"
    assert "a@x.example" in text
    assert "b@x.example" in text
    _, relayed = success_text(["a@x.example"], "en", relayed=True)
    assert "does not report deliveries" in " ".join(relayed.split())
