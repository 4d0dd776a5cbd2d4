"""script: dialogues between a client and a server of ours, as text files.

One step a line:

    # a comment; empty lines too are nothing
    C: text             the client sends the text and CRLF
    C+ text             the client sends the text alone
    S: pattern          the server sends a line that matches, and CRLF
    E: text             the server side tells of this event (only where the adapter can)
    C*20: text          the same line twenty times; S*20: likewise
    [word arguments]    something done or decided; what words there are is the adapter's matter
    === name            the dialogue ends, another one of that name begins

In the text of C and S these stand for octets; any other brace is itself (IMAP literals are safe):

    {cr} {lf} {nul} {tab} {hex 00 ff}   octets
    {repeat 1000 text}                  the text a thousand times
    {base64 text}                       in base64; "\\0" in it is NUL
    {any}                               in S: whatever is there, within the line

The parser knows no protocol; `Script.segments` and `play` are what every adapter shares.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Protocol

_STEP = re.compile(r"(?P<who>[CS])(?:\*(?P<times>\d+))?(?P<end>[:+])(?: (?P<text>.*))?\Z")
_ESCAPE = re.compile(
    r"\{(?:(?P<name>cr|lf|nul|tab|any)|hex (?P<hex>[0-9a-fA-F ]+)"
    r"|repeat (?P<times>\d+) (?P<text>[^{}]+)|base64 (?P<plain>[^{}]*))\}"
)
_NAMED = {"cr": b"\r", "lf": b"\n", "nul": b"\0", "tab": b"\t"}


@dataclass(frozen=True)
class Client:
    """Octets that the client sends."""

    data: bytes
    line: int


@dataclass(frozen=True)
class Server:
    """A line that the server sends, as a pattern over its octets, CRLF included."""

    pattern: re.Pattern[bytes]
    text: str
    line: int


@dataclass(frozen=True)
class Told:
    """An event that the server side tells of."""

    text: str
    line: int


@dataclass(frozen=True)
class Directive:
    """[word arguments]."""

    word: str
    arguments: str
    line: int


Step = Client | Server | Told | Directive


@dataclass
class Script:
    """One file."""

    name: str
    steps: list[Step] = field(default_factory=list)

    @property
    def setting(self) -> str:
        """Arguments of the first [profile ...], "" without one."""
        for step in self.steps:
            if isinstance(step, Directive) and step.word == "profile":
                return step.arguments
        return ""

    @property
    def first_directives(self) -> list[Directive]:
        """Those above the first line of the dialogue: they hold before the connection is made."""
        return [
            step
            for step in takewhile(lambda s: isinstance(s, Directive), self.steps)
            if isinstance(step, Directive)
        ]

    @property
    def client_begins(self) -> bool:
        """The client speaks before the server."""
        rest = self.steps[len(self.first_directives) :]
        return bool(rest) and isinstance(rest[0], Client)

    @property
    def told(self) -> list[str]:
        return [step.text for step in self.steps if isinstance(step, Told)]


def parse(text: str, name: str = "script") -> Script:
    """The script that `text` holds. Raises ValueError naming the line."""
    script = Script(name)
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if stripped.startswith("[") and stripped.endswith("]"):
            word, _, arguments = stripped[1:-1].partition(" ")
            script.steps.append(Directive(word, arguments.strip(), number))
        elif line.startswith("E: "):
            script.steps.append(Told(line[3:], number))
        elif (match := _STEP.match(line)) is not None:
            script.steps.extend(_repeated(match, number))
        else:
            raise ValueError(f"{name}:{number}: not a step: {line!r}")
    return script


def _repeated(match: re.Match[str], number: int) -> list[Step]:
    text = match["text"] or ""
    step: Step
    if match["who"] == "C":
        ending = b"\r\n" if match["end"] == ":" else b""
        step = Client(octets(text) + ending, number)
    elif match["end"] == ":":
        step = Server(pattern(text), text, number)
    else:
        raise ValueError(f"line {number}: a server's line ends with CRLF")
    return [step] * int(match["times"] or 1)


def octets(text: str) -> bytes:
    """The octets that a C line stands for, without CRLF."""
    return b"".join(piece for piece in _pieces(text) if piece is not None)


def pattern(text: str) -> re.Pattern[bytes]:
    """What an S line matches, CRLF included."""
    expression = b"".join(
        rb"[^\r\n]*" if piece is None else re.escape(piece) for piece in _pieces(text)
    )
    return re.compile(expression + rb"\r\n")


def _pieces(text: str) -> Iterator[bytes | None]:
    """Octets, and None for {any}."""
    at = 0
    for match in _ESCAPE.finditer(text):
        yield text[at : match.start()].encode()
        at = match.end()
        if match["name"] == "any":
            yield None
        elif match["name"]:
            yield _NAMED[match["name"]]
        elif match["hex"]:
            yield bytes.fromhex(match["hex"])
        elif match["times"]:
            yield match["text"].encode() * int(match["times"])
        else:
            yield base64.b64encode(match["plain"].replace("\\0", "\0").encode())
    yield text[at:].encode()


def load(folder: Path) -> list[Script]:
    """All scripts of the files of a folder, named file/dialogue. Line numbers are the file's."""
    return [
        script
        for path in sorted(folder.glob("*.txt"))
        for script in _sections(path)
        if script.steps
    ]


