"""Clients that send as fast as they are answered, and write down every 250 they read.

A message without an answer is sent again, as a real client would, until it has one. What a client
knows is all that counts as accepted: nothing here asks the server under test.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tests.crash.sink import text_digest
from tests.support.smtp_raw import Gone, Raw

LARGE_OCTETS = 320 * 1024  # more than what is kept in the database: a file
LARGE = 0.03  # probability, a message


@dataclass(slots=True)
class Letter:
    """One message. unanswered: times its final dot was sent and no reply was read.

    answer: the receipt that was read, "" before.
    """

    mark: str
    sender: str
    recipients: Sequence[str]
    data: bytes
    digest: bytes
    unanswered: int = 0
    answer: str = ""


@dataclass(slots=True)
class Client:
    """One person's program. password: on submission; "" on port 25. patient: a temporary refusal is
    no wonder, and is answered by trying again; one after the final dot tells nothing of what became
    of the message. large: probability of a large message."""

    name: str
    port: int
    dice: random.Random
    addresses: Sequence[str]
    sender: str
    step: Callable[[], None]
    password: str = ""
    patient: bool = False
    large: float = LARGE
    letters: list[Letter] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    refused: int = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Until the server is gone, or `stopping` is set and nothing is left to be sent again."""
        with suppress(Gone):
            async with await Raw.open(self.port) as raw:
                await self._greet(raw)
                while not (stopping.is_set() and self._answered()):
                    await self._send(raw, self._next())

    def _answered(self) -> bool:
        return not self.letters or bool(self.letters[-1].answer)

    def _next(self) -> Letter:
        """The last one again while it has no answer, else another."""
        if self._answered():
            self.letters.append(self._write())
        return self.letters[-1]

    def _write(self) -> Letter:
        mark = f"{self.name}.{len(self.letters)}"
        count = self.dice.choice((1, 1, 2, 3))
        recipients = self.dice.sample(list(self.addresses), min(count, len(self.addresses)))
        size = LARGE_OCTETS if self.dice.random() < self.large else self.dice.randrange(10, 8000)
        text = base64.encodebytes(self.dice.randbytes(size * 3 // 4)).replace(b"\n", b"\r\n")
        data = (
            f"From: <{self.sender}>\r\nTo: <{'>, <'.join(recipients)}>\r\nSubject: {mark}\r\n"
            f"Message-ID: <{mark}@load.example>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\n"
        ).encode() + text
        return Letter(mark, self.sender, recipients, data, text_digest(data))

    async def _greet(self, raw: Raw) -> None:
        self._expect("220", await raw.reply())
        self._expect("250", await raw.say(f"EHLO {self.name}.load.example"))
        if self.password:
            plain = base64.b64encode(f"\0{self.sender}\0{self.password}".encode()).decode()
            self._expect("235", await raw.say(f"AUTH PLAIN {plain}"))

    async def _send(self, raw: Raw, letter: Letter) -> None:
        self._expect("250", await raw.say(f"MAIL FROM:<{letter.sender}> SIZE={len(letter.data)}"))
        for recipient in letter.recipients:
            self._expect("250", await raw.say(f"RCPT TO:<{recipient}>"))
        self._expect("354", await raw.say("DATA"))
        letter.unanswered += 1
        await raw.send(letter.data + b".\r\n")
        answer = await raw.reply()
        if not (self.patient and answer.startswith("4")):
            letter.unanswered -= 1
        self._expect("250", answer)
        if answer.startswith("250"):
            letter.answer = answer

    def _expect(self, code: str, reply: str) -> None:
        self.step()
        if self.patient and reply.startswith("4"):
            self.refused += 1
            raise Gone
        if not reply.startswith(code):
            self.strange.append(f"{self.name}: {code} expected, {reply!r} read")
            raise Gone
