"""Conceal: the words of a server say nothing of where an alias leads."""

from __future__ import annotations

import pytest

from estafeta.mail.outcome import Reply
from estafeta.queue.conceal import conceal, written_in

TARGET, WRITTEN = "bob.smith@inside.example", "sales@shop.example"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("<bob.smith@inside.example>: unknown", "<sales@shop.example>: unknown"),
        ("<Bob.Smith@INSIDE.example>: unknown", "<sales@shop.example>: unknown"),
        ("bob.smith: no such user", "sales: no such user"),
        ("mx1.eu.inside.example refuses", "shop.example refuses"),
        ("https://inside.example/help?bob.smith", "https://shop.example/help?sales"),
        ("bounces+bob.smith=inside.example@x.org", "bounces+sales=shop.example@x.org"),
        ("notinside.example bob.smithson", "notinside.example bob.smithson"),
        ("first line\nbob.smith\nlast", "first line\nsales\nlast"),
    ],
)
def test_the_written_address_stands_for_the_target(said: str, shown: str) -> None:
    assert conceal(Reply(550, "5.1.1", said), TARGET, WRITTEN) == Reply(550, "5.1.1", shown)


def test_a_domain_that_is_the_same_stays() -> None:
    said = Reply(550, "", "mx.shop.example: bob@shop.example unknown")
    assert conceal(said, "bob@shop.example", WRITTEN).text == (
        "mx.shop.example: sales@shop.example unknown"
    )


def test_a_short_name_alone_is_any_word() -> None:
    said = Reply(550, "", "no such user: no@inside.example")
    assert conceal(said, "no@inside.example", WRITTEN).text == "no such user: sales@shop.example"


def test_a_domain_is_known_in_either_form() -> None:
    said = Reply(550, "", "señal.example and xn--seal-hqa.example")
    assert conceal(said, "x@xn--seal-hqa.example", WRITTEN).text == "shop.example and shop.example"


@pytest.mark.parametrize(
    ("orcpt", "address"),
    [
        ("rfc822;a@b.example", "a@b.example"),
        ("RFC822; a@b.example ", "a@b.example"),
        ("utf-8;josé@b.example", "josé@b.example"),
        ("x400;/c=es", ""),
        ("rfc822;", ""),
        ("", ""),
    ],
)
def test_what_orcpt_tells_of_the_senders_address(orcpt: str, address: str) -> None:
    assert written_in(orcpt) == address
