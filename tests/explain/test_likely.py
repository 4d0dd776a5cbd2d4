"""Likely: what was meant is named where it is clear, and nothing where it is not."""

from __future__ import annotations

import random
import time

import pytest

from estafeta.explain.causes import causes
from estafeta.explain.likely import (
    DOMAIN_CAUSES,
    PERSON_CAUSES,
    likely,
    likely_domain,
    likely_person,
    providers,
)
from estafeta.mail.address import canonical_domain

OURS = ("sudominio.com",)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("gmial.com", "gmail.com"),  # swapped
        ("gmai.com", "gmail.com"),  # left out
        ("gmal.com", "gmail.com"),
        ("yaho.com", "yahoo.com"),  # once for twice
        ("yahooo.es", "yahoo.es"),  # twice for once
        ("gmsil.com", "gmail.com"),  # the key beside it
        ("hmail.com", "gmail.com"),
        ("otulook.com", "outlook.com"),
        ("hotmaill.es", "hotmail.es"),
        ("gma1l.com", "gmail.com"),  # misread
        ("grnail.com", "gmail.com"),
        ("gmail.con", "gmail.com"),  # endings
        ("gmail.cm", "gmail.com"),
        ("gmail.co", "gmail.com"),
        ("gmail.ocm", "gmail.com"),
        ("gmail.om", "gmail.com"),
        ("hotmail.ed", "hotmail.es"),
        ("gmail", "gmail.com"),
        ("gmailcom", "gmail.com"),
        ("gmail-com", "gmail.com"),
        ("gmail.com.com", "gmail.com"),
        ("www.gmail.com", "gmail.com"),
        ("tonline.de", "t-online.de"),  # hyphens
        ("t-onlin.de", "t-online.de"),
        ("msm.com", "msn.com"),
    ],
)
def test_slips_about_large_providers(typed: str, meant: str) -> None:
    assert likely_domain(typed) == meant


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("sudomenio.com", "sudominio.com"),
        ("sudomino.com", "sudominio.com"),
        ("sudominioo.com", "sudominio.com"),
        ("sudominio.es", "sudominio.com"),  # another ending, of a domain that is known
        ("sudominio.con", "sudominio.com"),
        ("su-dominio.com", "sudominio.com"),
        ("sudom1nio.com", "sudominio.com"),
    ],
)
@pytest.mark.parametrize("source", ["ours", "correspondent"])
def test_slips_about_what_the_sender_knows(typed: str, meant: str, source: str) -> None:
    if source == "ours":
        assert likely_domain(typed, domains=OURS) == meant
    else:
        assert likely_domain(typed, correspondents=["luis@sudominio.com"]) == meant
    assert likely_domain(typed) == ""


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ("gmx.de", "gmx.net"),  # known itself, whatever the DNS says today
        ("mail.com", "gmail.com"),
        ("email.com", "gmail.com"),
        ("ymail.com", "gmail.com"),
        ("sudominio.com", "sudominios.com"),
        ("gmx.org", "gmx.net"),  # short, and there are several
        ("email.es", "gmail.com"),
        ("164.com", "163.com"),  # people are not off by one
        ("empresa1.es", "empresa2.es"),
        ("web1.example.com", "web2.example.com"),
        ("ibm.com", "ibn.org"),
        ("abc.es", "abd.org"),
        ("casa.es", "caja.es"),
        ("nube.es", "tube.es"),
        ("yahoo.cat", "yahoo.com"),  # which one?
        ("norte.de", "sur.de"),
        ("example.com", "ejemplo.com"),
        ("banco.es", "bancopopular.es"),
        ("acme.com", "acme-industries.com"),
        ("paris.fr", "parts.de"),
    ],
)
def test_what_is_not_named(typed: str, known: str) -> None:
    domains = [known, typed] if typed == "sudominio.com" else [known]
    assert likely_domain(typed, domains=domains) == ""


