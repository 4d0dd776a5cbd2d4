"""Kinds: whether a message without fields for programs reports anything, and what.

A report is known by two things at least: who sends it (a daemon, the null path, a program) and what
it says (Subject, text). One alone is a person who writes about mail. RFC 3834 §5 for replies.
"""

from __future__ import annotations

import re

from estafeta.explain.reading.forms import ADDRESS, forms
from estafeta.explain.reading.letter import Letter
from estafeta.explain.reading.limits import LINES_MAX, SENTENCES_CHARACTERS_MAX
from estafeta.explain.reading.nouns import Kind

_ADDRESS = re.compile(ADDRESS)
_PRECEDENCE = re.compile(r"auto_?-?reply|junk|bulk", re.IGNORECASE)
_AUTO_FIELDS = (
    "x-autoreply",
    "x-autorespond",
    "x-autoresponse",
    "x-auto-reply",
    "x-autoreply-from",
    "x-mail-autoreply",
    "x-vacation",
    "auto-reply",
)
_REPLY = re.compile(r"\b[45][0-7]\d[ -]\S|\b[45]\.\d{1,3}\.\d{1,3}\b")
_ALONE = re.compile(rf"[ \t>*\"'<-]{{0,20}}{ADDRESS}[\"'>]{{0,3}}[ \t]*(?:\Z|[:,(<]|\.\.\.)")
_BRACKETED = re.compile(rf"<{ADDRESS}>")
_SURE = 10
_FORWARDED = re.compile(r"\s*(?:re|aw|sv|fwd?|wg|tr|rv|enc|i|vs)\s*(?:\[\d+\])?:", re.IGNORECASE)


def sent_by_itself(letter: Letter) -> bool:
    """Whether the header says that a program sent this: not whether it is a report."""
    submitted = letter.header("auto-submitted").strip().lower()
    return bool(submitted) and not submitted.startswith("no")


def by_daemon(letter: Letter) -> bool:
    """Whether a mail system sent this, by a name that only such have."""
    if b"from" not in letter.fields:
        return False
    sender = letter.header("from").strip()
    if sender in ("", "<>"):
        return True
    known = forms()
    return known.daemon.match(_local(sender)) is not None or known.named.search(sender) is not None


def _local(sender: str) -> str:
    """The left side of the address in From; all of it where there is none."""
    address = _ADDRESS.search(sender)
    return address[0].rpartition("@")[0] if address is not None else sender.strip("<> \"'")


def by_person(letter: Letter) -> bool:
    """Whether somebody answers or forwards: what stands in the text is not theirs."""
    return not letter.report and _FORWARDED.match(letter.header("subject")) is not None


def kind_of_text(letter: Letter, text: str) -> Kind:
    """What a message is that has no fields for programs."""
    known = forms()
    subject = letter.header("subject")
    beginning = text[:SENTENCES_CHARACTERS_MAX]
    if letter.disposition:
        return "other"
    evidence = _evidence(letter)
    named = known.subject["bounce"].search(subject) is not None
    if _replied(letter, subject) and not (named and evidence > 1):
        return "auto-reply"
    if by_person(letter):
        return "other"
    told = known.opening["bounce"].search(beginning) is not None
    late = known.opening["delay"].search(beginning) is not None
    done = known.opening["delivered"].search(beginning) is not None
    sure = evidence >= _SURE
    waits = late and (known.subject["delay"].search(subject) is not None or not named)
    if not sure and not _names_somebody(letter, beginning):
        return "other"
    if waits and evidence:
        return "delay"
    if done and not told and evidence:
        return "delivered"
    if sure:
        return "bounce" if named or told else "other"
    gives_back = bool(letter.returned) or known.returned.search(beginning) is not None
    if named and (evidence > 1 or (told and (evidence or gives_back))):
        return "bounce"
    return "other"


def _evidence(letter: Letter) -> int:
    """How much in the header says that a mail system reports; `_SURE` is enough for itself."""
    names = _names(letter)
    return (
        _SURE * (by_daemon(letter) or "x-failed-recipients" in names)
        + (letter.header("return-path").strip() == "<>")
        + sent_by_itself(letter)
        + (letter.report == "delivery-status")
        + (forms().program.match(_local(letter.header("from").strip())) is not None)
        + ("smtp" in letter.header("x-mailer").lower())
    )


def _names_somebody(letter: Letter, text: str) -> bool:
    """Whether the text names a recipient as reports do, or gives a message back: a parcel that
    could not be delivered is no mail."""
    if letter.returned or _REPLY.search(text) or _BRACKETED.search(text):
        return True
    labels = forms().labels
    return any(
        labels.match(line.strip()) or _ALONE.match(line) for line in text.split("\n")[:LINES_MAX]
    )


def _replied(letter: Letter, subject: str) -> bool:
    """Whether a person's program replied (RFC 3834 §5, and what came before it)."""
    names = _names(letter)
    if any(name in names for name in _AUTO_FIELDS):
        return True
    submitted = letter.header("auto-submitted").strip().lower()
    said = forms().subject["auto"].search(subject) is not None
    if submitted.startswith(("auto-replied", "auto-generated; vacation", "auto-notified")):
        return said or not by_daemon(letter)
    if letter.header("x-auto-response-suppress") and said:
        return True
    return said and _PRECEDENCE.match(letter.header("precedence")) is not None


def _names(letter: Letter) -> frozenset[str]:
    return frozenset(name.decode("ascii", "replace") for name in letter.fields)
