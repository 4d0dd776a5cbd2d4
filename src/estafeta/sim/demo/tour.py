"""Tour: real messages both ways, and each of the seven steps as it was seen from outside.

Outside is: the client's SMTP dialogue, the questions the DNS server was asked, what a stranger is
told at the recipient's server, and the message as IMAP gives it. What the installations say of
themselves (`estafeta trace`, `estafeta audit`) comes after it, in rows of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import imaplib
import json
import re
import smtplib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from estafeta.explain.words import say
from estafeta.mail.header import new_message_id
from estafeta.sim.demo import clients
from estafeta.sim.demo.internet import DemoError, Internet
from estafeta.sim.demo.letters import LETTERS, Letter, body_of, compose, parse
from estafeta.sim.demo.places import DNS_ADDRESS, PASSWORD, PLACES, Place, place_of

STEPS = ("write", "submission", "queue", "dns", "smtp", "account", "mailbox")
TRACE_ROWS = "50"
CLIENT_ERRORS = (OSError, imaplib.IMAP4.error, smtplib.SMTPException)
HASH_CHARACTERS = 16
"""Of a hash, as many as a person compares."""


class Row(msgspec.Struct, frozen=True):
    """One step. step: such as "A.4 dns". expected: in words. seen: the words of the other side."""

    step: str
    expected: str
    seen: str
    ok: bool


class Scene(msgspec.Struct, frozen=True):
    """A row as it is shown. number: 1 to 7. at: seconds since 1970, 0 where it took no time; exact:
    to the millisecond. where: the servers. lines: the gist of what was seen. needed: False for a
    step that this letter does without."""

    row: Row
    number: int
    title: str
    where: str
    lines: tuple[str, ...]
    at: float = 0.0
    exact: bool = True
    needed: bool = True


@dataclass(slots=True)
class Sent:
    """What is known of a letter under way."""

    letter: Letter
    raw: bytes
    message_id: str
    transcript: clients.Transcript
    queue_id: str
    accepted_at: float
    asked_from: int
    """Questions the DNS server had been asked before."""


@dataclass(slots=True)
class Tour:
    """Runs the letters one after the other. language: of what is said about them."""

    internet: Internet
    language: str
    sent: list[Sent] = field(default_factory=list)
    relay_ids: dict[str, str] = field(default_factory=dict)
    """Letter -> queue id at the other server, as its Received field tells."""
    bounce_text: str = ""
    """The words of the report that came back."""

    async def scenes(self) -> AsyncIterator[tuple[Letter, Scene]]:
        """Seven of each letter. Where a server cannot be talked to, the steps left have failed."""
        for letter in LETTERS:
            number = 0
            try:
                async for scene in self._letter(letter):
                    number = scene.number
                    yield letter, scene
            except CLIENT_ERRORS as error:
                for left in range(number + 1, len(STEPS) + 1):
                    yield letter, self._failed(letter, left, error)

    def say(self, key: str, **values: object) -> str:
        return say(f"tour.{key}", self.language, **values)

    def _scene(
        self,
        letter: Letter,
        number: int,
        ok: bool,
        lines: Sequence[str],
        *,
        gist: Sequence[str] = (),
        where: str = "",
        at: float = 0.0,
        exact: bool = True,
        **values: object,
    ) -> Scene:
        """The texts are those of the step, or of the step for this kind of letter. gist: those of
        the lines that are shown, where not all are."""
        kind = {"remote": "", "local": "-here", "returned": "-back"}[letter.kind]
        kind = kind if number > (4 if kind == "-back" else 3) else ""
        seen = [" ".join(line.split()) for line in lines if line.strip()]
        shown = [_gist(" ".join(line.split())) for line in gist or lines if line.strip()]
        row = Row(
            f"{letter.name}.{number} {STEPS[number - 1]}",
            self.say(f"expect-{number}{kind}", **values),
            "; ".join(seen) or self.say("nothing"),
            ok,
        )
        return Scene(
            row,
            number,
            self.say(f"title-{number}{kind}"),
            where,
            tuple(shown) or (self.say("nothing"),),
            at,
            exact,
            needed=kind != "-here" or number > 5,
        )

    def _failed(self, letter: Letter, number: int, error: Exception) -> Scene:
        """A step that could not be seen."""
        place = letter.destination
        return self._scene(
            letter,
            number,
            False,
            [f"{type(error).__name__}: {error}"],
            domain=place.domain,
            host=place.host,
            recipient=letter.to,
            sender=letter.sender.address,
        )

    async def _letter(self, letter: Letter) -> AsyncIterator[Scene]:
        returned = letter.kind == "returned"
        reader = letter.sender.address if returned else letter.to
        mailbox = await self._mailbox(reader)
        try:
            sent = self._write(letter)
            yield self._written(sent)
            if letter.kind != "local":
                await asyncio.to_thread(mailbox.idle)
            await self._submit(sent)
            yield self._submitted(sent)
            field_name = "In-Reply-To" if returned else "Message-ID"
            got = None
            if sent.queue_id:
                got = await asyncio.to_thread(mailbox.wait_for, field_name, sent.message_id)
        finally:
            await asyncio.to_thread(mailbox.close)
        strangers = await self._ask_strangers(letter)
        tell = self._came_back if returned else self._arrived
        for scene in tell(sent, got, strangers):
            yield scene

    # -- what is done --------------------------------------------------------------------------

    def _write(self, letter: Letter) -> Sent:
        world = self.internet.world
        message_id = new_message_id(world.dice.randbytes(12), "laptop.example")
        raw = compose(letter, message_id)
        transcript = clients.Transcript(world.clock)
        sent = Sent(letter, raw, message_id, transcript, "", 0.0, len(self.internet.dns.log))
        self.sent.append(sent)
        return sent

    async def _submit(self, sent: Sent) -> None:
        letter, place = sent.letter, sent.letter.origin
        sent.transcript = await asyncio.to_thread(
            clients.submit,
            *(place.address, self.internet.ports.submission, self.internet.authority),
            self.internet.world.clock,
            login=(letter.sender.address, PASSWORD),
            recipient=letter.to,
            message=sent.raw,
            forged=_forged(place),
        )
        at, reply = sent.transcript.reply_to(".")
        found = re.search(r"queue id ([0-9A-Za-z]+)$", reply) if reply.startswith("250 ") else None
        sent.queue_id, sent.accepted_at = (found[1] if found else ""), at

    async def _mailbox(self, address: str) -> clients.Mailbox:
        return await asyncio.to_thread(
            clients.Mailbox,
            *(place_of(address).address, self.internet.ports.imaps, self.internet.authority),
            *(self.internet.world.clock, (address, PASSWORD)),
        )

    async def _ask_strangers(self, letter: Letter) -> tuple[str, str]:
        """What the recipient's server answers to the letter's recipient and to nobody's name."""
        first, second = await asyncio.to_thread(
            clients.ask_recipients,
            *(letter.destination.address, self.internet.ports.smtp, self.internet.world.clock),
            (letter.to, letter.stranger),
        )
        return first, second

    # -- what was seen: steps 1 to 4 -----------------------------------------------------------

    def _written(self, sent: Sent) -> Scene:
        letter, read = sent.letter, parse(sent.raw)
        kinds = [part.get_content_type() for part in read.walk() if not part.is_multipart()]
        names = [str(part.get_filename()) for part in read.iter_attachments()]
        parts = " + ".join(kinds) + "".join(f" «{name}»" for name in names)
        wanted = [letter.attachment[0]] if letter.attachment else []
        return self._scene(
            letter,
            1,
            read["Subject"] == letter.subject and names == wanted,
            (
                f"From: {read['From']}",
                f"To: {read['To']}",
                f"Subject: {read['Subject']}",
                parts,
            ),
            gist=(f"Subject: {read['Subject']}", parts if names else ""),
            at=self.internet.world.clock.now(),
            where=self.say("octets", size=len(sent.raw), hash=_hash(body_of(sent.raw))),
        )

    def _submitted(self, sent: Sent) -> Scene:
        letter, place = sent.letter, sent.letter.origin
        spoken = sent.transcript
        _, login = spoken.reply_to("AUTH")
        _, recipient = spoken.reply_to("RCPT")
        at, _ = spoken.reply_to("DATA")
        _, reply = spoken.reply_to(".")
        return self._scene(
            letter,
            2,
            spoken.tls.startswith("TLS") and login.startswith("235 ") and bool(sent.queue_id),
            (
                f"STARTTLS → {spoken.tls}" if spoken.tls else "",
                f"AUTH → {login}" if login else "",
                f"RCPT TO:<{letter.to}> → {recipient}" if recipient else "",
                f"DATA → {reply}" if reply else "",
                spoken.error,
            ),
            gist=(f"DATA → {reply}",) if sent.queue_id else (),
            where=f"{letter.sender.given_name} → {_at(place, self.internet.ports.submission)} "
            + spoken.tls.partition(" ")[0],
            at=at,
        )

    def _queued(self, sent: Sent, original: bytes, added: EmailMessage | None) -> Scene:
        """added: the header fields that the servers put on top. original: what lay below them."""
        letter, place = sent.letter, sent.letter.origin
        forged = _forged(place)
        _, refused = sent.transcript.reply_to(f"MAIL FROM:<{forged}>")
        received = _received(added, place)
        date = str(added["Date"] or "") if added is not None else ""
        return self._scene(
            letter,
            3,
            refused.startswith("553 5.7.1 ")
            and _id_of(received) == sent.queue_id != ""
            and bool(date)
            and original == sent.raw,
            (
                f"MAIL FROM:<{forged}> → {refused}",
                f"Received: {received}" if received else "",
                f"Date: {date}" if date else "",
            ),
            gist=(
                f"MAIL FROM:<{forged}> → {refused}" if len(self.sent) == 1 else "",
                f"Received: {received}" if received else "",
            ),
            where=place.host,
            at=_when(received),
            exact=False,
        )

    def _asked(self, sent: Sent) -> Scene:
        """What the DNS server was asked about the recipient's domain, and what it answered."""
        letter = sent.letter
        log = list(self.internet.dns.log)
        domain, host = letter.destination.domain, letter.destination.host
        if letter.kind == "local":
            asked = log[sent.asked_from :]
            lines = [f"{one.name} {one.type}?" for one in asked]
            return self._scene(letter, 4, not asked, lines)
        asked = [one for one in log if one.name in (domain, host)]
        now = log[sent.asked_from :]
        lines = [f"{one.name} {one.type}? → {one.answer}" for one in asked]
        gist = [line for line, one in zip(lines, asked, strict=True) if one.type != "AAAA"]
        mx = any(one.type == "MX" and f" {host}." in one.answer for one in asked)
        address = any(one.type == "A" and letter.destination.address in one.answer for one in asked)
        first = now[0].at if now else 0.0
        if not now and asked:
            lines.insert(0, self.say("cached"))
            gist.insert(0, self.say("cached"))
        return self._scene(
            letter,
            4,
            mx and address,
            lines,
            gist=gist,
            where=f"{letter.origin.host} → DNS {DNS_ADDRESS}:{self.internet.ports.dns}",
            at=self._wall(first) if first else 0.0,
            domain=domain,
        )

    def _wall(self, loop_time: float) -> float:
        """The time of day of a time of the loop."""
        now = asyncio.get_running_loop().time()
        return self.internet.world.clock.now() - (now - loop_time)

    # -- steps 3 to 7 of a letter that arrives -------------------------------------------------

    def _arrived(
        self, sent: Sent, got: clients.Fetched | None, strangers: tuple[str, str]
    ) -> Iterator[Scene]:
        letter, place = sent.letter, sent.letter.destination
        raw = got.raw if got else b""
        # What the servers put on top ends where the letter's own first line begins.
        start = max(0, raw.find(sent.raw.partition(b"\r\n")[0]))
        original, added = raw[start:], parse(raw[:start] + b"\r\n")
        yield self._queued(sent, original, added)
        yield self._asked(sent)
        yield self._transferred(sent, added)
        known, unknown = strangers
        delivered_to = str(added["Delivered-To"] or "")
        yield self._scene(
            letter,
            6,
            known.startswith("250 ")
            and unknown.startswith("550 5.1.1 ")
            and delivered_to == letter.to,
            (
                f"RCPT TO:<{letter.stranger}> → {unknown}",
                f"RCPT TO:<{letter.to}> → {known}",
                f"Delivered-To: {delivered_to}" if delivered_to else "",
            ),
            gist=(
                f"RCPT TO:<{letter.stranger}> → {unknown}" if len(self.sent) == 1 else "",
                f"RCPT TO:<{letter.to}> → {known}",
            ),
            where=place.host,
            at=_when(_received(added, place)),
            exact=False,
            recipient=letter.to,
        )
        yield self._read(sent, got, original)

    def _transferred(self, sent: Sent, added: EmailMessage) -> Scene:
        letter, place = sent.letter, sent.letter.destination
        hops = len(added.get_all("Received", []))
        received = _received(added, place)
        if letter.kind == "local":
            line = f"Received: {received}" if received else ""
            return self._scene(letter, 5, hops == 1, (line,))
        self.relay_ids[letter.name] = _id_of(received)
        ok = (
            hops == 2
            and received.startswith(f"from {letter.origin.host} ([{letter.origin.address}])")
            and "using TLS" in received
            and bool(_id_of(received))
        )
        return self._scene(
            letter,
            5,
            ok,
            (f"Received: {received}" if received else "",),
            where=f"{letter.origin.host} → {_at(place, self.internet.ports.smtp)}",
            at=_when(received),
            exact=False,
            host=place.host,
        )

    def _read(self, sent: Sent, got: clients.Fetched | None, original: bytes) -> Scene:
        letter, place = sent.letter, sent.letter.destination
        lines: list[str] = []
        if got is not None:
            if got.waited:
                delay = max(0.0, got.at - sent.accepted_at) * 1000
                lines.append(f"IDLE → * EXISTS, {self.say('later', ms=round(delay))}")
            else:
                lines.append(self.say("at-once"))
            lines.append(f"UID FETCH {got.uid} → {self._described(original)}")
        return self._scene(
            letter,
            7,
            got is not None
            and body_of(original) == body_of(sent.raw)
            and got.waited == (letter.kind != "local"),
            lines,
            where=f"IMAP {_at(place, self.internet.ports.imaps)}",
            at=got.at if got else 0.0,
            recipient=letter.to,
        )

    def _described(self, raw: bytes) -> str:
        return self.say("octets", size=len(raw), hash=_hash(body_of(raw)))

    # -- steps 3 to 7 of a letter that comes back ----------------------------------------------

    def _came_back(
        self, sent: Sent, got: clients.Fetched | None, strangers: tuple[str, str]
    ) -> Iterator[Scene]:
        letter, place = sent.letter, sent.letter.destination
        raw = got.raw if got else b""
        start = raw.find(sent.raw)
        end = start + len(sent.raw)
        original = raw[start:end] if start >= 0 else b""
        report = parse(raw)
        parts = [part for part in report.walk() if not part.is_multipart()]
        returned = next(
            (part for part in report.walk() if part.get_content_type() == "message/rfc822"), None
        )
        inner = returned.get_payload(0) if returned is not None else None
        yield self._queued(sent, original, inner if isinstance(inner, EmailMessage) else None)
        yield self._asked(sent)
        status = _status_fields(report)
        diagnostic = status.get("Diagnostic-Code", "").removeprefix("smtp; ")
        known, _ = strangers
        yield self._scene(
            letter,
            5,
            known.startswith("550 5.1.1 ") and diagnostic == known,
            (
                f"RCPT TO:<{letter.to}> → {diagnostic}" if diagnostic else "",
                self.say("stranger", reply=known),
            ),
            where=f"{letter.origin.host} → {_at(place, self.internet.ports.smtp)}",
            at=_when(status.get("Last-Attempt-Date", "")),
            exact=False,
            host=place.host,
        )
        fields = ("Final-Recipient", "Action", "Status", "Remote-MTA")
        yield self._scene(
            letter,
            6,
            report.get_content_type() == "multipart/report"
            and str(report["Return-Path"]) == "<>"
            and status.get("Action") == "failed"
            and status.get("Status") == "5.1.1",
            (
                "multipart/report, Return-Path: <>" if got else "",
                *(f"{name}: {status[name]}" for name in fields if name in status),
            ),
            gist=(" · ".join(f"{name}: {status[name]}" for name in fields[:3] if name in status),),
            where=letter.origin.host,
            at=_when(str(report["Date"] or "")),
            exact=False,
            recipient=letter.to,
        )
        text = parts[0].get_content() if got and parts else ""
        self.bounce_text = "\n".join(text.splitlines())
        words = say("bounce.greeting-subject", letter.origin.language, subject=letter.subject)
        same = " ".join(self.bounce_text.split()).startswith(words)
        yield self._scene(
            letter,
            7,
            got is not None and same and body_of(original) == body_of(sent.raw),
            (
                f"Subject: {report['Subject']}" if got else "",
                f"UID FETCH {got.uid} → {self._described(original)}" if got else "",
            ),
            where=f"IMAP {_at(letter.origin, self.internet.ports.imaps)}",
            at=got.at if got else 0.0,
            sender=letter.sender.address,
        )

    # -- what the installations say of themselves ----------------------------------------------

    async def ledger(self) -> list[Row]:
        """The fate of each letter as `estafeta trace` tells it; what `estafeta audit` finds."""
        asked = [self._journeys(place) for place in PLACES]
        audits = [self._audit(place) for place in PLACES]
        *told, first, second = await asyncio.gather(*asked, *audits)
        journeys = {k: v for one in told if isinstance(one, dict) for k, v in one.items()}
        rows = [self._fate(sent, journeys.get(sent.queue_id, {})) for sent in self.sent]
        return rows + [row for row in (first, second) if isinstance(row, Row)]

    async def _journeys(self, place: Place) -> dict[str, Any]:
        """Queue id -> journey of everything that the people of a place sent."""
        ids = [s.queue_id for s in self.sent if s.letter.origin is place and s.queue_id]
        senders = {s.letter.sender.address for s in self.sent if s.letter.origin is place}
        found: dict[str, Any] = {}
        for sender in sorted(senders) if ids else ():
            try:
                said = await self.internet.command(
                    place, "trace", sender, "--limit", TRACE_ROWS, "--json", "--lang", self.language
                )
            except DemoError:
                continue
            found |= {journey["queue_id"]: journey for journey in json.loads(said)}
        return found

    def _fate(self, sent: Sent, journey: dict[str, Any]) -> Row:
        """relayed: with the queue id that the other server's Received field bears, too."""
        letter = sent.letter
        wanted = {"remote": "relayed", "local": "stored", "returned": "returned"}[letter.kind]
        ways = journey.get("recipients") or [{}]
        fate = str(ways[0].get("fate", ""))
        steps = {step["number"]: step for step in ways[0].get("steps", [])}
        words = " | ".join(steps.get(6, {}).get("lines", [])[-1:])
        ok = fate == wanted
        if letter.kind == "remote":
            ok = ok and self.relay_ids.get(letter.name, "?") in words
        if letter.kind == "returned":
            words = str(ways[0].get("ending", ""))
            ok = ok and any(child in words for child in journey.get("children", []))
        return Row(
            f"{letter.name}.ledger",
            self.say(f"expect-{wanted}"),
            f"{sent.queue_id}: {words}",
            ok,
        )

    async def _audit(self, place: Place) -> Row:
        try:
            found = json.loads(await self.internet.command(place, "audit", "--full", "--json"))
            ok, seen = bool(found["ok"]), self.say("balances")
        except DemoError as error:
            ok, seen = False, str(error)
        return Row(f"audit {place.domain}", self.say("expect-audit"), seen, ok)


