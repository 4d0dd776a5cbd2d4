"""Show: the demo on a terminal: where everything listens, the tour as it happens, what to do next.

What others said is printed in cyan, word for word, and folded at the terminal's width.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from estafeta.explain.words import say
from estafeta.office.commands.common import clean
from estafeta.sim.demo.internet import Internet
from estafeta.sim.demo.letters import Letter
from estafeta.sim.demo.places import ANA, DNS_ADDRESS, PASSWORD, PLACES, SUDOMINIO, Ports
from estafeta.sim.demo.scene import Row, Scene

WIDTH_MAX = 120
"""Lines longer than that are hard to read."""

WORDS = "cyan"
TIME_CHARACTERS = len("12:34:56.789")
MARGIN = len("✓ 1 12:34:56.789 ")
NEW_LINE = "\n"
HEADING_MARGIN = len("A ·  ──")


class Screen(Console):
    """A console whose reader may go away (`| head`): that is an error like any other."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def make_console() -> Console:
    """As wide as the terminal, within reason; colours only on a terminal."""
    console = Screen(highlight=False)
    if console.width > WIDTH_MAX:
        console.width = WIDTH_MAX
    return console


class Show:
    """Prints. language: of what is said."""

    def __init__(self, console: Console, language: str) -> None:
        self.console = console
        self._language = language
        self._letter = ""

    def say(self, key: str, **values: object) -> str:
        return say(f"tour.{key}", self._language, **values)

    # -- before the tour -----------------------------------------------------------------------

    def starting(self) -> AbstractContextManager[object]:
        """Says so while it lasts; on a pipe nothing."""
        return self.console.status(Text(self.say("starting")))

    def opening(self, internet: Internet) -> None:
        """Where everything listens, who lives there."""
        self._heading(self.say("heading"))
        self._print(Text(self.say("heading-text")))
        for place in PLACES:
            self.console.print()
            self._print(Text.assemble((place.domain, "bold"), f"  {place.host}  {place.address}"))
            for person in place.people:
                self._print(Text.assemble(f"  {person.name}  ", (person.address, WORDS)))
        self.console.print()
        grid = Table.grid(padding=(0, 2))
        for service, ports in _services(internet.ports):
            grid.add_row(Text(service, "bold"), Text(ports))
        self.console.print(grid)
        self.console.print()
        for key, values in (
            ("password", {"password": PASSWORD}),
            ("folder", {"folder": internet.folder}),
            ("authority", {"file": internet.authority}),
        ):
            self._print(Text(self.say(key, **values)))
        now = datetime.fromtimestamp(internet.world.clock.now()).astimezone()
        self._print(Text(self.say("times", date=f"{now:%Y-%m-%d}", zone=f"{now:%Z}")))

    # -- the tour ------------------------------------------------------------------------------

    def scene(self, letter: Letter, scene: Scene) -> None:
        if letter.name != self._letter:
            self._letter = letter.name
            way = self.say(
                "way",
                sender=f"{letter.sender.name} <{letter.sender.address}>",
                recipient=f"<{letter.to}>",
            )
            if len(way) + HEADING_MARGIN > self.console.width:
                way = f"{letter.sender.given_name} → {letter.to}"
            self._heading(f"{letter.name} · {way}")
        text = Text()
        text.append(scene.title, "bold" if scene.needed else "dim")
        if scene.where:
            fits = len(scene.title) + len(scene.where) + 2 + MARGIN <= self.console.width
            text.append(f"{'  ' if fits else NEW_LINE}{clean(scene.where)}", "dim")
        if scene.needed or not scene.row.ok:
            for line in scene.lines:
                text.append(f"\n{clean(line)}", WORDS)
        self._failed(text, scene.row)
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=1)
        grid.add_column(width=1)
        grid.add_column(width=TIME_CHARACTERS, no_wrap=True)
        grid.add_column(overflow="fold")
        mark = _mark(scene.row.ok, scene.needed)
        grid.add_row(mark, str(scene.number), Text(_time(scene), "dim"), text)
        self.console.print(grid)

    def bounce(self, name: str, text: str) -> None:
        """The report that came back, as its reader sees it."""
        self.console.print()
        body = Text("\n".join(clean(line) for line in text.strip().splitlines()))
        panel = Panel(
            body,
            title=self.say("bounce-heading", name=name),
            title_align="left",
            border_style="yellow",
            width=min(self.console.width, 84),
        )
        self.console.print(panel)

    # -- what does not arrive ------------------------------------------------------------------

    def chapter(self, section: str) -> None:
        """section: of the texts, "trouble" or "reception"."""
        self._heading(say(f"{section}.heading", self._language))
        self._print(Text(say(f"{section}.heading-text", self._language)))
        self.console.print()

    def waiting(self, section: str) -> AbstractContextManager[object]:
        """Says so while it lasts; on a pipe nothing."""
        return self.console.status(Text(say(f"{section}.waiting", self._language)))

    def case(self, section: str, name: str, recipient: str, row: Row) -> None:
        """One row of a chapter."""
        text = Text(say(f"{section}.{name}-title", self._language), "bold")
        text.append(f"  {recipient}", "dim")
        for line in row.seen.split("; "):
            text.append(f"\n{clean(line)}", WORDS)
        for line in row.explanation.strip().splitlines():
            text.append(f"\n{clean(line)}")
        self._failed(text, row)
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=1)
        grid.add_column(overflow="fold")
        grid.add_row(_mark(row.ok, True), text)
        self.console.print(grid)

    def ledger(self, rows: list[Row]) -> None:
        self._heading(self.say("ledger-heading"))
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=1)
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for row in rows:
            text = Text(clean(row.seen), WORDS)
            self._failed(text, row)
            grid.add_row(_mark(row.ok, True), Text(row.step, "bold"), text)
        self.console.print(grid)

    def summary(self, steps: int, failed: int, seconds: float) -> None:
        """steps: seen from outside. failed: of those and of what the installations say."""
        self.console.print()
        if failed:
            self._print(Text(f"✗ {self.say('summary-failed', failed=failed)}", "bold red"))
        else:
            text = self.say("summary", count=steps, seconds=f"{seconds:.1f}")
            self._print(Text(f"✓ {text}", "bold green"))

    def _failed(self, text: Text, row: Row) -> None:
        if not row.ok:
            text.append("\n" + self.say("failed", expected=row.expected), "red")

    # -- after the tour ------------------------------------------------------------------------

    def closing(self, internet: Internet, queue_id: str) -> None:
        """How to point a mail client at it, and what to ask."""
        self._heading(self.say("clients-heading"))
        for title, lines in self._hints(internet, queue_id):
            self._print(Text(title))
            for line in lines:
                # Not folded by us: a command must be fit to be copied.
                text = Text(f"    {line}", WORDS)
                self.console.print(text, soft_wrap=True)
        self.console.print()
        self._print(Text(self.say("running"), "bold"))

    def _hints(self, internet: Internet, queue_id: str) -> Iterator[tuple[str, list[str]]]:
        place, ports = SUDOMINIO, internet.ports
        config = internet.installed[place.domain].config
        yield (
            self.say("client-mutt", name=ANA.name),
            [f"mutt -F {internet.mutt_file(ANA)}"],
        )
        yield (
            self.say("client-thunderbird", address=ANA.address),
            [
                str(internet.authority),
                self.say("client-thunderbird-in", host=place.address, port=ports.imaps),
                self.say("client-thunderbird-out", host=place.address, port=ports.submissions),
            ],
        )
        yield (
            self.say("client-curl", name=ANA.name),
            [
                f"curl --cacert {internet.authority} -u {ANA.address}:{PASSWORD} "
                f"'imaps://{place.address}:{ports.imaps}/INBOX;MAILINDEX=*'"
            ],
        )
        yield self.say("client-trace"), [f"{program()} trace {queue_id} -c {config}"]
        yield self.say("client-audit"), [f"{program()} audit --full -c {config}"]
        yield self.say("client-metrics"), [f"http://{place.address}:{ports.http}/metrics"]

    def stopping(self) -> None:
        self.console.print()
        self._print(Text(self.say("stopping"), "dim"))

    def _heading(self, text: str) -> None:
        self.console.print()
        self.console.print(Rule(Text(clean(text), "bold"), align="left", style="blue"))

    def _print(self, text: Text) -> None:
        self.console.print(text)


