"""Tour: real messages both ways, and each of the seven steps as it was seen from outside.

Outside is: the client's SMTP transcript, the questions the DNS server was asked, what a stranger is
told on port 25, and the message as IMAP gives it. The ledger's own words stand beside, never instead.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator
from email.message import EmailMessage
from email.utils import make_msgid

import msgspec

from estafeta.explain.words import say
from estafeta.sim.demo import clients
from estafeta.sim.demo.internet import Internet
from estafeta.sim.demo.letters import Letter
from estafeta.sim.demo.places import PASSWORD, PLACES, Person, Place


class Row(msgspec.Struct, frozen=True):
    """One step of one letter. expected, seen: in words; at: seconds since the tour began."""

    step: str
    expected: str
    seen: str
    ok: bool
    at: float = 0.0


class Tour:
    """Runs the letters one after the other. language: of what is expected and seen."""

    def __init__(self, internet: Internet, language: str) -> None:
        self._internet = internet
        self._language = language
        self._began = time.monotonic()

    async def rows(self, letters: list[Letter]) -> AsyncIterator[Row]:
        for letter in letters:
            walk = self._bounce(letter) if letter.bounces else self._delivery(letter)
            async for row in walk:
                yield row

    def _row(self, letter: Letter, step: int, seen: str, ok: bool, **values: object) -> Row:
        kind = "bounce" if letter.bounces and step > 4 else "step"
        return Row(
            f"{letter.name}.{step}",
            say(f"tour.{kind}-{step}", self._language, **values),
            " ".join(seen.split()) or say("tour.nothing", self._language),
            ok,
            round(time.monotonic() - self._began, 3),
        )

    # -- steps 1 to 4 are the same for a letter that arrives and one that returns ---------------

    async def _delivery(self, letter: Letter) -> AsyncIterator[Row]:
        sent = Sent(letter)
        async for row in self._until_sent(letter, sent):
            yield row
        place = place_of(letter.to)
        mailbox = await self._mailbox(letter.to)
        try:
            got = await asyncio.to_thread(mailbox.wait_for, "Message-ID", sent.message_id)
        finally:
            await asyncio.to_thread(mailbox.close)
        yield await self._transfer(letter, sent, got, place)
        stranger = await asyncio.to_thread(
            clients.ask_recipient,
            *(place.address, self._internet.ports.smtp, "stranger.example"),
            f"nobody-here@{place.domain}",
        )
        delivered_to = str(got.message["Delivered-To"]) if got else ""
        yield self._row(
            letter,
            6,
            f"Delivered-To: {delivered_to}; nobody-here@: {stranger}",
            delivered_to == letter.to.address and stranger.startswith("550 5.1.1"),
            recipient=letter.to.address,
        )
        same = got is not None and body_hash(got.message) == body_hash(sent.message)
        where = f"INBOX UID {got.uid}, {len(got.raw)} octets" if got else ""
        yield self._row(letter, 7, where, same, recipient=letter.to.address)

    async def _bounce(self, letter: Letter) -> AsyncIterator[Row]:
        sent = Sent(letter)
        async for row in self._until_sent(letter, sent):
            yield row
        mailbox = await self._mailbox(letter.sender)
        try:
            got = await asyncio.to_thread(mailbox.wait_for, "In-Reply-To", sent.message_id)
        finally:
            await asyncio.to_thread(mailbox.close)
        report = got.message if got else EmailMessage()
        status = next(
            (part.as_string() for part in report.walk() if part.get_content_type() == "message/delivery-status"),
            "",
        )
        diagnostic = re.search(r"Diagnostic-Code: smtp; *(.*(?:\n[ \t].*)*)", status)
        reply = diagnostic[1] if diagnostic else ""
        yield self._row(letter, 5, reply, reply.startswith("550"), host=place_of_address(letter.to.address).host)
        yield self._row(
            letter,
            6,
            f"{report.get_content_type()}, Return-Path: {report['Return-Path']}",
            report.get_content_type() == "multipart/report" and report["Return-Path"] == "<>",
            recipient=letter.to.address,
        )
        words = report.get_body(("plain",)) if report.is_multipart() else None
        text = words.get_content() if words else ""
        yield self._row(
            letter,
            7,
            text,
            say("tour.bounce-word", place_of(letter.sender).language) in text,
            sender=letter.sender.address,
        )

    async def _until_sent(self, letter: Letter, sent: Sent) -> AsyncIterator[Row]:
        place, ports = place_of(letter.sender), self._internet.ports
        message = sent.message
        yield self._row(
            letter,
            1,
            f"{message.get_content_type()}, {message['Message-ID']}, «{message['Subject']}»",
            message["Message-ID"] is not None and message["MIME-Version"] == "1.0",
            sender=letter.sender.address,
            recipient=letter.to.address,
        )
        self._internet.dns.log.clear()
        login = (letter.sender.address, PASSWORD)
        transcript = await asyncio.to_thread(
            clients.submit,
            *(place.address, ports.submission, place.host, self._internet.authority, login),
            message,
        )
        accepted = transcript.reply(250)
        found = re.search(r"queue id ([0-9A-Z]{13})", accepted)
        sent.queue_id = found[1] if found else ""
        yield self._row(
            letter,
            2,
            f"{transcript.reply(220)} | {transcript.reply(235)} | {transcript.reply(354)} | {accepted}",
            bool(transcript.reply(235)) and bool(found),
            host=f"{place.host} [{place.address}]:{ports.submission}",
        )
        forged = await asyncio.to_thread(
            clients.ask_sender,
            *(place.address, ports.submission, place.host, self._internet.authority, login),
            letter.forged_sender,
        )
        journey = await self._journey(place, sent.queue_id)
        yield self._row(
            letter,
            3,
            f"MAIL FROM:<{letter.forged_sender}>: {forged}; "
            f"{journey.get('queue_id', '')} {journey.get('at', '')}",
            forged.startswith("553 5.7.1") and journey.get("queue_id") == sent.queue_id,
            sender=letter.sender.address,
        )
        yield await self._asked(letter)

    async def _asked(self, letter: Letter) -> Row:
        """Step 4: what the DNS server was asked, and what it answered."""
        place = place_of_address(letter.to.address)
        if place is place_of(letter.sender):
            asked = [q for q in self._internet.dns.log if q.name == place.domain]
            return self._row(letter, 4, "", not asked, domain=place.domain)
        return self._row(letter, 4, "", False, domain=place.domain)

    async def _transfer(
        self, letter: Letter, sent: Sent, got: clients.Fetched | None, place: Place
    ) -> Row:
        raise NotImplementedError

    async def _mailbox(self, person: Person) -> clients.Mailbox:
        place = place_of(person)
        return await asyncio.to_thread(
            clients.Mailbox,
            *(place.address, self._internet.ports.imaps, self._internet.authority),
            (person.address, PASSWORD),
        )

    async def _journey(self, place: Place, queue_id: str) -> dict[str, object]:
        config = self._internet.running[place.domain].config
        shown = await self._internet.command(config, "trace", queue_id, "--json")
        return dict(json.loads(shown)[0])
