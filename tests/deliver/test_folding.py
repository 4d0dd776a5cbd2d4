"""Folding: what changes from message to message goes, who sends stays."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estafeta.deliver.folding import folded, unsigned


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ""),
        ("Ana@Correo.Example", "ana@correo.example"),
        ("postmaster", "postmaster"),
        ("ana+news@correo.example", "ana+news@correo.example"),
        # BATV
        ("prvs=1234a5b6c7=ana@correo.example", "ana@correo.example"),
        ("prvs=9999ffffff=Ana@correo.example", "ana@correo.example"),
        ("btv1==082d1e0f7c6==ana@correo.example", "ana@correo.example"),
        ("msprvs1=19999abcdefg=bounces-12@mail.example", "bounces-#@mail.example"),
        # SRS
        ("SRS0=HHH1=TT=bob.example=bob@fwd.example", "srs=bob.example=bob@fwd.example"),
        ("SRS0+ab/c=5E=bob.example=bob@fwd.example", "srs=bob.example=bob@fwd.example"),
        (
            "SRS1=xyz9=first.example==HHH=TT=bob.example=bob@fwd.example",
            "srs=bob.example=bob@fwd.example",
        ),
        # VERP
        ("bounces+ana=correo.example@list.example", "bounces+#@list.example"),
        ("bounces+17-ab-ana.m-p=correo.example@list.example", "bounces+#@list.example"),
        ("list-ana=correo.example@list.example", "list-#@list.example"),
        ("a=b@list.example", "a=b@list.example"),
        # numbers and tokens
        ("bounce-12345-6@list.example", "bounce-#@list.example"),
        ("bounce7@list.example", "bounce#@list.example"),
        (
            "010001939f4e6b5a-3f1c2d5e-8b1a-4c8e-9a1f-1234567890ab-000000@ses.example",
            "#@ses.example",
        ),
        ("b-deadbeef@list.example", "b-deadbeef@list.example"),
        ("b-deadbee1@list.example", "b-#@list.example"),
        ("b-xq7zt0wplkjh@list.example", "b-#@list.example"),
        ("member2024@club.example", "member#@club.example"),
        # who sends by their domain is nobody else
        ("ana@mail1.correo.example", "ana@mail1.correo.example"),
        ("josé1@correo.example", "josé#@correo.example"),
        ('"a b 1"@correo.example', '"a b #"@correo.example'),
    ],
)
def test_folded(path: str, expected: str) -> None:
    assert folded(path) == expected
    assert folded(expected) == expected  # folding what is folded changes nothing


def test_unsigned_is_an_address_that_somebody_may_have_written_to() -> None:
    assert unsigned("prvs=1234a5b6c7=Ana7@correo.example") == "ana7@correo.example"
    assert unsigned("ana-12+x@correo.example") == "ana-12+x@correo.example"


@pytest.mark.parametrize("piece", ["=", "+=", "-=", "a-", "a+", "1a", "srs0=", "#-", "f-0"])
def test_no_path_takes_long(piece: str) -> None:
    path = (piece * 5000)[:20_000] + "@x.example"
    began = time.perf_counter()
    folded(path)
    assert time.perf_counter() - began < 0.5


@given(st.text(max_size=80), st.from_regex(r"[0-9]{4}[0-9a-f]{6}", fullmatch=True))
def test_any_path_can_be_folded_and_a_signature_is_not_seen(path: str, tag: str) -> None:
    assert isinstance(folded(path), str)
    once, again = (f"prvs={each}=a{path}@b.example" for each in (tag, tag[::-1]))
    assert folded(once) == folded(again) == folded(f"a{path}@b.example")
