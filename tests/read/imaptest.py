"""imaptest: plays scripts of Dovecot's imaptest against a server of ours.

A script has a head (`capabilities`, `connections`, `messages`, `state`), an empty line, and groups:
commands, then the responses that must come ("*") and that must not ("!"). What is compared:

- atoms without regard to case; strings as strings, whatever form they came in
- $name is bound where it first comes and the same afterwards; $1, $2 … is the message that had this
  number before the command; $$ is a dollar
- FETCH and STATUS by their pairs, in any order, more may come; flags as sets, \\Recent
  aside; other lists as they stand; more words at the end of a response may come
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.read.rig import ADDRESS, PASSWORD, Client, House

_FROM = re.compile(rb"^From \S+ +(.*)$", re.MULTILINE)
_STATUS = ("ok", "no", "bad", '""')
_DATE = re.compile(r"\w+ (\w+) +(\d+) (\d+:\d+:\d+) (\d+)(?: ([+-]\d{4}))?")
_TOKEN = re.compile(
    rb'(?P<open>~?\()|(?P<close>\))|"(?P<quoted>(?:[^"\\]|\\.)*)"'
    rb"|~?\{(?P<literal>\d+)\}\r\n|(?P<atom>(?:[^\s()\[\"]|\[[^\]]*\])+)|(?P<space>\s+)"
)
MAILBOX = "imaptest"


class Mismatch(AssertionError):
    pass


@dataclass
class Sent:
    """One command: status expected at once, "" where a later line says so."""

    connection: int
    tag: str
    status: str
    text: str
    line: int


@dataclass
class Group:
    commands: list[Sent] = field(default_factory=list)
    expected: list[tuple[str, bytes, int]] = field(default_factory=list)
    # connection, tag, what must be in the tagged response
    tagged: list[tuple[int, str, bytes, int]] = field(default_factory=list)


@dataclass
class Test:
    name: str
    head: dict[str, str]
    groups: list[Group]

    @property
    def capabilities(self) -> set[str]:
        return set(self.head.get("capabilities", "").upper().split())


def load(path: Path) -> Test:
    lines = path.read_text("utf-8").split("\n")
    head: dict[str, str] = {}
    at = 0
    while at < len(lines) and (":" in lines[at] or lines[at].startswith("#")):
        key, _, value = lines[at].partition(":")
        head[key.strip()] = value.strip()
        at += 1
    return Test(path.name, head, _groups(lines, at, int(head.get("connections", "1"))))


def _groups(lines: list[str], at: int, connections: int) -> list[Group]:
    groups: list[Group] = [Group()]
    while at < len(lines):
        number, line = at + 1, lines[at]
        at += 1
        if not line.strip() or line.startswith("#"):
            continue
        while line.rstrip().endswith("{{{"):
            # A literal: up to the line that begins with }}}.
            content = []
            while not lines[at].startswith("}}}"):
                content.append(lines[at])
                at += 1
            octets = "\r\n".join(content)
            begin = line.rstrip()[:-3].removesuffix("~")
            line = f"{begin}{{{len(octets.encode())}}}\r\n{octets}{lines[at][3:]}"
            at += 1
        _line(groups, line, number, connections)
    return [group for group in groups if group.commands]


def _line(groups: list[Group], line: str, number: int, connections: int) -> None:
    if line[:2] in ("* ", "! ", "? "):
        if line[0] != "?":
            groups[-1].expected.append((line[0], line[2:].encode(), number))
        return
    connection = 1
    words = line.split(" ", 1)
    if connections > 1 and words[0].isdigit():
        connection, line = int(words[0]), words[1]
        words = line.split(" ", 1)
    tag = ""
    if re.match(r"tag\d+\Z", words[0]):
        tag, line = words[0], words[1]
        words = line.split(" ", 1)
    group = groups[-1]
    status = words[0] if words[0] in _STATUS else ""
    rest = words[1] if len(words) > 1 else ""
    waiting = [c for c in group.commands if c.connection == connection and not c.status]
    if status and waiting and (tag or rest.startswith("[") or not rest):
        group.tagged.append((connection, tag, line.encode(), number))
        for command in waiting:
            if command.tag == tag:
                command.status = status
        return
    if (not tag and all(command.status for command in group.commands)) or (tag and group.tagged):
        groups.append(Group())
    text = rest if status else line
    groups[-1].commands.append(Sent(connection, tag, status, text, number))


def mbox(path: Path) -> list[tuple[bytes, str]]:
    """(message, date for APPEND) of each."""
    data = path.read_bytes().replace(b"\r\n", b"\n")
    found = []
    starts = list(_FROM.finditer(data))
    for n, match in enumerate(starts):
        end = starts[n + 1].start() if n + 1 < len(starts) else len(data)
        when = _DATE.search(match.group(1).decode())
        assert when, match.group()
        month, day, time, year, zone = when.groups()
        date = f'"{int(day):2}-{month}-{year} {time} {zone or "+0000"}"'
        found.append((data[match.end() + 1 : end].replace(b"\n", b"\r\n"), date))
    return found


# Responses as trees -------------------------------------------------------------------------------


class Atom(bytes):
    """As `bytes`, which stand for strings."""


def tree(octets: bytes) -> list[Any]:
    """Atoms, strings and lists."""
    stack: list[list[Any]] = [[]]
    at = 0
    while at < len(octets):
        match = _TOKEN.match(octets, at)
        if match is None:
            stack[-1].append(Atom(octets[at : at + 1]))
            at += 1
            continue
        at = match.end()
        kind = match.lastgroup
        if kind == "open":
            stack.append([])
        elif kind == "close":
            if len(stack) == 1:
                continue
            done = stack.pop()
            stack[-1].append(done)
        elif kind == "quoted":
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", match.group("quoted")))
        elif kind == "literal":
            size = int(match.group("literal"))
            stack[-1].append(octets[at : at + size])
            at += size
        elif kind == "atom":
            stack[-1].append(Atom(match.group("atom")))
    while len(stack) > 1:
        done = stack.pop()
        stack[-1].append(done)
    return stack[0]


class Player:
    def __init__(self, house: House, test: Test, messages: list[tuple[bytes, str]]) -> None:
        self.house = house
        self.test = test
        self.messages = messages
        self.next_message = 0
        self.variables: dict[str, Any] = {"mailbox": Atom(MAILBOX.encode())}
        self.clients: dict[int, Client] = {}
        self.numbers: dict[int, list[int]] = {}
        self.tags: dict[int, int] = {}

    async def play(self) -> None:
        """Raises Mismatch."""
        state = self.test.head.get("state", "selected")
        for n in range(1, int(self.test.head.get("connections", "1")) + 1):
            client = self.clients[n] = Client(self.house.connect())
            await client.line()
            self.numbers[n] = []
            if state != "nonauth":
                await client.ok(f"LOGIN {ADDRESS} {PASSWORD}")
        if state in ("created", "appended", "selected"):
            await self.clients[1].ok(f"CREATE {MAILBOX}")
        if state in ("appended", "selected"):
            count = self.test.head.get("messages", "0")
            total = len(self.messages) if count == "all" else int(count)
            for _ in range(total):
                await self.clients[1].ok(*self._append(f"append {MAILBOX}"))
        if state == "selected":
            for n, client in self.clients.items():
                lines = await client.ok(f"SELECT {MAILBOX}")
                for line in lines:
                    self._count(n, line)
        for group in self.test.groups:
            await self._group(group)

    def _append(self, text: str) -> tuple[str, bytes]:
        """APPEND without a message: the next one of the mbox."""
        words = text.split(" ", 2)
        box = words[1] if len(words) > 1 else MAILBOX
        rest = f" {words[2]}" if len(words) > 2 else ""
        octets, date = self.messages[self.next_message % len(self.messages)]
        self.next_message += 1
        return f"APPEND {box}{rest} {date}", octets

    async def _group(self, group: Group) -> None:
        before = {n: list(numbers) for n, numbers in self.numbers.items()}
        for n, numbers in self.numbers.items():
            numbers[:] = range(1, len(before[n]) + 1)
        sent: list[tuple[Sent, bytes]] = []
        for command in group.commands:
            client = self.clients[command.connection]
            self.tags[command.connection] = self.tags.get(command.connection, 0) + 1
            tag = b"c%d" % self.tags[command.connection]
            self.variables["tag"] = tag
            text = self._expand(command.text)
            octets = text.encode()
            if text.lower().split(" ")[0] == "append" and "{" not in text:
                head, message = self._append(text)
                octets = head.encode() + b" {%d+}\r\n%b" % (len(message), message)
            client.send(tag + b" " + octets + b"\r\n")
            sent.append((command, tag))
        got: list[tuple[bytes, dict[int, int]]] = []
        for command, tag in sent:
            lines = await self.clients[command.connection].until(tag)
            for line in lines[:-1]:
                numbers = self.numbers[command.connection]
                got.append((line, dict(enumerate(numbers, 1))))
                self._count(command.connection, line)
            self._check_tagged(group, command, lines[-1])
        self._check_untagged(group, got)

    def _count(self, connection: int, line: bytes) -> None:
        numbers = self.numbers[connection]
        words = line.split(b" ")
        if len(words) > 2 and words[2].upper() == b"EXPUNGE":
            del numbers[int(words[1]) - 1]
        elif len(words) > 2 and words[2].upper() == b"EXISTS":
            count = int(words[1])
            highest = max(numbers, default=0)
            numbers.extend(range(highest + 1, highest + 1 + count - len(numbers)))
            del numbers[count:]

    def _expand(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            name = match.group(1) or match.group(2) or ""
            if match.group() == "$$":
                return "$"
            found = self.variables.get(name)
            if found is None:
                raise Mismatch(f"{self.test.name}: ${name} is not known yet")
            return found.decode()

        return re.sub(r"\$\$|\$\{(\w+)\}|\$(\w+)", value, text)

    # Comparing --------------------------------------------------------------------------------

    def _check_tagged(self, group: Group, command: Sent, line: bytes) -> None:
        where = f"{self.test.name}:{command.line}: {command.text!r}"
        if command.status not in ('""', "") and line.split(b" ")[0].lower() != (
            command.status.encode()
        ):
            raise Mismatch(f"{where}: expected {command.status}, got {line!r}")
        for connection, tag, expected, number in group.tagged:
            mine = (connection, tag) == (command.connection, command.tag)
            if mine and not self._same(tree(expected), tree(line), {}, prefix=True):
                raise Mismatch(f"{self.test.name}:{number}: {expected!r}, got {line!r}")

    def _check_untagged(self, group: Group, got: list[tuple[bytes, dict[int, int]]]) -> None:
        left = list(got)
        for sign, expected, number in group.expected:
            pattern = tree(expected)
            for n, (line, numbers) in enumerate(left):
                kept = dict(self.variables)
                if self._same(pattern, tree(line[2:]), numbers, prefix=True):
                    if sign == "!":
                        raise Mismatch(f"{self.test.name}:{number}: must not come: {line!r}")
                    # One response may say what two lines ask for; an EXPUNGE is one alone.
                    if line.upper().endswith(b"EXPUNGE"):
                        del left[n]
                    break
                self.variables = kept
            else:
                if sign == "*":
                    raise Mismatch(
                        f"{self.test.name}:{number}: expected {expected!r}, got"
                        f" {[line for line, _ in got]!r}"
                    )

    def _same(
        self, expected: list[Any], got: list[Any], numbers: dict[int, int], *, prefix: bool
    ) -> bool:
        if len(expected) > len(got) or (not prefix and len(expected) != len(got)):
            return False
        words = [e.lower() if isinstance(e, Atom) else b"" for e in expected]
        for n, (e, g) in enumerate(zip(expected, got, strict=False)):
            if isinstance(e, list) and isinstance(g, list):
                if (n == 2 and words[1] == b"fetch") or words[0] == b"status":
                    fits = self._pairs(e, g, numbers)
                elif words[0] in (b"list", b"lsub") and n == 1:
                    fits = self._subset(e, g)
                elif n and words[n - 1] in (b"flags", b"permanentflags"):
                    fits = self._flags(e, g)
                else:
                    fits = self._same(e, g, numbers, prefix=False)
            elif n == 0 and isinstance(e, Atom) and re.match(rb"\$\d+\Z", e):
                fits = numbers.get(int(g)) == int(e[1:]) if g.isdigit() else False
            else:
                fits = self._one(e, g)
            if not fits:
                return False
        return True

    def _pairs(self, expected: list[Any], got: list[Any], numbers: dict[int, int]) -> bool:
        have = {bytes(got[n]).lower(): got[n + 1] for n in range(0, len(got) - 1, 2)}
        for n in range(0, len(expected) - 1, 2):
            key = bytes(expected[n]).lower()
            if key not in have:
                return False
            e, g = expected[n + 1], have[key]
            if isinstance(e, list):
                if not isinstance(g, list):
                    return False
                if not (
                    self._flags(e, g)
                    if key == b"flags"
                    else self._same(e, g, numbers, prefix=False)
                ):
                    return False
            elif not self._one(e, g):
                return False
        return True

    def _flags(self, expected: list[Any], got: list[Any]) -> bool:
        want = {self._expand(e.decode()).lower() for e in expected}
        have = {g.decode().lower() for g in got}
        return want <= have and have - want <= {"\\recent"}

    def _subset(self, expected: list[Any], got: list[Any]) -> bool:
        return {bytes(e).lower() for e in expected} <= {bytes(g).lower() for g in got}

    def _one(self, e: Any, g: Any) -> bool:
        if isinstance(e, Atom):
            if e.startswith(b"[") or b"[" in e:
                if isinstance(g, list):
                    return False
                return self._same(tree(_opened(e)), tree(_opened(g)), {}, prefix=True)
            if re.fullmatch(rb"\$\{?[A-Za-z]\w*\}?", e):
                name = e.strip(b"${}").decode()
                if name in self.variables:
                    return _plain(self.variables[name]) == _plain(g)
                self.variables[name] = g
                return True
            try:
                e = self._expand(e.decode()).encode()
            except Mismatch:
                return False
        if isinstance(e, list) or isinstance(g, list):
            return False
        # A script's lines end in LF: a piece that was cut between CR and LF has a CR of its own.
        return bytes(e).lower().replace(b"\r", b"") == bytes(g).lower().replace(b"\r", b"")


def _opened(code: bytes) -> bytes:
    """[CODE a b] as words."""
    return bytes(code).replace(b"[", b" ").replace(b"]", b" ")


def _plain(value: Any) -> Any:
    return value if isinstance(value, list) else bytes(value).lower()
