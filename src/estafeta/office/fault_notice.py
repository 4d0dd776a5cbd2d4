"""Fault notice: the message that tells the administrator of a fault of our own set-up."""

from __future__ import annotations

import textwrap

from estafeta.deliver.directory import LocalDirectory
from estafeta.explain.faults import Checked, faults
from estafeta.explain.words import say
from estafeta.intake.prepared import Incoming, PreparedAcceptance
from estafeta.mail.address import is_ascii
from estafeta.mail.envelope import Envelope, Recipient
from estafeta.mail.note import build_note
from estafeta.mail.outcome import Reply
from estafeta.office.assemble import Installation
from estafeta.queue.parked import Untold

_WIDTH = 76


def in_words(
    what: Untold, finding: Checked, language: str, *, now: int, interval: float
) -> tuple[str, str]:
    """(subject, text). now: milliseconds since 1970. interval: seconds between checks."""
    fault = faults()[what.parking.fault]
    words = fault.in_words(language)
    about = what.parking.about or what.parking.family
    blocks = [
        say(
            "fault.greeting",
            language,
            family=what.parking.family,
            count=what.count,
            hours=max(1, round((what.until - now) / 3_600_000)),
        ),
        say("fault.what", language, title=words.title, about=about),
    ]
    if what.refused is not None:
        reply = " ".join(str(what.refused.reply).split())[:500]
        blocks.append(say("fault.words", language, host=what.refused.host, reply=reply))
    blocks.append(say("fault.remedy", language, remedy=words.remedy))
    blocks.append(say("fault.finding", language, finding=finding.in_words(language)))
    if finding.holds is None:
        blocks.append(say("fault.not-checked", language))
    else:
        blocks.append(say("fault.checked", language, minutes=max(1, round(interval / 60))))
    blocks.append(say("fault.closing", language))
    text = "\n\n".join(
        textwrap.fill(block, _WIDTH, break_long_words=False, break_on_hyphens=False)
        for block in blocks
    )
    return say("fault.subject", language, title=words.title), text + "\n"


async def prepare(
    installation: Installation, what: Untold, finding: Checked, *, now: int
) -> PreparedAcceptance:
    """The acceptance of the message to the postmaster, in the installation's language."""
    config, world = installation.config, installation.world
    to, language = config.server.postmaster, config.server.language
    subject, text = in_words(what, finding, language, now=now, interval=config.queue.park_check)
    id = installation.ids.next()
    await installation.tokens.ready()
    message_id = installation.tokens.message_id(id, config.server.hostname)
    utf8 = not is_ascii(to)
    message = build_note(
        subject=subject,
        text=text,
        language=language,
        from_=f"MAILER-DAEMON <{to}>",
        to=to,
        date=world.clock.now(),
        message_id=message_id,
        utf8=utf8,
    )
    body = await installation.bodies.from_bytes(message)
    directory = LocalDirectory(postmaster=to).look_up
    found = await installation.store.read(lambda tx: directory(tx, to))
    incoming = Incoming(
        id=id,
        origin="fault",
        envelope=Envelope(
            "", (Recipient(to, notify=frozenset({"NEVER"})),), smtputf8=utf8, eight_bit=utf8
        ),
        targets=(None if isinstance(found, Reply) else found,),
        body=body,
        message_id=message_id,
    )
    return await installation.acceptor.prepare(incoming)
