"""Bounce: a report on delivery in plain words, and the same for programs (RFC 3464 §2 leaves its
first part free).

It says for each recipient what happened, whose it is to repair and what to do, when it was tried,
and gives the other server's own words at the end. Pure: times, recipients, language are arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from estafeta.explain.causes import Cause, Words, cause
from estafeta.explain.page import Card, Line, Page, as_html, as_text
from estafeta.explain.told import About, Told
from estafeta.explain.words import say
from estafeta.mail.report import Explanation

RECIPIENTS_IN_WORDS_MAX = 50
"""Recipients that get a paragraph; the others stand in the machine-readable parts."""

_REPLY_CHARACTERS_MAX = 500
_SUBJECT_CHARACTERS_MAX = 100


def bounce(recipients: Sequence[Told], about: About) -> Explanation:
    """The report that these got nothing, for good."""
    if about.partly:
        several = "bounce.subject-partly"
        greetings = ("bounce.greeting-partly", "bounce.greeting-partly-subject")
    else:
        several = "bounce.subject-many"
        greetings = ("bounce.greeting", "bounce.greeting-subject")
    page = Page(
        language=about.language,
        tone="failed",
        title=_title("bounce.subject-one", several, recipients, about),
        greeting=_greeting(*greetings, about),
        **_about_recipients(recipients, about.language),
        **_closing("notice.closing", about),
    )
    return _explanation(page, _data("bounce", recipients, about))


def delay(recipients: Sequence[Told], about: About) -> Explanation:
    """The report that these have not got it yet, and that we go on."""
    page = Page(
        language=about.language,
        tone="delayed",
        title=_title("delay.subject-one", "delay.subject-many", recipients, about),
        greeting=_greeting("delay.greeting", "delay.greeting-subject", about),
        **_about_recipients(recipients, about.language, returned=False),
        **_closing("notice.closing", about),
    )
    return _explanation(page, _data("delay", recipients, about))


def undeliverable(recipients: Sequence[Told], about: About) -> Explanation:
    """To the postmaster: what has no return address, and these did not get."""
    language = about.language
    page = Page(
        language=language,
        tone="failed",
        title=say("undeliverable.subject", language, address=recipients[0].address),
        greeting=say("undeliverable.greeting", language),
        **_about_recipients(recipients, language),
        **_closing("notice.closing", about),
    )
    return _explanation(page, _data("bounce", recipients, about))


def success(addresses: Sequence[str], about: About, *, relayed: bool = False) -> Explanation:
    """The report that these addresses were reached.

    relayed: they went on to a server that does not report (RFC 3461 §5.2.2).
    """
    language = about.language
    page = Page(
        language=language,
        tone="delivered",
        title=say("success.subject", language, address=addresses[0]),
        greeting=say("success.greeting-relayed" if relayed else "success.greeting", language),
        more=tuple(addresses),
        more_label=say("notice.to", language),
        **_closing("notice.closing", about),
    )
    return _explanation(page, b"")


def _title(one: str, several: str, recipients: Sequence[Told], about: About) -> str:
    """Names the address; where there are several, how many they are."""
    addresses = {told.address for told in recipients}
    if len(addresses) == 1:
        return say(one, about.language, address=recipients[0].address)
    return say(several, about.language, count=len(addresses))


def _greeting(bare: str, named: str, about: About) -> str:
    """Names the subject where there is one."""
    if not about.subject:
        return say(bare, about.language)
    return say(named, about.language, subject=_cut(about.subject, _SUBJECT_CHARACTERS_MAX))


def _explanation(page: Page, data: bytes) -> Explanation:
    return Explanation(page.language, page.title, as_text(page), as_html(page), data)


def _closing(key: str, about: About) -> dict[str, Any]:
    return {
        "closing": say(key, about.language, support=about.support),
        "support": about.support,
    }


# One recipient ----------------------------------------------------------------------------------


def _about_recipients(
    recipients: Sequence[Told], language: str, *, returned: bool = True
) -> dict[str, Any]:
    return {
        "cards": tuple(
            _card(told, language, returned=returned)
            for told in recipients[:RECIPIENTS_IN_WORDS_MAX]
        ),
        "more": tuple(told.address for told in recipients[RECIPIENTS_IN_WORDS_MAX:]),
        "more_label": say("notice.more", language),
    }


def _card(told: Told, language: str, *, returned: bool) -> Card:
    reason, words = _reason(told, language)
    happened = f"{words.title}. {words.explanation}"
    if told.expired:
        happened += f" {cause('expired').in_words(language, address=told.address).explanation}"
    owner = say(f"owner.{reason.owner}", language)
    lines = [Line(say("notice.what", language), happened)]
    lines.append(Line(say("notice.whose", language), owner))
    lines.append(
        Line(say("notice.remedy", language), _remedy(told, words, language, returned=returned))
    )
    if told.first_try:
        lines.append(Line(say("notice.tried", language), _tried(told, language)))
    if told.next_try:
        lines.append(Line(say("notice.next", language), _next(told, language)))
    if told.reply is not None:
        key = "notice.words" if told.host else "notice.words-ours"
        reply = _cut(" ".join(str(told.reply).split()), _REPLY_CHARACTERS_MAX)
        lines.append(Line(say(key, language, host=told.host), reply, quoted=True))
    return Card(say("notice.to", language), told.address, tuple(lines))


def _reason(told: Told, language: str) -> tuple[Cause, Words]:
    reason = cause(told.cause)
    return reason, reason.in_words(language, address=told.address, host=told.host)


def _remedy(told: Told, words: Words, language: str, *, returned: bool) -> str:
    """Nobody who has it back is told to wait."""
    remedy = (words.returned if returned else "") or words.remedy
    if told.meant:
        return f"{say('likely.did-you-mean', language, address=told.meant)} {remedy}"
    return remedy


def _tried(told: Told, language: str) -> str:
    first, last = (_when(at) for at in (told.first_try, told.last_try))
    if told.attempts > 1:
        return say("notice.tried-often", language, first=first, last=last, count=told.attempts)
    return say("notice.tried-once", language, first=first)


def _next(told: Told, language: str) -> str:
    if not told.until:
        return f"{_when(told.next_try)}."
    return say("notice.next-until", language, next=_when(told.next_try), until=_when(told.until))


# For programs -----------------------------------------------------------------------------------


def _data(kind: str, recipients: Sequence[Told], about: About) -> bytes:
    """JSON: `recipients` as `estafeta explain --json` shows those of any bounce; `envelope` says
    what the report is about."""
    found = {
        "kind": kind,
        "recipients": [
            _as_data(told, about.language, returned=kind == "bounce") for told in recipients
        ],
        "envelope": {
            "queue_id": about.queue_id,
            "message_id": _clean(about.message_id),
            "language": about.language,
            "accepted": _instant(about.accepted),
            "reported": _instant(about.reported),
        },
    }
    return msgspec.json.format(msgspec.json.encode(found), indent=2)


def _as_data(told: Told, language: str, *, returned: bool) -> dict[str, Any]:
    reason, words = _reason(told, language)
    reply = told.reply
    return {
        "address": _clean(told.address),
        "cause": reason.code,
        "permanent": told.permanent,
        "hard": told.hard,
        "status": told.status,
        "reply_code": reply.code if reply else 0,
        "host": _clean(told.host.partition(" ")[0]),  # without address and port
        "remote_text": _clean(reply.text) if reply else "",
        "repair_by": reason.owner,
        "title": _clean(words.title),
        "remedy": _clean(_remedy(told, words, language, returned=returned)),
        **({"suggestion": _clean(told.meant)} if told.meant else {}),
    }


def _clean(text: str) -> str:
    """What others said may hold octets that are no character."""
    return text.encode("utf-8", "replace").decode()


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1]}…"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _instant(seconds: float) -> str:
    """RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