def _forged(place: Place) -> str:
    """An address that is nobody's at that place: the other place's first person's."""
    return next(other for other in PLACES if other is not place).people[0].address


def _at(place: Place, port: int) -> str:
    return f"{place.host} ({place.address}:{port})"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:HASH_CHARACTERS]


def _received(added: EmailMessage | None, place: Place) -> str:
    """The Received field that a place's server wrote, in one line."""
    fields = added.get_all("Received", []) if added is not None else []
    lines = (" ".join(str(one).split()) for one in fields)
    return next((line for line in lines if f" by {place.host} " in line), "")


def _gist(line: str) -> str:
    """A line as a person wants it: of a Received field from where, to where, and the queue id; of
    a DNS answer the records."""
    if line.startswith("Received: "):
        line = re.sub(r" \(using (\S+) [^)]*\)", r" \1", line)
        return re.sub(r"( id [0-9A-Za-z]+).*", r"\1", line)
    return line.replace("? → NOERROR ", "? → ")


def _id_of(received: str) -> str:
    found = re.search(r" id ([0-9A-Za-z]+)", received)
    return found[1] if found else ""


def _when(text: str) -> float:
    """The date at the end of a field, in seconds since 1970; 0.0 without one."""
    try:
        return parsedate_to_datetime(text.rpartition(";")[2].strip()).timestamp()
    except ValueError:
        return 0.0


def _status_fields(report: EmailMessage) -> dict[str, str]:
    """The fields about the recipient in the machine-readable part (RFC 3464 §2.3)."""
    for part in report.walk():
        if part.get_content_type() == "message/delivery-status":
            groups = part.get_payload()
            if isinstance(groups, list) and isinstance(groups[-1], EmailMessage):
                return {k: " ".join(str(v).split()) for k, v in groups[-1].items()}
    return {}
