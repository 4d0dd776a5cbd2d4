"""Page: what a report shows to a person, and its two forms: text and HTML.

Promises: both say the same; lines of the text have at most 76 characters but for long words, and
end in "\\n"; the HTML holds what was given, escaped, in the frame of `page.html`: no script,
nothing that is fetched, and styles that stay legible where a mail client drops or inverts them.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.resources import files
from string import Template
from typing import Literal

import msgspec

Tone = Literal["failed", "delayed", "delivered"]

_WIDTH = 76
_PART = "<!-- part: "
_ACCENTS = {"failed": "#c2362b", "delayed": "#b26a00", "delivered": "#2e7d4f"}
"""Legible as a line on white as on black."""


class Line(msgspec.Struct, frozen=True):
    """One thing said of a recipient. quoted: the words of another, shown as they are."""

    label: str
    text: str
    quoted: bool = False


class Card(msgspec.Struct, frozen=True):
    """All that is said of one recipient."""

    label: str
    address: str
    lines: tuple[Line, ...] = ()


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """more: addresses of which nothing further is said, under `more_label`. closing: names
    `support`, an address."""

    language: str
    tone: Tone
    title: str
    greeting: str
    closing: str
    support: str
    cards: tuple[Card, ...] = ()
    more: tuple[str, ...] = ()
    more_label: str = ""


def as_text(page: Page) -> str:
    blocks = [_wrap(page.greeting, hanging="")]
    blocks += [_card_as_text(card) for card in page.cards]
    if page.more:
        listed = "\n".join(f"  {address}" for address in page.more)
        blocks.append(f"{page.more_label}:\n{listed}" if page.more_label else listed)
    blocks.append(_wrap(page.closing, hanging=""))
    return _printable("\n\n".join(blocks)) + "\n"


def _card_as_text(card: Card) -> str:
    lines = [f"{card.label}: {card.address}"]
    lines += [_wrap(f"{line.label}: {line.text}") for line in card.lines]
    return "\n".join(lines)


def _wrap(text: str, hanging: str = "  ") -> str:
    return textwrap.fill(
        text, _WIDTH, break_long_words=False, break_on_hyphens=False, subsequent_indent=hanging
    )


def as_html(page: Page) -> str:
    accent = _ACCENTS[page.tone]
    cards = "".join(_card_as_html(card, accent) for card in page.cards)
    more = ""
    if page.more:
        addresses = "<br>\n".join(_escaped(address) for address in page.more)
        more = _part("more", accent=accent, label=_escaped(page.more_label), addresses=addresses)
    support = _escaped(page.support)
    link = _part("link", address=_escaped(_mailto(page.support)), shown=support).strip()
    return _part(
        "page",
        language=_escaped(page.language),
        title=_escaped(page.title),
        greeting=_escaped(page.greeting),
        cards=cards,
        more=more,
        closing=_escaped(page.closing).replace(support, link),
    )


def _card_as_html(card: Card, accent: str) -> str:
    lines = "".join(
        _part("words" if line.quoted else "line", label=_escaped(line.label), text=_broken(line))
        for line in card.lines
    )
    return _part(
        "card",
        accent=accent,
        label=_escaped(card.label),
        address=_escaped(card.address),
        lines=lines,
    )


def _broken(line: Line) -> str:
    """The text in lines that any server passes on (RFC 5322 §2.1.1)."""
    return _escaped("\n".join(_pieces(line.text)))


def _pieces(text: str) -> Iterable[str]:
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False) or [""]


def _escaped(text: str) -> str:
    return html.escape(_printable(text))


def _printable(text: str) -> str:
    """Without what steers a terminal or turns the direction of letters, or has no place in mail
    (RFC 2045 §2.7); what joins emoji stays."""
    return "".join(c if c.isprintable() or c in "\n\u200d" else " " for c in text)


def _mailto(address: str) -> str:
    """RFC 6068 §2: what an address may hold and a URI may not, as octets in hexadecimal."""
    plain = "!$'*+-.0123456789=@ABCDEFGHIJKLMNOPQRSTUVWXYZ^_abcdefghijklmnopqrstuvwxyz{|}~"
    return "".join(
        c if c in plain else "".join(f"%{octet:02X}" for octet in c.encode("utf-8", "replace"))
        for c in address
    )


def _part(name: str, **values: str) -> str:
    return _templates()[name].substitute(values)


@lru_cache
def _templates() -> dict[str, Template]:
    """The pieces of the frame by their names."""
    text = (files(__package__) / "page.html").read_text("utf-8")
    pieces: Sequence[str] = text.split(_PART)[1:]
    named = (piece.partition(" -->\n") for piece in pieces)
    return {name: Template(body) for name, _, body in named}
