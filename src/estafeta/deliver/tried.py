"""Tried: a row of the journal in plain words, for the owner of the account.

Promises: a sender whom nothing proves "claims to be"; where nothing proves the server either, it is
told by its network. What others wrote is a value that is put in, never a text of ours.
"""

from __future__ import annotations

from datetime import UTC, datetime

from estafeta.explain.words import say, texts
from estafeta.store.admissions import Admission, NotLetIn
from estafeta.store.knocks import HELD_UP, MANY, Knock
from estafeta.store.limits import ADMISSIONS_MAX

_UNITS = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1000))

_KEPT_OUT = {
    "greylisted": "tried.greylisted",
    "rate-limited": "tried.rate",
    "server-busy": "tried.busy",
    "mailbox-full": "tried.full",
    "policy-attachment": "tried.attachment",
    "message-too-large": "tried.size",
    "policy-content": "tried.content",
    "blocked-ip": "tried.listed",
    "sender-rejected": "tried.sender",
    "encryption-needed": "tried.tls",
    "tls-required": "tried.tls",
    "mailbox-disabled": "tried.disabled",
    "policy": "tried.policy",
}
"""By cause; others are told by whether the reply said to come again."""


def sentence(knock: Knock, language: str) -> str:
    """Who, what became of it, and whether they came in after all."""
    return f"{_who(knock, language)} {_what(knock, language)}{_then(knock, language)}."


def sentences(
    knock: Knock, language: str, *, address: str, admission: Admission | None = None
) -> list[str]:
    """All there is to say of it. address: of the account. admission: the last one given for it."""
    told = [sentence(knock, language)]
    first, last = _day(knock.first), _day(knock.last)
    if knock.times > 1:
        key = "tried.times-at" if first == last else "tried.times"
        told.append(say(key, language, count=knock.times, first=first, last=last))
    else:
        told.append(say("tried.once", language, at=last))
    detail = knock.detail
    if knock.named not in ("", address) and not knock.of_many:
        told.append(say("tried.named", language, address=knock.named))
    if detail.subject:
        told.append(say("tried.subject", language, subject=detail.subject))
    if admission is not None:
        told.append(_admitted(admission, language))
    return told


def why_not(refused: NotLetIn, language: str, *, cause: str = "") -> str:
    """Why an owner cannot let it in. cause: of the row, where there is one."""
    return say(f"tried.not-{refused.why}", language, cause=cause, count=ADMISSIONS_MAX)


def _who(knock: Knock, language: str) -> str:
    detail = knock.detail
    if knock.who == MANY:
        return say("tried.everybody", language)
    where = detail.organisation or detail.network or knock.who
    sender = detail.sender or knock.sender
    if knock.of_many:
        key = "tried.many"
    elif not sender:
        key = "tried.nobody"
    elif detail.aligned and detail.organisation:
        return say("tried.proven", language, sender=sender, where=where)
    else:
        key = "tried.claims"
    if not detail.organisation:
        key += "-nameless"
    return say(key, language, sender=sender, where=where)


def _what(knock: Knock, language: str) -> str:
    detail = knock.detail
    later = _comes_again(knock)
    key = _KEPT_OUT.get(knock.cause, "")
    if key == "tried.full" and not later:
        key = "tried.full-refused"
    elif not key:
        key = "tried.later" if later else "tried.refused"
    if detail.finding and f"{key}-named" in texts(language):
        key += "-named"
    elif detail.size and key == "tried.size":
        key += "-known"
    return say(key, language, finding=detail.finding, size=_size(detail.size, language))


def _comes_again(knock: Knock) -> bool:
    """It was put off, not refused."""
    if not knock.detail.reply:
        return knock.cause in HELD_UP
    return knock.detail.reply.startswith("4")


def _then(knock: Knock, language: str) -> str:
    if not _comes_again(knock) or knock.who == MANY:
        return ""
    if not knock.arrived:
        return say("tried.not-yet", language)
    return say("tried.came", language, time=_span(knock.arrived - knock.began, language))


def _admitted(admission: Admission, language: str) -> str:
    if admission.used is not None:
        return say("tried.let-in-used", language)
    return say("tried.let-in", language, until=_day(admission.until))


def _span(ms: int, language: str) -> str:
    """ "6 minutes", rounded down; a second at least."""
    for unit, length in _UNITS:
        count = ms // length
        if count or unit == "second":
            break
    count = max(1, count)
    return say(f"tried.{unit}" if count == 1 else f"tried.{unit}s", language, count=count)


def _size(octets: int, language: str) -> str:
    text = f"{octets / 1_000_000:.1f}" if octets >= 100_000 else f"{octets / 1000:.1f}"
    unit = "MB" if octets >= 100_000 else "kB"
    return f"{text.replace('.', say('tried.decimal', language))} {unit}"


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
