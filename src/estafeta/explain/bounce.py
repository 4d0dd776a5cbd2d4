"""Bounce: the human part of a report on delivery, in plain words (RFC 3464 §2 leaves it free).

The text says for each recipient what happened, whose it is to repair and what to do, and gives the
other server's own words at the end. Pure: times, recipients and language are arguments.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from estafeta.explain.causes import cause
from estafeta.explain.words import say

_WIDTH = 76
RECIPIENTS_IN_WORDS_MAX = 50
"""Recipients that get a paragraph; the others stand in the machine-readable part."""


class FailedRecipient(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient of a report. first_try, last_try: seconds since 1970, or 0 where not tried.

    reply: the deciding reply as one line. host: who gave it, "" for us. expired: it was tried until
    the message became too old.
    """

    address: str
    cause: str
    reply: str = ""
    host: str = ""
    first_try: float = 0
    last_try: float = 0
    attempts: int = 0
    expired: bool = False


def bounce_text(
    recipients: Sequence[FailedRecipient],
    language: str,
    postmaster: str,
    *,
    subject: str = "",
    partly: bool = False,
) -> tuple[str, str]:
    """(subject, text) of a bounce. subject: the message's own, decoded, "" if unknown.

    partly: other recipients of the message did or may get it.

    The text has "\\n" line ends and lines of at most 76 characters but for long words.
    """
    if len(recipients) == 1:
        title = say("bounce.subject-one", language, address=recipients[0].address)
    else:
        key = "bounce.subject-partly" if partly else "bounce.subject-many"
        title = say(key, language, count=len(recipients))
    if subject:
        key = "bounce.greeting-partly-subject" if partly else "bounce.greeting-subject"
        greeting = say(key, language, subject=_cut(subject, 100))
    else:
        greeting = say("bounce.greeting-partly" if partly else "bounce.greeting", language)
    blocks = [_wrap(greeting, hanging="")]
    blocks += [failure_text(r, language) for r in recipients[:RECIPIENTS_IN_WORDS_MAX]]
    rest = [f"  {r.address}" for r in recipients[RECIPIENTS_IN_WORDS_MAX:]]
    if rest:
        blocks.append("\n".join(rest))
    blocks.append(_wrap(say("bounce.closing", language, postmaster=postmaster), hanging=""))
    return title, "\n\n".join(blocks) + "\n"


def success_text(
    addresses: Sequence[str], language: str, *, relayed: bool = False
) -> tuple[str, str]:
    """(subject, text) of a report that these addresses were reached, in the form of `bounce_text`.

    relayed: they went on to a server that does not report (RFC 3461 §5.2.2).
    """
    title = say("success.subject", language, address=addresses[0])
    greeting = say("success.greeting-relayed" if relayed else "success.greeting", language)
    reached = "\n".join(f"  {address}" for address in addresses)
    return title, f"{_wrap(greeting, hanging='')}\n\n{reached}\n"


def failure_text(failed: FailedRecipient, language: str) -> str:
    """One recipient's paragraph."""
    reason = cause(failed.cause)
    words = reason.in_words(language, address=failed.address, host=failed.host)
    happened = f"{words.title}. {words.explanation}"
    if failed.expired:
        happened += f" {cause('expired').in_words(language, address=failed.address).explanation}"
    lines = [
        say("bounce.recipient", language, address=failed.address),
        _wrap(say("bounce.what", language, text=happened)),
        _wrap(say("bounce.whose", language, owner=say(f"owner.{reason.owner}", language))),
        _wrap(say("bounce.remedy", language, text=words.returned or words.remedy)),
    ]
    if failed.reply:
        key = "bounce.words" if failed.host else "bounce.words-ours"
        reply = _cut(" ".join(failed.reply.split()), 500)
        lines.append(_wrap(say(key, language, host=failed.host, reply=reply)))
    if failed.first_try and failed.attempts > 1:
        first, last = (_when(t) for t in (failed.first_try, failed.last_try))
        lines.append(
            _wrap(say("bounce.tried", language, first=first, last=last, count=failed.attempts))
        )
    elif failed.first_try:
        lines.append(_wrap(say("bounce.tried-once", language, first=_when(failed.first_try))))
    return "\n".join(lines)


def _wrap(text: str, hanging: str = "  ") -> str:
    return textwrap.fill(
        text, _WIDTH, break_long_words=False, break_on_hyphens=False, subsequent_indent=hanging
    )


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