def test_known_domains_are_never_taken_for_another() -> None:
    assert [d for d in providers() if likely_domain(d, domains=OURS)] == []


def test_two_that_are_as_near_are_none_but_for_the_senders_own() -> None:
    assert likely_domain("yahoo.cat") == ""
    assert likely_domain("yahoo.cat", correspondents=["eva@yahoo.es"]) == "yahoo.es"
    two = ["eva@blanco.es", "luis@branco.es"]
    assert likely_domain("banco.es", correspondents=two) == ""
    assert likely_domain("banco.es", correspondents=two, local="luis") == "branco.es"


def test_letters_of_other_scripts_and_accents() -> None:
    """Compared as they are read, not in the form the DNS is asked in."""
    cyrillic = canonical_domain("gmаil.com")  # а is Cyrillic
    assert cyrillic.startswith("xn--")
    assert likely_domain(cyrillic) == "gmail.com"
    assert likely_domain("espana.es", domains=[canonical_domain("españa.es")]) == "xn--espaa-rta.es"
    assert likely_domain(canonical_domain("cañon.es"), domains=["canon.es"]) == "canon.es"


@pytest.mark.parametrize(
    ("address", "known", "meant"),
    [
        ("juan.peres@x.es", ["juan.perez@x.es"], "juan.perez@x.es"),
        ("perez.juan@x.es", ["juan.perez@x.es"], "juan.perez@x.es"),
        ("juanperez@x.es", ["juan.perez@x.es"], "juan.perez@x.es"),
        ("Juan.Peres@x.es", ["juan.perez@x.es"], "juan.perez@x.es"),
        ("ana@gmial.com", ["ana@gmail.com", "eva@gmail.com"], "ana@gmail.com"),
        ("juan.peres@x.es", ["juan.perez@y.es"], ""),  # of another domain
        ("juan.perez@x.es", ["juan.perez@x.es", "juan.peres@x.es"], ""),  # it was right once
        ("maria.gil@x.es", ["mario.gil@x.es"], ""),
        ("j.perez@x.es", ["k.perez@x.es"], ""),
        ("juan1@x.es", ["juan2@x.es"], ""),
        ("juan.perez@x.es", ["juan.perez1@x.es"], ""),
        ("bob@x.es", ["bab@x.es"], ""),
        ("rosa@x.es", ["rasa@x.es"], ""),
    ],
)
def test_people_are_named_from_the_senders_correspondence(
    address: str, known: list[str], meant: str
) -> None:
    assert likely_person(address, known) == meant


def test_the_cause_says_what_is_looked_for() -> None:
    known = {"correspondents": ["amelia@sudominio.com"], "domains": ["mx.example"]}
    assert likely("bea@sudomenio.com", "domain-not-found", **known) == "bea@sudominio.com"
    assert likely("bea@sudomenio.com", "null-mx", **known) == "bea@sudominio.com"
    assert likely("amelai@sudominio.com", "unknown-user", **known) == "amelia@sudominio.com"
    assert likely("ana@nx.example", "unknown-user", **known) == ""  # ours: nobody is given away
    assert likely("ana@sudomenio.com", "mailbox-full", **known) == ""
    assert causes().keys() >= DOMAIN_CAUSES | PERSON_CAUSES


def test_ten_thousand_candidates_take_a_moment() -> None:
    dice = random.Random(1)
    words = ("agua", "sol", "casa", "norte", "mar", "luz", "nube", "red", "tec", "datos", "legal")
    known = [
        f"a@{dice.choice(words)}{dice.choice(words)}{dice.randint(1, 99)}.com"
        for _ in range(10_000)
    ]
    began = time.process_time()
    assert likely_domain("sudomenio.com", correspondents=known, domains=OURS) == "sudominio.com"
    assert time.process_time() - began < 1.0


def test_the_list_of_providers_is_canonical_and_has_nobody_twice() -> None:
    assert all(canonical_domain(domain) == domain for domain in providers())
    assert len(providers()) > 200
