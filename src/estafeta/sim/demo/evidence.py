"""Evidence: what was seen from outside of a letter's seven steps, and whether it is as expected.

Pure: the client's SMTP dialogue, the questions the DNS server was asked, what a stranger is told at
the recipient's server, and the message as IMAP gave it are arguments; no installation is asked
about itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

from estafeta.explain.words import say
from estafeta.sim.demo.clients import Fetched, Transcript
from estafeta.sim.demo.letters import Letter, body_of, parse
from estafeta.sim.demo.places import DNS_ADDRESS, PLACES, Place, Ports
from estafeta.sim.demo.reports import returned_message, status_fields, text_of
from estafeta.sim.demo.scene import Scene, make_scene
from estafeta.sim.dns import Asked

HASH_CHARACTERS = 16
"""Of a hash, as many as a person compares."""


@dataclass(slots=True)
class Evidence:
    """Of one letter. raw: as its writer's client sent it. asked: every question the DNS server had,
    `asked_before` of them before this letter was sent. brief: leaves out what another letter has
    shown. wall: time of the loop -> seconds since 1970.

    accepted_at, queue_id: of the 250 that the client got. relay_id: queue id at the other server,
    as its Received field tells. report: the words of the message that came back.
    """

    letter: Letter
    language: str
    ports: Ports
    raw: bytes
    transcript: Transcript
    asked: Sequence[Asked] = ()
    asked_before: int = 0
    brief: bool = False
    wall: Callable[[float], float] = float
    queue_id: str = ""
    accepted_at: float = 0.0
    relay_id: str = ""
    report: str = ""

    def say(self, key: str, **values: object) -> str:
        return say(f"tour.{key}", self.language, **values)

    def _scene(
        self,
        number: int,
        ok: bool,
        lines: Sequence[str],
        *,
        gist: Sequence[str] = (),
        where: str = "",
        at: float = 0.0,
        exact: bool = True,
    ) -> Scene:
        return make_scene(
            self.letter,
            self.language,
            number,
            ok,
            lines,
            gist=gist,
            where=where,
            at=at,
            exact=exact,
        )

    # -- steps 1 to 4 --------------------------------------------------------------------------

    def written(self, now: float) -> Scene:
        """Step 1. now: seconds since 1970."""
        letter, read = self.letter, parse(self.raw)
        kinds = [part.get_content_type() for part in read.walk() if not part.is_multipart()]
        names = [str(part.get_filename()) for part in read.iter_attachments()]
        parts = " + ".join(kinds) + "".join(f" «{name}»" for name in names)
        wanted = [letter.attachment[0]] if letter.attachment else []
        return self._scene(
            1,
            read["Subject"] == letter.subject and names == wanted,
            (
                f"From: {read['From']}",
                f"To: {read['To']}",
                f"Subject: {read['Subject']}",
                parts,
            ),
            gist=(f"Subject: {read['Subject']}", parts if names else ""),
            at=now,
            where=self._described(self.raw),
        )

    def submitted(self, transcript: Transcript) -> Scene:
        """Step 2."""
        letter, place = self.letter, self.letter.origin
        self.transcript = transcript
        _, login = transcript.reply_to("AUTH")
        _, recipient = transcript.reply_to("RCPT")
        began, _ = transcript.reply_to("DATA")
        self.accepted_at, reply = transcript.reply_to(".")
        found = re.search(r"queue id ([0-9A-Za-z]+)$", reply) if reply.startswith("250 ") else None
        self.queue_id = found[1] if found else ""
        return self._scene(
            2,
            transcript.tls.startswith("TLS") and login.startswith("235 ") and bool(self.queue_id),
            (
                f"STARTTLS → {transcript.tls}" if transcript.tls else "",
                f"AUTH → {login}" if login else "",
                f"RCPT TO:<{letter.to}> → {recipient}" if recipient else "",
                f"DATA → {reply}" if reply else "",
                transcript.error,
            ),
            gist=(f"DATA → {reply}",) if self.queue_id else (),
            where=f"{letter.sender.given_name} → {_at(place, self.ports.submission)} "
            + transcript.tls.partition(" ")[0],
            at=began,
        )

    def _queued(self, original: bytes, added: EmailMessage | None) -> Scene:
        """Step 3. added: the fields that the servers put on top. original: what lay below them."""
        place = self.letter.origin
        forged = forged_sender(place)
        _, refused = self.transcript.reply_to(f"MAIL FROM:<{forged}>")
        received = _received(added, place)
        date = str(added["Date"] or "") if added is not None else ""
        return self._scene(
            3,
            refused.startswith("553 5.7.1 ")
            and _id_of(received) == self.queue_id != ""
            and bool(date)
            and original == self.raw,
            (
                f"MAIL FROM:<{forged}> → {refused}" if refused else "",
                f"Received: {received}" if received else "",
                f"Date: {date}" if date else "",
            ),
            gist=(
                "" if self.brief else f"MAIL FROM:<{forged}> → {refused}",
                f"Received: {received}" if received else "",
            ),
            where=place.host,
            at=_when(received),
            exact=False,
        )

    def _looked_up(self) -> Scene:
        """Step 4: what the DNS server was asked about the recipient's domain, and what it said."""
        place = self.letter.destination
        now = self.asked[self.asked_before :]
        if self.letter.kind == "local":
            return self._scene(4, not now, [f"{one.name} {one.type}?" for one in now])
        about = [one for one in self.asked if one.name in (place.domain, place.host)]
        cached = [] if now or not about else [self.say("cached")]
        lines = [f"{one.name} {one.type}? → {one.answer}" for one in about]
        gist = [line for line, one in zip(lines, about, strict=True) if one.type != "AAAA"]
        mx = any(one.type == "MX" and f" {place.host}." in one.answer for one in about)
        address = any(one.type == "A" and place.address in one.answer for one in about)
        return self._scene(
            4,
            mx and address,
            cached + lines,
            gist=cached + gist,
            where=f"{self.letter.origin.host} → DNS {DNS_ADDRESS}:{self.ports.dns}",
            at=self.wall(now[0].at) if now else 0.0,
        )

    # -- steps 3 to 7 of a letter that arrives -------------------------------------------------

    def arrived(self, got: Fetched | None, strangers: tuple[str, str]) -> Iterator[Scene]:
        """strangers: what the recipient's server says to RCPT of the recipient, and of nobody."""
        letter, place = self.letter, self.letter.destination
        raw = got.raw if got else b""
        # What the servers put on top ends where the letter's own first line begins.
        start = max(0, raw.find(self.raw.partition(b"\r\n")[0]))
        original, added = raw[start:], parse(raw[:start] + b"\r\n")
        yield self._queued(original, added)
        yield self._looked_up()
        yield self._sent(added)
        known, unknown = strangers
        delivered_to = str(added["Delivered-To"] or "")
        asked_for_nobody = f"RCPT TO:<{letter.stranger}> → {unknown}"
        asked_for_recipient = f"RCPT TO:<{letter.to}> → {known}"
        yield self._scene(
            6,
            known.startswith("250 ")
            and unknown.startswith("550 5.1.1 ")
            and delivered_to == letter.to,
            (
                asked_for_nobody,
                asked_for_recipient,
                f"Delivered-To: {delivered_to}" if delivered_to else "",
            ),
            gist=("" if self.brief else asked_for_nobody, asked_for_recipient),
            where=place.host,
            at=_when(_received(added, place)),
            exact=False,
        )
        yield self._read(got, original)

    def _sent(self, added: EmailMessage) -> Scene:
        """Step 5: the trace of the second server, or that there was none."""
        letter, place = self.letter, self.letter.destination
        hops = len(added.get_all("Received", []))
        received = _received(added, place)
        lines = (f"Received: {received}" if received else "",)
        if letter.kind == "local":
            return self._scene(5, hops == 1, lines)
        self.relay_id = _id_of(received)
        return self._scene(
            5,
            hops == 2
            and received.startswith(f"from {letter.origin.host} ([{letter.origin.address}])")
            and "using TLS" in received
            and bool(self.relay_id),
            lines,
            where=f"{letter.origin.host} → {_at(place, self.ports.smtp)}",
            at=_when(received),
            exact=False,
        )

    def _read(self, got: Fetched | None, original: bytes) -> Scene:
        """Step 7. A letter within the domain is there when the 250 is: nobody waits for it."""
        lines: list[str] = []
        if got is not None and got.waited:
            delay = max(0.0, got.at - self.accepted_at) * 1000
            lines.append(f"IDLE → * EXISTS, {self.say('later', ms=round(delay))}")
        elif got is not None:
            lines.append(self.say("at-once"))
        if got is not None:
            lines.append(f"UID FETCH {got.uid} → {self._described(original)}")
        return self._scene(
            7,
            got is not None
            and body_of(original) == body_of(self.raw)
            and got.waited == (self.letter.kind != "local"),
            lines,
            where=f"IMAP {_at(self.letter.destination, self.ports.imaps)}",
            at=got.at if got else 0.0,
        )

    def _described(self, raw: bytes) -> str:
        digest = hashlib.sha256(body_of(raw)).hexdigest()[:HASH_CHARACTERS]
        return self.say("octets", size=len(raw), hash=digest)

    # -- steps 3 to 7 of a letter that comes back ----------------------------------------------

    def came_back(self, got: Fetched | None, strangers: tuple[str, str]) -> Iterator[Scene]:
        """As `arrived`; got: the report, from the sender's own mailbox."""
        letter, place = self.letter, self.letter.destination
        raw = got.raw if got else b""
        start = raw.find(self.raw)
        original = raw[start : start + len(self.raw)] if start >= 0 else b""
        report = parse(raw)
        yield self._queued(original, returned_message(report))
        yield self._looked_up()
        status = status_fields(report)
        diagnostic = status.get("Diagnostic-Code", "").removeprefix("smtp; ")
        known, _ = strangers
        yield self._scene(
            5,
            known.startswith("550 5.1.1 ") and diagnostic == known,
            (
                f"RCPT TO:<{letter.to}> → {diagnostic}" if diagnostic else "",
                self.say("stranger", reply=known),
            ),
            where=f"{letter.origin.host} → {_at(place, self.ports.smtp)}",
            at=_when(status.get("Last-Attempt-Date", "")),
            exact=False,
        )
        names = ("Final-Recipient", "Action", "Status", "Remote-MTA")
        fields = [f"{name}: {status[name]}" for name in names if name in status]
        yield self._scene(
            6,
            report.get_content_type() == "multipart/report"
            and str(report["Return-Path"]) == "<>"
            and status.get("Action") == "failed"
            and status.get("Status") == "5.1.1",
            ("multipart/report, Return-Path: <>" if got else "", *fields),
            gist=(" · ".join(fields[:3]),),
            where=letter.origin.host,
            at=_when(str(report["Date"] or "")),
            exact=False,
        )
        self.report = text_of(report) if got else ""
        words = say("bounce.greeting-subject", letter.origin.language, subject=letter.subject)
        yield self._scene(
            7,
            " ".join(self.report.split()).startswith(words)
            and body_of(original) == body_of(self.raw),
            (
                f"Subject: {report['Subject']}" if got else "",
                f"UID FETCH {got.uid} → {self._described(original)}" if got else "",
            ),
            where=f"IMAP {_at(letter.origin, self.ports.imaps)}",
            at=got.at if got else 0.0,
        )


def forged_sender(place: Place) -> str:
    """An address that is nobody's at that place: the other place's first person's."""
    return next(other for other in PLACES if other is not place).people[0].address


def _at(place: Place, port: int) -> str:
    return f"{place.host} ({place.address}:{port})"


def _received(added: EmailMessage | None, place: Place) -> str:
    """The Received field that a place's server wrote, in one line."""
    fields = added.get_all("Received", []) if added is not None else []
    lines = (" ".join(str(one).split()) for one in fields)
    return next((line for line in lines if f" by {place.host} " in line), "")


def _id_of(received: str) -> str:
    found = re.search(r" id ([0-9A-Za-z]+)", received)
    return found[1] if found else ""


def _when(text: str) -> float:
    """The date at the end of a field, in seconds since 1970; 0.0 without one."""
    try:
        return parsedate_to_datetime(text.rpartition(";")[2].strip()).timestamp()
    except ValueError:
        return 0.0
