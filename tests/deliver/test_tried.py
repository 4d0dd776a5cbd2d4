"""Tried: the journal in plain words, read aloud in both languages."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from estafeta.deliver.tried import sentence, sentences, why_not
from estafeta.explain.causes import causes
from estafeta.explain.words import LANGUAGES
from estafeta.store.admissions import Admission, NotLetIn, WhyNot
from estafeta.store.knocks import MANY, Detail, Knock

NOON = 1_795_000_000_000  # 2026-11-18 11:06:40 UTC


def row(**given: Any) -> Knock:
    columns: dict[str, Any] = {
        "account": 1,
        "id": 1,
        "who": "example.net",
        "sender": "maria@example.org",
        "cause": "greylisted",
        "named": "ana@a.example",
        "proof": 1,
        "first": NOON,
        "began": NOON,
        "last": NOON,
        "times": 1,
        "arrived": 0,
    }
    detail: dict[str, Any] = {
        "sender": "maria@example.org",
        "network": "192.0.2.0/24",
        "organisation": "example.net",
        "reply": "451 4.7.1 come again",
    }
    for name, value in given.items():
        (columns if name in columns else detail)[name] = value
    detail["sender"] = columns["sender"]
    return Knock(**columns, detail=Detail(**detail))


PROVEN = {"aligned": True, "organisation": "example.org", "who": "example.org"}
REFUSED = {"reply": "554 5.7.1 no"}


@pytest.mark.parametrize(
    ("given", "english", "spanish"),
    [
        (
            {"arrived": NOON + 395_000},
            "Someone who claims to be maria@example.org, from the servers of example.net, was asked"
            " to come again (greylisting), and came 6 minutes later.",
            "Alguien que dice ser maria@example.org, desde los servidores de example.net, recibió"
            " la petición de volver más tarde (lista gris), y volvió 6 minutos después.",
        ),
        (
            {"organisation": "", "who": "192.0.2.0/24", "cause": "rate-limited"},
            "Someone who claims to be maria@example.org, from a server without a confirmed name"
            " (network 192.0.2.0/24), was asked to come again later, because too much came at once"
            " (rate limit), and is not known to have come in since.",
            "Alguien que dice ser maria@example.org, desde un servidor sin nombre confirmado (red"
            " 192.0.2.0/24), recibió la petición de volver más tarde porque llegaba demasiado a la"
            " vez (límite de ritmo), y no consta que haya entrado desde entonces.",
        ),
        (
            {"cause": "policy-attachment", "finding": "Playa.mov", **PROVEN, **REFUSED},
            "maria@example.org, from the servers of example.org, was refused because of the"
            " attachment Playa.mov, which is of a kind that is not taken here.",
            "maria@example.org, desde los servidores de example.org, no pudo entrar por el adjunto"
            " Playa.mov, de un tipo que aquí no se admite.",
        ),
        (
            {"cause": "message-too-large", "size": 12_345_678, **PROVEN, **REFUSED},
            "maria@example.org, from the servers of example.org, was refused because the message,"
            " of 12.3 MB, is too large.",
            "maria@example.org, desde los servidores de example.org, no pudo entrar porque el"
            " mensaje, de 12,3 MB, es demasiado grande.",
        ),
        (
            {"cause": "mailbox-full", "reply": "452 4.2.2 full", "arrived": NOON + 1},
            "Someone who claims to be maria@example.org, from the servers of example.net, was asked"
            " to come again later, because your mailbox is full, and came 1 second later.",
            "Alguien que dice ser maria@example.org, desde los servidores de example.net, recibió"
            " la petición de volver más tarde porque este buzón está lleno, y volvió 1 segundo"
            " después.",
        ),
        (
            {"cause": "mailbox-full", "reply": "552 5.2.2 full"},
            "Someone who claims to be maria@example.org, from the servers of example.net, was"
            " refused because your mailbox is full.",
            "Alguien que dice ser maria@example.org, desde los servidores de example.net, no pudo"
            " entrar porque este buzón está lleno.",
        ),
        (
            {"sender": "", "cause": "blocked-ip", **REFUSED},
            "A message without a return address, as automatic reports are, from the servers of"
            " example.net, was refused because a list names the server as one that sends junk.",
            "Un mensaje sin dirección de retorno, como los avisos automáticos, desde los servidores"
            " de example.net, no pudo entrar porque el servidor figura en una lista de los que"
            " envían correo basura.",
        ),
        (
            {"cause": "encryption-needed", **REFUSED},
            "Someone who claims to be maria@example.org, from the servers of example.net, was"
            " refused because the connection was not encrypted.",
            "Alguien que dice ser maria@example.org, desde los servidores de example.net, no pudo"
            " entrar porque la conexión no estaba cifrada.",
        ),
        (
            {"who": MANY, "sender": MANY, "times": 99_500},
            "More than one further sender, from many different places, was asked to come again"
            " (greylisting).",
            "Más de un remitente, además de los ya contados, desde muchos lugares distintos,"
            " recibió la petición de volver más tarde (lista gris).",
        ),
    ],
)
def test_a_row_in_plain_words(given: dict[str, Any], english: str, spanish: str) -> None:
    knock = row(**given)
    assert sentence(knock, "en") == english
    assert sentence(knock, "es") == spanish


@pytest.mark.parametrize("language", LANGUAGES)
def test_only_who_is_proven_is_told_without_claims_to_be(language: str) -> None:
    claims = {"en": "claims to be", "es": "dice ser"}[language]
    for cause in causes():
        for reply in ("451 4.7.1 x", "554 5.7.1 x", ""):
            for given in ({}, {"organisation": ""}, {"aligned": True, "organisation": ""}):
                assert claims in sentence(row(cause=cause, reply=reply, **given), language)
            proven = sentence(row(cause=cause, reply=reply, **PROVEN), language)
            assert proven.startswith("maria@example.org, ")
            assert claims not in proven


@pytest.mark.parametrize(
    ("ms", "english", "spanish"),
    [
        (0, "1 second", "1 segundo"),
        (59_999, "59 seconds", "59 segundos"),
        (60_000, "1 minute", "1 minuto"),
        (3_599_000, "59 minutes", "59 minutos"),
        (3_600_000, "1 hour", "1 hora"),
        (7_200_000, "2 hours", "2 horas"),
        (86_400_000, "1 day", "1 día"),
        (900_000_000, "10 days", "10 días"),
    ],
)
def test_how_much_later(ms: int, english: str, spanish: str) -> None:
    came = row(began=NOON, arrived=NOON + ms or 1)
    assert sentence(came, "en").endswith(f"and came {english} later.")
    assert sentence(came, "es").endswith(f"y volvió {spanish} después.")


def test_all_that_is_told_of_a_row() -> None:
    told = sentences(
        row(times=4, last=NOON + 86_400_000, named="ventas@a.example", subject="Fotos"),
        "en",
        address="ana@a.example",
        admission=Admission(1, 2, 1, "", "192.0.2.0/24", "x", NOON, NOON + 1),
    )
    assert told[1:] == [
        "That was tried 4 times: first on 2026-11-18 11:06 UTC, last on 2026-11-19 11:06 UTC.",
        "They wrote to ventas@a.example.",
        "Subject: Fotos",
        "You let their next message in, until 2026-11-18 11:06 UTC.",
    ]
    told = sentences(
        row(),
        "es",
        address="ana@a.example",
        admission=Admission(1, 2, 1, "", "", "x", 0, 1, used=7),
    )
    assert told[1:] == [
        "Fue el 2026-11-18 11:06 UTC.",
        "Usted dejó entrar un mensaje suyo, y llegó.",
    ]
    many = sentences(row(who=MANY, sender=MANY, times=3, named=""), "es", address="ana@a.example")
    assert many[1:] == ["Lo intentó 3 veces el 2026-11-18 11:06 UTC."]


def test_what_others_wrote_is_no_format() -> None:
    told = sentences(
        row(
            sender="{0.__class__}@x.example",
            finding="{detail}",
            subject="{}",
            cause="policy-attachment",
        ),
        "en",
        address="",
    )
    assert any("{detail}" in line for line in told)
    assert "Subject: {}" in told


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("why", get_args(WhyNot))
def test_why_somebody_is_not_let_in(why: WhyNot, language: str) -> None:
    said = why_not(NotLetIn(why), language, cause="blocked-ip")
    assert said.endswith(".")
    assert "{" not in said
