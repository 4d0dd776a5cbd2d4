"""Page: the HTML of a report is well-formed, all of it escaped; nothing in it acts or fetches."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from estafeta.explain.page import Card, Line, Page, Tone, as_html, as_text

VOID = {"meta", "br"}


class Seen(HTMLParser):
    """What a browser would make of it. wrong: tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def page(
    text: str = "No such user", tone: Tone = "failed", support: str = "help@x.example"
) -> Page:
    return Page(
        language="es",
        tone=tone,
        title=f"Title {text}",
        greeting=f"Greeting {text}",
        closing=f"Write to {support}.",
        support=support,
        cards=(Card("To", f"a@b {text}", (Line("What", text), Line("Words", text, True))),),
        more=(f"c@d {text}", "e@f"),
        more_label="Others",
    )


@pytest.mark.parametrize("tone", ["failed", "delayed", "delivered"])
def test_it_is_whole_and_says_in_which_language(tone: Tone) -> None:
    seen = Seen(as_html(page(tone=tone)))
    html = next(attributes for tag, attributes in seen.tags if tag == "html")
    assert html["lang"] == "es"
    assert {"h1", "h2", "title", "body"} <= {tag for tag, _ in seen.tags}
    for words in ("No such user", "e@f", "Others", "Write to help@x.example."):
        assert words in " ".join(seen.words.split())
    assert "$" not in as_html(page(tone=tone))


def test_nothing_is_fetched_and_nothing_runs() -> None:
    text = as_html(page())
    seen = Seen(text)
    allowed = {"html", "head", "meta", "title", "style", "body", "table", "tr", "td", "h1", "h2"}
    assert {tag for tag, _ in seen.tags} <= allowed | {"p", "div", "a", "br"}
    for _, attributes in seen.tags:
        assert not {name for name in attributes if name.startswith("on") or name == "src"}
    assert [a["href"] for tag, a in seen.tags if tag == "a"] == ["mailto:help@x.example"]
    assert not re.search(r"url\(|@import|http", text)


HOSTILE = "<script>alert(1)</script> \"'&amp; $title ${lines} </style> <img src=//x> \x00\x1b é"


def test_what_others_wrote_is_text_and_nothing_else() -> None:
    plain, hostile = Seen(as_html(page())), Seen(as_html(page(HOSTILE)))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    shown = " ".join(hostile.words.split())
    assert shown.count("<script>alert(1)</script>") == 7
    assert "&amp; $title ${lines} </style>" in shown
    assert "\x00" not in as_html(page(HOSTILE))


def test_an_address_for_help_is_a_link_whatever_it_holds() -> None:
    seen = Seen(as_html(page(support='"a b?c&d"@é.example')))
    (link,) = [a["href"] for tag, a in seen.tags if tag == "a"]
    assert link == "mailto:%22a%20b%3Fc%26d%22@%C3%A9.example"
    assert '"a b?c&d"@é.example' in seen.words


def test_it_needs_no_width_and_stays_legible_in_the_dark() -> None:
    text = as_html(page())
    assert not re.search(r"(?<!max-)width: \d+px|min-width|width=\"\d+\"", text)
    assert "overflow-wrap: anywhere" in text
    assert "prefers-color-scheme: dark" in text
    inline = re.findall(r'style="([^"]*)"', text)
    for style in inline:
        if "background-color" in style:  # never one without the other
            assert re.search(r"(?<!-)color: #", style.replace("background-color", "")), style


def test_lines_are_such_as_every_server_passes_on() -> None:
    long = page("word " * 400)
    assert max(len(line) for line in as_html(long).split("\n")) < 3000
    quoted = as_html(Page(**{**_fields(long), "greeting": "x", "title": "x"}))
    assert max(len(line) for line in quoted.split("\n") if "word" in line) < 2100


def _fields(given: Page) -> dict[str, object]:
    return {name: getattr(given, name) for name in given.__struct_fields__}


def test_nothing_of_it_steers_a_terminal() -> None:
    hostile = "a\0\x1b[31mb\x9b\u202ec \U0001f469\u200d\U0001f4bb"
    for made in (as_text(page(hostile)), as_html(page(hostile))):
        assert not set("\0\x1b\x9b\u202e") & set(made)
        assert "\U0001f469\u200d\U0001f4bb" in made


def test_the_text_says_the_same() -> None:
    text = as_text(page())
    for words in ("Greeting", "To: a@b", "What: No such user", "Others:\n  c@d", "help@x.example"):
        assert words in text
