"""Words: every refusal has a cause and a Spanish text; what comes out is a line to be sent."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from estafeta.explain.causes import cause, causes
from estafeta.explain.judge import judge
from estafeta.explain.refusal import Refusal
from estafeta.intake.words import refusal, texts, to_ascii
from estafeta.mail.outcome import Reply
from estafeta.wire import replies
from estafeta.wire.limits import REPLY_OCTETS_MAX
from estafeta.wire.replies import Template

WITH_CAUSE = {n: e for n, e in replies.CATALOGUE.items() if replies.cause_of(e)}

NO_CAUSE = re.compile(
    r"NO_VALID_RECIPIENTS|NOT_LOCAL|UTF8_NEEDED|BAD_\w+|AUTH_\w+|TLS_\w+|ACCOUNT_DISABLED|EARLY_TALK"
    r"|FOREIGN_PROTOCOL|TIMED_OUT|TOO_MANY_ERRORS|\w+_FIRST|NESTED_MAIL|CHUNKS_OPEN|HELLO_TOO_LONG"
    r"|NOT_IN_TRANSACTION|\w+_PARAMETER|PARAMETER_NOT_SERVED|SYNTAX|NO_ARGUMENT|NOT_IMPLEMENTED"
    r"|UNKNOWN_COMMAND|CONTROL_CHARACTER|NOT_UTF8|LINE_TOO_LONG"
)
"""What refuses a command for how or when it was said, or a login."""


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def values_of(entry: Reply | Template, value: str) -> dict[str, str]:
    return dict.fromkeys(entry.places, value) if isinstance(entry, Template) else {}


def octets(reply: Reply) -> bytes:
    data = reply.encode()
    assert data.count(b"\r\n") == 1
    assert len(data) <= REPLY_OCTETS_MAX
    return data


def test_what_refuses_mail_says_why_and_nothing_else_does() -> None:
    for name, entry in replies.CATALOGUE.items():
        refuses = entry.code >= 400 and not NO_CAUSE.fullmatch(name)
        assert bool(replies.cause_of(entry)) == refuses, name
        if refuses:
            assert replies.cause_of(entry) in causes(), name


def test_each_has_a_spanish_text_with_the_same_places() -> None:
    spanish = texts("es")
    assert spanish.keys() == WITH_CAUSE.keys()
    for name, entry in WITH_CAUSE.items():
        assert places(spanish[name]) == places(replies.words_of(entry)), name
        assert spanish[name] != replies.words_of(entry), name
        assert not spanish[name].endswith("."), name


@pytest.mark.parametrize("name", WITH_CAUSE)
@pytest.mark.parametrize("language", ["en", "es"])
def test_a_sender_of_ours_reads_the_very_cause(name: str, language: str) -> None:
    """Also where what is quoted in it names another."""
    entry = WITH_CAUSE[name]
    reply = refusal(entry, language=language, **values_of(entry, "[greylisted] a@b.example"))
    octets(reply)
    for status in (reply.status, ""):
        for text in (reply.text, f"{reply.text} https://help.example/[x]?why=1"):
            verdict = judge(Refusal(code=reply.code, status=status, text=text, command="RCPT"))
            assert verdict.cause == replies.cause_of(entry)
            assert verdict.permanent == reply.permanent
            assert verdict.hard == (cause(verdict.cause).hard and reply.permanent)


def test_the_same_as_the_catalogue_in_english() -> None:
    assert refusal(replies.UNKNOWN_USER, address="a@b") == replies.UNKNOWN_USER(address="a@b")
    assert refusal(replies.LOOP) == replies.LOOP
    assert refusal(replies.LOOP, language="fr") == replies.LOOP


def test_another_cause_and_where_help_is() -> None:
    reply = refusal(
        replies.RECIPIENT_REFUSED,
        "recipient-restricted",
        language="es",
        help="https://correo.example/ayuda",
        address="a@b.example",
        reason="lista cerrada",
    )
    assert str(reply) == (
        "550 5.7.1 <a@b.example>: rechazado: lista cerrada [recipient-restricted] "
        "https://correo.example/ayuda"
    )


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize("name", WITH_CAUSE)
def test_a_line_is_short_enough_and_ends_whole(name: str, utf8: bool, language: str) -> None:
    entry = WITH_CAUSE[name]
    for value in ("x" * 5000, "ñ" * 5000, "\U0001f4ec" * 300, "a\r\n250 2.0.0 OK", ""):
        help = "https://h.example/?ñ=" + "y" * 150
        values = values_of(entry, value)
        reply = refusal(entry, language=language, utf8=utf8, help=help, **values)
        data = octets(reply)
        assert utf8 or data.isascii()
        code = replies.cause_of(entry).encode()
        assert re.search(rb" \[" + code + rb"\] https://h\.example/\?\S+=y{150}\r\n\Z", data)


def test_two_long_values_are_both_seen() -> None:
    reply = replies.SENDER_NOT_OWNED(address="a" * 400 + "@x", account="b" * 400 + "@y")
    octets(reply)
    assert re.search(r"<a{100,}\.\.\.> .* b{100,}\.\.\. \[sender-rejected\]\Z", reply.text)


def test_accents_are_left_out_for_who_cannot_read_them() -> None:
    reply = refusal(replies.MAILBOX_FULL_FOR_GOOD, language="es", address="a@b.example")
    assert reply.text == "<a@b.example>: buzon lleno [mailbox-full]"
    reply = refusal(replies.MAILBOX_FULL_FOR_GOOD, language="es", utf8=True, address="ñ@b.example")
    assert reply.text == "<ñ@b.example>: buzón lleno [mailbox-full]"
    assert to_ascii("¿«Año» Ñandú? 文件.mov") == '"Ano" Nandu? ??.mov'


def test_a_value_that_is_missing() -> None:
    with pytest.raises(KeyError):
        refusal(replies.UNKNOWN_USER, language="es")
