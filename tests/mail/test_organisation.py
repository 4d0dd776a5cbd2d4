"""Organisation: the registered domain, as the public suffix list's own examples have it."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from estafeta.mail.organisation import organisation

EXAMPLES = re.compile(r"^checkPublicSuffix\((?:'([^']*)'|null), (?:'([^']*)'|null)\);", re.M)


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("mail.correo.example", "correo.example"),
        ("correo.example", "correo.example"),
        ("example", ""),
        ("co.uk", ""),
        ("a.b.co.uk", "b.co.uk"),
        ("a.b.foo.ck", "b.foo.ck"),  # *.ck
        ("foo.ck", ""),
        ("a.www.ck", "www.ck"),  # !www.ck
        ("a.xn--85x722f.com.cn", "xn--85x722f.com.cn"),
        ("mx.someone.github.io", "someone.github.io"),  # a customer
        ("github.io", ""),
        ("[192.0.2.1]", ""),
        ("[IPv6:2001:db8::1]", ""),
        ("192.0.2.1", ""),
        ("", ""),
        (".example", ""),
        ("a..example", ""),
    ],
)
def test_who_registered_a_domain(domain: str, expected: str) -> None:
    assert organisation(domain) == expected


def test_the_examples_of_the_list() -> None:
    text = (files("publicsuffixlist") / "test_psl.txt").read_text("utf-8")
    examples = EXAMPLES.findall(text)
    assert len(examples) > 50
    for domain, expected in examples:
        if domain.startswith(".") or not domain.isascii():
            continue  # no canonical domains
        assert organisation(domain.lower()) == expected, domain
