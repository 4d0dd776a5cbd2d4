"""Fault notice: the message that tells the administrator of a fault of our own set-up."""

from __future__ import annotations

from estafeta.explain.faults import Checked, faults
from estafeta.explain.words import say
from estafeta.intake.prepared import PreparedAcceptance
from estafeta.office.assemble import Installation
from estafeta.office.note import in_blocks, prepare_note
from estafeta.queue.parked import Untold


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
    return say("fault.subject", language, title=words.title), in_blocks(blocks)


async def prepare(
    installation: Installation, what: Untold, finding: Checked, *, now: int
) -> PreparedAcceptance:
    """The acceptance of the message to the postmaster, in the installation's language."""
    config = installation.config
    to, language = config.server.postmaster, config.server.language
    subject, text = in_words(what, finding, language, now=now, interval=config.queue.park_check)
    return await prepare_note(installation, to, language, subject, text)
