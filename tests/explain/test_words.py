"""Words and causes: every text in every language, with the same values to put in."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

import estafeta
from estafeta.explain.causes import cause, causes
from estafeta.explain.words import LANGUAGES, pick_language, say, say_note, texts

SISIMAI = set(
    re.findall(
        "[a-z]+",
        """
        authfailure badreputation blocked contenterror delivered exceedlimit expired failedstarttls
        feedback filtered hasmoved hostunknown mailboxfull mailererror mesgtoobig networkerror
        norelaying notaccept notcompliantrfc onhold policyviolation rejected requireptr
        securityerror spamdetected speeding suppressed suspend syntaxerror systemerror systemfull
        toomanyconn undefined userunknown vacation virusdetected
        """,
    )
)
"""https://libsisimai.org/en/reason"""


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_every_text_is_in_every_language_with_the_same_values() -> None:
    first = texts(LANGUAGES[0])
    for language in LANGUAGES[1:]:
        other = texts(language)
        assert other.keys() == first.keys()
        for key, text in other.items():
            assert text.strip(), key
            assert fields(text) == fields(first[key]), key


def test_languages_differ_where_there_are_words() -> None:
    same = [key for key, text in texts("es").items() if text == texts("en")[key]]
    assert set(same) <= {"trace.message-id"}


def test_every_text_is_said_somewhere() -> None:
    code = "".join(
        file.read_text("utf-8") for file in sorted(Path(estafeta.__file__).parent.rglob("*.py"))
    )
    said = re.findall(r"[\"']([a-z]+\.[a-z0-9-]*(?:\{[^\"']*)?)[\"']", code)
    whole = {key for key in said if "{" not in key}
    begun = tuple(key.partition("{")[0] for key in said if "{" in key)
    assert [k for k in texts("en") if k not in whole and not k.startswith(begun)] == []


def test_every_note_is_told_somewhere_and_every_one_told_is_there() -> None:
    root = Path(estafeta.__file__).parent
    code = "".join(
        file.read_text("utf-8")
        for room in ("relay", "resolve")
        for file in sorted((root / room).rglob("*.py"))
    )
    told = set(re.findall(r'\.tell\(\s*"[a-z]+",\s*"([a-z-]+)"', code))
    told |= set(re.findall(r'\.tell\(\s*"[a-z]+",\s*"[a-z-]+" if .* else "([a-z-]+)"', code))
    told |= set(re.findall(r'_note\(\s*"([a-z-]+)"', code))
    told |= set(re.findall(r'_note\("[a-z-]+" if .* else "([a-z-]+)"', code))
    told |= set(re.findall(r'"what": "([a-z-]+)"', code))
    assert told == {key[5:] for key in texts("en") if key.startswith("note.")}


def test_a_note_without_its_text_or_a_value_is_as_it_was_written() -> None:
    assert say_note({"what": "no-starttls", "host": "mx"}, "es", "x") == "mx no ofrece STARTTLS"
    for data in ({}, {"what": "made-up"}, {"what": "no-starttls"}):
        assert say_note(data, "es", "as it was") == "as it was"


def test_every_cause_is_complete_in_every_language() -> None:
    for known in causes().values():
        assert re.fullmatch(r"[a-z-]+", known.code)
        assert set(known.words) == set(LANGUAGES)
        for words in known.words.values():
            for text in (words.title, words.explanation, words.remedy):
                assert text, known.code
                assert fields(text) <= {"address", "domain", "host"}
            assert not words.title.endswith(".")
            assert words.explanation.endswith(".")
            assert words.remedy.endswith(".")
            assert known.permanent or words.returned, known.code
        say(f"owner.{known.owner}", "en")


def test_every_cause_says_which_reasons_of_sisimai_it_is_and_where_it_is_defined() -> None:
    for known in causes().values():
        assert 1 <= len(known.sisimai) <= 2, known.code
        assert known.source.strip(), known.code
    never = {reason for known in causes().values() if known.hard for reason in known.sisimai}
    assert never == {"userunknown", "hostunknown", "hasmoved", "notaccept", "syntaxerror"}


def test_every_reason_of_sisimai_is_some_cause() -> None:
    mapped = {reason for known in causes().values() for reason in known.sisimai}
    assert mapped == SISIMAI


def test_nobody_is_told_that_we_try_again_what_was_returned() -> None:
    for known in causes().values():
        for words in known.words.values():
            told = words.returned or words.remedy
            assert not re.search(r"[Ww]e try|[Ii]ntentar(emos)?\b.*\bnuevo", told), known.code


@pytest.mark.parametrize(
    "code",
    [
        "domain-not-found",
        "no-mail-host",
        "null-mx",
        "unknown-user",
        "user-moved",
        "policy-attachment",
        "policy-content",
        "message-too-large",
        "not-authenticated-mail",
        "blocked-ip",
        "reputation",
        "server-busy",
        "greylisted",
        "rate-limited",
        "mailbox-full",
        "host-unreachable",
        "dns-trouble",
        "tls-required",
        "loop",
        "expired",
        "relay-denied",
        "reply-lost",
        "protocol-error",
        "other",
    ],
)
def test_the_causes_of_the_reference_are_there(code: str) -> None:
    assert cause(code).code == code


def test_an_unknown_code_is_other() -> None:
    assert cause("made-up").code == "other"


def test_every_cause_the_code_gives_is_in_the_catalogue() -> None:
    root = Path(estafeta.__file__).parent
    given = set()
    for room in ("explain", "resolve", "relay", "queue", "mail"):
        for file in (root / room).rglob("*.py"):
            text = file.read_text("utf-8")
            given |= set(re.findall(r'\bcause(?:: str)? ?= ?"([a-z-]+)"', text))
            given |= set(re.findall(r'Reply\([^()]*(?:\([^()]*\)[^()]*)*\), "([a-z-]+)"', text))
    table = (root / "explain" / "cause.py").read_text("utf-8")
    given |= set(re.findall(r'(?:": |\d: |, )"([a-z]+(?:-[a-z]+)+)"', table))
    assert len(given) > 5
    assert given <= set(causes())


def test_without_an_address_the_host_is_named() -> None:
    nobody = cause("blocked-ip").in_words("en", address="somebody", host="mx.example.org")
    assert nobody.title == "mx.example.org blocks our server"


def test_values_are_never_formats() -> None:
    words = cause("unknown-user").in_words("en", address="{host.__class__}@x.org")
    assert words.title == "{host.__class__}@x.org does not exist"


def test_the_language_is_the_first_wish_that_we_speak() -> None:
    assert pick_language("fr", "es-AR", "en") == "es"
    assert pick_language("", "fr") == "en"
    assert say("fate.stored", "es_ES") == "guardado"
    with pytest.raises(KeyError):
        say("fate.made-up", "es")