def _sections(path: Path) -> Iterator[Script]:
    name, lines, before = path.stem, [], 0
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        if line.startswith("=== "):
            yield parse("\n" * before + "\n".join(lines), name)
            name, lines, before = f"{path.stem}/{line[4:].strip()}", [], number
        else:
            lines.append(line)
    yield parse("\n" * before + "\n".join(lines), name)


class Adapter(Protocol):
    """What plays the server's part: a machine with a scripted driver, or a whole server."""

    def feed(self, data: bytes) -> None:
        """The client sends this."""

    def output(self) -> bytes:
        """What the server has sent since the last call."""

    def do(self, directive: Directive) -> None:
        """Raises AssertionError where it expects something that is not so."""

    def told(self) -> list[str]:
        """The events so far, in the words of E lines."""


BARRIERS = frozenset({"tls", "close", "closed", "hang-up"})
"""Directives before which everything sent must have been answered."""


def play(script: Script, adapter: Adapter, *, split: str = "lines") -> bytes:
    """Plays a script and compares; gives all the server sent. Raises AssertionError.

    split: "lines": a turn at a time, each answer compared when it is due; "octets": the same, an
    octet at a time; "whole": all that comes before the next barrier in one piece (pipelining).
    """
    begin = _leading(script.steps)
    greeting = [step for step in script.steps[:begin] if isinstance(step, Server)]
    transcript = [_expect(script, adapter, greeting, 0)]
    for segment in _segments(script.steps[begin:], whole=split == "whole"):
        sent = b"".join(step.data for step in segment if isinstance(step, Client))
        for step in segment:
            if isinstance(step, Directive):
                adapter.do(step)
        pieces = (sent[at : at + 1] for at in range(len(sent))) if split == "octets" else (sent,)
        for piece in pieces:
            if piece:
                adapter.feed(piece)
        expected = [step for step in segment if isinstance(step, Server)]
        transcript.append(_expect(script, adapter, expected, segment[0].line))
    if script.told:
        assert adapter.told() == script.told, f"{script.name}: events"
    return b"".join(transcript)


def _leading(steps: list[Step]) -> int:
    """How many steps come before anything is done: the first directives, then server lines."""
    number = len(Script("", steps).first_directives)
    while number < len(steps) and isinstance(steps[number], Server):
        number += 1
    return number


def _segments(steps: list[Step], *, whole: bool) -> Iterator[list[Step]]:
    """Runs of steps between which the server's answers are compared.

    A directive that is a barrier opens a segment; unless `whole`, so does each turn from the
    server to the client.
    """
    segment: list[Step] = []
    answered = False
    for step in steps:
        barrier = isinstance(step, Directive) and step.word in BARRIERS
        turn = answered and isinstance(step, Client | Directive) and not whole
        if segment and (barrier or turn):
            yield segment
            segment, answered = [], False
        segment.append(step)
        answered = answered or isinstance(step, Server)
    if segment:
        yield segment


def _expect(script: Script, adapter: Adapter, expected: Iterable[Server], line: int) -> bytes:
    data = adapter.output()
    at = 0
    for step in expected:
        match = step.pattern.match(data, at)
        assert match is not None, (
            f"{script.name}:{step.line}: expected {step.text!r}, got {data[at : at + 200]!r}"
        )
        at = match.end()
    assert at == len(data), f"{script.name}: after line {line}: unexpected {data[at : at + 200]!r}"
    return data
