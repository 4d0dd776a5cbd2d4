"""tests/dialogue/script.py: the format itself, so that a script that passes has said something."""

import base64
from pathlib import Path

import pytest
from tests.dialogue.script import (
    Client,
    Directive,
    Server,
    Told,
    load,
    octets,
    parse,
    pattern,
    play,
)


class Echo:
    """Answers each line with itself; greets with "hello"."""

    def __init__(self, greeting: bytes = b"hello\r\n") -> None:
        self.unread = b""
        self.sent = greeting
        self.done: list[str] = []

    def feed(self, data: bytes) -> None:
        self.unread += data
        while b"\r\n" in self.unread:
            line, self.unread = self.unread.split(b"\r\n", 1)
            self.sent += line + b"\r\n"

    def output(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent

    def do(self, directive: Directive) -> None:
        self.done.append(f"{directive.word} {directive.arguments}".strip())

    def told(self) -> list[str]:
        return self.done


def test_octets() -> None:
    assert octets("a{cr}{lf}{nul}{tab}{hex 00 fF}") == b"a\r\n\0\t\0\xff"
    assert octets("{repeat 3 ab}|{repeat 2  }") == b"ababab|  "
    assert octets("AUTH {base64 \\0u\\0p}") == b"AUTH " + base64.b64encode(b"\0u\0p")
    assert octets("ñ") == "ñ".encode()


def test_braces_of_other_protocols_are_themselves() -> None:
    text = "a LOGIN {5} {5+} ~{9} {} {other} \\Seen %00 *"
    assert octets(text) == text.encode()
    assert pattern(text).fullmatch(text.encode() + b"\r\n")


def test_any_stays_within_its_line() -> None:
    assert pattern("250 {any} OK").fullmatch(b"250 all is OK\r\n")
    assert pattern("250 {any}").fullmatch(b"250 \r\n")
    assert not pattern("250 {any}").fullmatch(b"250 a\r\nb\r\n")
    assert not pattern("250.").fullmatch(b"2509\r\n")


def test_steps() -> None:
    script = parse("# c\n\n[profile a=b]\nS: hi\nC: one\nC+ two\nC*2: x\nC:\nE: Lost\n[tls]\n")
    assert script.setting == "a=b"
    kinds = [type(step) for step in script.steps]
    assert kinds == [Directive, Server, Client, Client, Client, Client, Client, Told, Directive]
    data = [step.data for step in script.steps if isinstance(step, Client)]
    assert data == [b"one\r\n", b"two", b"x\r\n", b"x\r\n", b"\r\n"]
    assert script.told == ["Lost"]
    assert not script.client_begins
    assert parse("[a]\nC: x").client_begins


@pytest.mark.parametrize("line", ["X: what", "C*x: y", "S+ half", "C:no space", "C"])
def test_a_line_that_is_no_step(line: str) -> None:
    with pytest.raises(ValueError, match="2"):
        parse("# first\n" + line)


def test_sections_keep_their_line_numbers(tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("S: a\n=== two words\n# c\nS: b\n", "utf-8")
    first, second = load(tmp_path)
    assert (first.name, second.name) == ("f", "f/two words")
    assert second.steps[0].line == 4


@pytest.mark.parametrize("split", ["lines", "octets", "whole"])
def test_play(split: str) -> None:
    script = parse("S: hello\nC: a\nS: a\n[x -> y]\nC: b\nC: c\nS: b\nS: {any}\n[tls]\nC: d\nS: d")
    adapter = Echo()
    assert play(script, adapter, split=split) == b"hello\r\na\r\nb\r\nc\r\nd\r\n"
    assert adapter.done == ["x -> y", "tls"]


@pytest.mark.parametrize("split", ["lines", "octets", "whole"])
@pytest.mark.parametrize(
    "text",
    [
        "S: hello\nC: a\nS: b",
        "S: hello\nC: a\nS: a\nS: a",
        "S: hello\nC: a\nC: b\nS: a",
        "S: hello\nC: a\n[tls]\nS: a",
        "S: other",
        "C: a\nS: a",
        "S: hello\nE: Lost",
    ],
)
def test_play_finds_what_differs(text: str, split: str) -> None:
    with pytest.raises(AssertionError):
        play(parse(text), Echo(), split=split)


def test_answers_are_compared_when_they_are_due() -> None:
    """Line by line, an answer that comes a turn too late fails; in one piece it cannot be told."""
    script = parse("S: hello\nC: a\nC: b\nS: a\nC: c\nS: b\nS: c")
    with pytest.raises(AssertionError):
        play(script, Echo())
    play(script, Echo(), split="whole")
