"""Failures: what does not arrive, or not yet: sent, waited for, and judged by what was seen.

Seen from outside: what the scripted servers were told and answered, what the DNS was asked, what
came back into the writer's mailbox, read by the standard library.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from estafeta.explain.causes import cause
from estafeta.explain.words import say
from estafeta.mail.header import new_message_id
from estafeta.sim.demo import clients
from estafeta.sim.demo.internet import Internet
from estafeta.sim.demo.letters import Letter, body_of, compose, parse
from estafeta.sim.demo.places import ANA, PASSWORD, SUDOMINIO
from estafeta.sim.demo.reports import causes_of, status_fields, text_of
from estafeta.sim.demo.scene import Row
from estafeta.sim.demo.scripted import Scripted
from estafeta.sim.demo.troubles import GREYLIST_SECONDS, TROUBLES, Trouble

SECONDS_MAX = 40.0
"""Until the last of them must have come to its end."""

MOVIE = b"\x00\x00\x00\x14ftypqt  \x00\x00\x02\x00qt  "
"""How a film of QuickTime begins."""


@dataclass(slots=True)
class Sent:
    """One message that is to meet its trouble. reports: the octets of what came back about it."""

    trouble: Trouble
    raw: bytes
    message_id: str
    reply: str = ""
    reports: list[bytes] = field(default_factory=list)

    @property
    def returned(self) -> bytes | None:
        """The report that says it has failed."""
        return next((one for one in self.reports if _action(one) == "failed"), None)


class Failures:
    """Runs the troubles, all together. language: of what is said about them."""

    def __init__(self, internet: Internet, language: str) -> None:
        self._internet = internet
        self._language = language

    async def rows(self) -> AsyncIterator[tuple[Trouble, Row]]:
        """One for each trouble, in their order."""
        sent = [self._write(trouble) for trouble in TROUBLES]
        mailbox = await asyncio.to_thread(self._mailbox)
        try:
            began = asyncio.get_running_loop().time()
            replies = await asyncio.to_thread(self._submit, sent)
            for each, reply in zip(sent, replies, strict=True):
                each.reply = reply
            arriving = [asyncio.create_task(server.took.wait()) for server in self._arrivals()]
            await asyncio.to_thread(mailbox.gather, lambda seen: _sorted(sent, seen), SECONDS_MAX)
            left = began + SECONDS_MAX - asyncio.get_running_loop().time()
            await asyncio.wait(arriving, timeout=max(left, 0))
            for each_arrival in arriving:
                each_arrival.cancel()
        finally:
            await asyncio.to_thread(mailbox.close)
        for each in sent:
            yield each.trouble, self._judged(each)

    def _write(self, trouble: Trouble) -> Sent:
        world = self._internet.world
        message_id = new_message_id(world.dice.randbytes(12), "laptop.example")
        name = trouble.recipient.partition("@")[0].partition(".")[0].capitalize()
        letter = Letter(
            trouble.name,
            ANA,
            trouble.recipient,
            name,
            "returned",
            f"Una postal para {name}",
            f"Hola, {name}:\n\naquí hace sol y el mar está en calma.\n\nUn abrazo,\nAna\n",
            stranger="",
            attachment=(trouble.attachment, MOVIE, "video/quicktime")
            if trouble.attachment
            else None,
        )
        return Sent(trouble, compose(letter, message_id), message_id)

    def _mailbox(self) -> clients.Mailbox:
        internet = self._internet
        return clients.Mailbox(
            *(SUDOMINIO.address, internet.ports.imaps, internet.authority),
            *(internet.world.clock, (ANA.address, PASSWORD)),
        )

    def _submit(self, sent: Sequence[Sent]) -> list[str]:
        internet = self._internet
        return clients.submit_all(
            *(SUDOMINIO.address, internet.ports.submission, internet.authority),
            internet.world.clock,
            login=(ANA.address, PASSWORD),
            messages=[(each.trouble.recipient, each.raw) for each in sent],
        )

    def _arrivals(self) -> list[Scripted]:
        """The servers that are to take a message in the end."""
        return [self._internet.scripted[one.domain] for one in TROUBLES if one.arrives]

    # -- what was seen -------------------------------------------------------------------------

    def _judged(self, sent: Sent) -> Row:
        trouble = sent.trouble
        met, met_lines = self._met(sent)
        ended, ended_lines, explanation = (
            self._arrived(sent) if trouble.arrives else self._came_back(sent)
        )
        lines = [*met_lines, *ended_lines] or [say("tour.nothing", self._language)]
        return Row(
            f"failure {trouble.name}",
            say(f"trouble.{trouble.name}-expect", self._language),
            "; ".join(lines),
            sent.reply.startswith("250 ") and met and ended,
            explanation,
        )

    def _met(self, sent: Sent) -> tuple[bool, list[str]]:
        """Whether the recipient's side was asked as often as it should be, and what it said."""
        trouble = sent.trouble
        if trouble.domain in self._internet.installed:
            replies = self._internet.refusals(trouble.recipient)
            lines = [f"{len(replies)} × {replies[0]}"] if replies else []
            return len(replies) == trouble.tries, lines
        server = self._internet.scripted.get(trouble.domain)
        if server is None:
            asked = [one for one in self._internet.dns.log if one.name == trouble.domain]
            lines = [f"{one.name} {one.type}? → {one.answer}" for one in asked]
            return bool(asked), list(dict.fromkeys(lines))
        if trouble.manner is not None and trouble.manner.at == "silence":
            count = len(server.talks)
            words = say("trouble.silent", self._language, count=count)
            return count == trouble.tries, [words]
        refusals = server.refusals
        lines = [f"{len(refusals)} × {refusals[0].reply}"] if refusals else []
        return len(refusals) == trouble.tries and self._in_time(server, trouble), lines

    def _in_time(self, server: Scripted, trouble: Trouble) -> bool:
        """Who greylists is not asked again before the time it has named."""
        if trouble.cause != "greylisted" or not server.refusals or not server.taken:
            return True
        said, _ = server.taken[0]
        return said.at - server.refusals[0].at >= GREYLIST_SECONDS

    def _arrived(self, sent: Sent) -> tuple[bool, list[str], str]:
        trouble = sent.trouble
        taken = self._internet.scripted[trouble.domain].taken
        words = cause(trouble.cause).in_words(
            SUDOMINIO.language, address=trouble.recipient, host=f"mx.{trouble.domain}"
        )
        whole = len(taken) == 1 and body_of(taken[0][1]) == body_of(sent.raw)
        lines = [f"{said.command} → {said.reply}" for said, _ in taken]
        return (
            whole and sent.returned is None,
            lines,
            f"{words.title}. {words.explanation} {words.remedy}",
        )

    def _came_back(self, sent: Sent) -> tuple[bool, list[str], str]:
        trouble, raw = sent.trouble, sent.returned
        if raw is None:
            return False, [], ""
        report = parse(raw)
        fields = status_fields(report)
        text = text_of(report)
        title = cause(trouble.cause).in_words(SUDOMINIO.language, address=trouble.recipient).title
        told = causes_of(report).get("recipients") or [{}]
        ok = (
            report.get_content_type() == "multipart/report"
            and str(report["Return-Path"]) == "<>"
            and fields.get("Final-Recipient") == f"rfc822; {trouble.recipient}"
            and fields.get("Status") == trouble.status
            and fields.get("X-Estafeta-Cause") == told[0].get("cause") == trouble.cause
            and " ".join(title.split()) in " ".join(text.split())
            and sent.raw in raw
            and told[0].get("suggestion", "") == trouble.meant
            and trouble.meant in text
        )
        names = ("Status", "X-Estafeta-Cause")
        shown = [f"{name}: {fields[name]}" for name in names if name in fields]
        delays = sum(_action(one) == "delayed" for one in sent.reports)
        if delays:
            shown.insert(0, say("trouble.delays", self._language, count=delays))
        if trouble.meant and trouble.meant in text:
            shown.append(say("trouble.meant", self._language, address=trouble.meant))
        return ok and delays == int(trouble.delayed), shown, text


def _sorted(sent: Sequence[Sent], messages: Sequence[bytes]) -> bool:
    """Gives each the reports about it; whether all that must come back have."""
    by_id = {each.message_id: each for each in sent}
    for each in sent:
        each.reports = []
    for raw in messages:
        about = by_id.get(str(parse(raw)["In-Reply-To"] or "").strip())
        if about is not None:
            about.reports.append(raw)
    return all(each.trouble.arrives or each.returned is not None for each in sent)


def _action(raw: bytes) -> str:
    """What a report says has become of the message."""
    return status_fields(parse(raw)).get("Action", "")