def _services(ports: Ports) -> list[tuple[str, str]]:
    """What listens where; the same on both places' addresses."""
    return [
        ("SMTP", f"{ports.smtp}"),
        ("Submission", f"{ports.submissions} TLS · {ports.submission} STARTTLS"),
        ("IMAP", f"{ports.imaps} TLS · {ports.imap} STARTTLS"),
        ("POP3", f"{ports.pop3s} TLS · {ports.pop3} STARTTLS"),
        ("HTTP", f"{ports.http} /healthz /metrics"),
        ("DNS", f"{ports.dns} UDP, TCP · {DNS_ADDRESS}"),
    ]


def program() -> str:
    """How this program is called from here."""
    called = Path(sys.argv[0])
    if shutil.which(called.name) == str(called):
        return called.name
    return os.path.relpath(called) if called.is_absolute() else str(called)


def _mark(ok: bool, needed: bool) -> Text:
    if not ok:
        return Text("✗", "bold red")
    return Text("✓", "green") if needed else Text("·", "dim")


def _time(scene: Scene) -> str:
    """The time of day here, as far as it is known."""
    if not scene.at:
        return ""
    at = datetime.fromtimestamp(scene.at).astimezone()
    shown = at.strftime("%H:%M:%S")
    return f"{shown}.{at.microsecond // 1000:03}" if scene.exact else shown
