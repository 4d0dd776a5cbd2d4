"""Tour: real messages both ways, and each of the seven steps as it was seen from outside.

Here it is done: who writes, who waits, who asks; `evidence` judges what was seen.
"""

from __future__ import annotations

import asyncio
import imaplib
import smtplib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from estafeta.mail.header import new_message_id
from estafeta.sim.demo import clients
from estafeta.sim.demo.evidence import Evidence, forged_sender
from estafeta.sim.demo.internet import Internet
from estafeta.sim.demo.ledger import ask_ledgers
from estafeta.sim.demo.letters import LETTERS, Letter, compose
from estafeta.sim.demo.places import PASSWORD, place_of
from estafeta.sim.demo.scene import STEPS, Row, Scene, make_scene

CLIENT_ERRORS = (OSError, imaplib.IMAP4.error, smtplib.SMTPException)
"""What the standard library's clients raise where a server does not play its part."""


@dataclass(slots=True)
class Tour:
    """Runs the letters one after the other. language: of what is said about them."""

    internet: Internet
    language: str
    letters: list[Evidence] = field(default_factory=list)

    async def scenes(self) -> AsyncIterator[tuple[Letter, Scene]]:
        """Seven of each letter. Where a server cannot be talked to, the steps left have failed."""
        for letter in LETTERS:
            number = 0
            try:
                async for scene in self._letter(letter):
                    number = scene.number
                    yield letter, scene
            except CLIENT_ERRORS as error:
                words = [f"{type(error).__name__}: {error}"]
                for left in range(number + 1, len(STEPS) + 1):
                    yield letter, make_scene(letter, self.language, left, False, words)

    async def ledger(self) -> list[Row]:
        """What the installations themselves say, a row a letter and one an installation."""
        return await ask_ledgers(self.internet, self.letters, self.language)

    async def _letter(self, letter: Letter) -> AsyncIterator[Scene]:
        world = self.internet.world
        returned = letter.kind == "returned"
        mailbox = await self._mailbox(letter.sender.address if returned else letter.to)
        try:
            message_id = new_message_id(world.dice.randbytes(12), "laptop.example")
            seen = self._evidence(letter, message_id)
            yield seen.written(world.clock.now())
            if letter.kind != "local":
                await asyncio.to_thread(mailbox.idle)
            yield seen.submitted(await self._submit(seen))
            got = None
            if seen.queue_id:
                name = "In-Reply-To" if returned else "Message-ID"
                got = await asyncio.to_thread(mailbox.wait_for, name, message_id)
        finally:
            await asyncio.to_thread(mailbox.close)
        strangers = await self._ask_recipients(letter)
        seen.asked = tuple(self.internet.dns.log)
        for scene in (seen.came_back if returned else seen.arrived)(got, strangers):
            yield scene

    def _evidence(self, letter: Letter, message_id: str) -> Evidence:
        loop, clock = asyncio.get_running_loop(), self.internet.world.clock
        seen = Evidence(
            letter,
            self.language,
            self.internet.ports,
            compose(letter, message_id),
            clients.Transcript(clock),
            asked_before=len(self.internet.dns.log),
            brief=bool(self.letters),
            wall=lambda at: clock.now() - (loop.time() - at),
        )
        self.letters.append(seen)
        return seen

    async def _submit(self, seen: Evidence) -> clients.Transcript:
        letter, place = seen.letter, seen.letter.origin
        return await asyncio.to_thread(
            clients.submit,
            *(place.address, self.internet.ports.submission, self.internet.authority),
            self.internet.world.clock,
            login=(letter.sender.address, PASSWORD),
            recipient=letter.to,
            message=seen.raw,
            forged=forged_sender(place),
        )

    async def _mailbox(self, address: str) -> clients.Mailbox:
        return await asyncio.to_thread(
            clients.Mailbox,
            *(place_of(address).address, self.internet.ports.imaps, self.internet.authority),
            *(self.internet.world.clock, (address, PASSWORD)),
        )

    async def _ask_recipients(self, letter: Letter) -> tuple[str, str]:
        """What the recipient's server answers to the letter's recipient and to nobody's name."""
        first, second = await asyncio.to_thread(
            clients.ask_recipients,
            *(letter.destination.address, self.internet.ports.smtp, self.internet.world.clock),
            (letter.to, letter.stranger),
        )
        return first, second
