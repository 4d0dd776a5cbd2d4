"""adapter: plays the server's part of a dialogue with a whole installation in virtual time.

Its people and aliases stand in tests/support/whole.py; the client is 198.51.100.7. Directives:

    [profile role=mx|submission|submissions|lmtp from=ADDRESS NAME=VALUE ...]
                    at the top; NAME is a setting of [smtp] or [submission]
    [tls]           the handshake, after 220 or, for submissions, at the start
    [wait N]        N seconds pass
    [last]          what the client sends next is its last: its side of the stream ends behind it
    [close]         the client closes its side and goes on reading; [cut] resets the connection
    [closed]        the server has ended the connection
    [again]         the client connects anew, with the same address
    [store WORD]    from now on the store: full, unavailable, unreadable, well
    [remove PERSON] [disable PERSON]    the account goes, or is disabled
    [drain]         the server is asked to stop
    [show PERSON]   at the end the E lines hold PERSON's INBOX, a line each, as `PERSON: line`

E lines tell of the ledger, in order: `origin <reverse-path> recipient fate`, then of what [show]
asked for. Queue ids read `ID`, dates `DATE`, names made by us `<MADE@mx.example>`.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from tests.dialogue.script import Directive, Script
from tests.support.whole import CLIENT, Whole, whole

from estafeta.sim.loop import VirtualLoop
from estafeta.sim.stream import SimStream
from estafeta.sim.tls import SimClientTls
from estafeta.store import accounts
from estafeta.store.engine import StoreError, StoreFull

SETTLED_SECONDS = 0.3
"""Longer than an exchange on the simulated net, shorter than anything that times out."""

_ID = re.compile(rb"\b(id|queue id) [0-9A-Z]{8,}")
_DATE = re.compile(rb"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000")
_MADE = re.compile(rb"<E1\.[0-9A-Z]{13}\.[0-9A-Z]{26}@mx\.example>")
_FAULTS = {
    "full": (StoreFull("no space"), None),
    "unavailable": (StoreError("busy"), None),
    "unreadable": (StoreError("busy"), StoreError("busy")),
    "well": (None, None),
}


class ServerAdapter:
    """Implements `script.Adapter`. To be closed."""

    def __init__(self, script: Script) -> None:
        said: dict[str, Any] = dict(pair.split("=", 1) for pair in script.setting.split())
        self._listener = said.pop("role", "mx")
        self._source = said.pop("from", CLIENT)
        settings = {name: _value(value) for name, value in said.items()}
        self._runner = asyncio.Runner(loop_factory=VirtualLoop)
        self._context = whole(queue=False, **settings)
        self._shown: list[str] = []
        self._draining: asyncio.Task[None] | None = None
        self._out = b""
        self._ended = False
        self._last = False
        self.house: Whole
        self.stream: SimStream
        self.house, self._net = self._run(self._context.__aenter__())
        first = script.first_directives
        for directive in first:
            if directive.word not in ("profile", "tls", "wait", "closed"):
                self.do(directive)
        self._connect()
        for directive in first:
            if directive.word in ("tls", "wait", "closed"):
                self.do(directive)

    def close(self) -> None:
        try:
            self.stream.abort()
            self._run(self._context.__aexit__(None, None, None))
        finally:
            self._runner.close()

    def feed(self, data: bytes) -> None:
        self.stream.write(data)
        if self._last:
            self.stream.half_close()
        self._settle()

    def output(self) -> bytes:
        self._settle()
        out, self._out = self._out, b""
        return _ID.sub(rb"\1 ID", out)

    def do(self, directive: Directive) -> None:
        word, given = directive.word, directive.arguments
        if word == "tls":
            self._run(self._tls())
        elif word == "wait":
            self._run(self._listen(float(given)))
        elif word == "close":
            self.stream.half_close()
        elif word == "last":
            self._last = True
        elif word == "cut":
            self.stream.abort()
            self._settle()
        elif word == "closed":
            self._settle()
            assert self._ended, f"line {directive.line}: still open"
        elif word == "again":
            self._connect()
        elif word == "store":
            self.house.store.failing, self.house.store.failing_reads = _FAULTS[given]
        elif word in ("remove", "disable"):
            self._run(self._account(word, self.house.accounts[given].id))
        elif word == "drain":
            self._run(self.house.built.doors.drain())
        elif word == "show":
            self._shown.append(given)
        else:
            assert word == "profile", f"line {directive.line}: {word}?"

    def told(self) -> list[str]:
        lines = list(self._run(self.house.ledger()))
        for person in self._shown:
            for content in self._run(self.house.inbox(person)):
                plain = _MADE.sub(b"<MADE@mx.example>", _DATE.sub(b"DATE", content))
                assert plain.endswith(b"\r\n")
                for line in _ID.sub(rb"\1 ID", plain)[:-2].split(b"\r\n"):
                    lines.append(f"{person}: {line.decode('utf-8', 'backslashreplace')}")
        self._run(self.house.balanced())
        return lines

    # -- inside --------------------------------------------------------------------------------

    def _run(self, work: Any) -> Any:
        return self._runner.run(work)

    def _connect(self) -> None:
        self._ended = self._last = False
        connecting = self.house.connect(self._net, self._listener, self._source)
        self.stream = self._run(connecting)
        self._settle()

    def _settle(self) -> None:
        self._run(self._listen(SETTLED_SECONDS))

    async def _listen(self, seconds: float) -> None:
        """Takes what the server says in the next `seconds`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not self._ended:
            try:
                async with asyncio.timeout_at(end):
                    data = await self.stream.read()
            except TimeoutError:
                return
            except ConnectionError:
                data = b""
            self._out += data
            self._ended = not data
        await asyncio.sleep(max(0.0, end - loop.time()))

    async def _tls(self) -> None:
        await self.stream.start_tls(SimClientTls(verify=True), server_name="mx.example")

    async def _account(self, word: str, id: int) -> None:
        if word == "remove":
            await self.house.store.run(lambda tx: accounts.remove_account(tx, id))
        else:
            await self.house.store.run(lambda tx: accounts.set_account(tx, id, disabled=True))


def _value(text: str) -> Any:
    if text in ("yes", "no"):
        return text == "yes"
    if "/" in text:
        return text.split(",")
    return float(text) if "." in text else int(text)
