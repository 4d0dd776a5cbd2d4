"""Kinds: whether a message without fields for programs reports anything, and what.

A report is known by two things at least: who sends it (a daemon, the null path, a program) and what
it says (Subject, text). One alone is a person who writes about mail. RFC 3834 §5 for replies.
"""

from __future__ import annotations

import re

from estafeta.explain.reading.forms import ADDRESS, forms
from estafeta.explain.reading.letter import Letter
from estafeta.explain.reading.limits import SENTENCES_CHARACTERS_MAX
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
_FORWARDED = re.compile(r"\s*(?:re|aw|sv|fwd?|wg|tr|rv|enc|i|vs)\s*(?:\[\d+\])?:", re.IGNORECASE)


def sent_by_itself(letter: Letter) -> bool:
    """Whether the header says that a program sent this: not whether it is a report."""
    submitted = letter.header("auto-submitted").strip().lower()
    return bool(submitted) and not submitted.startswith("no")


def by_daemon(letter: Letter) -> bool:
    """Whether a mail system sent this: the null path, or a name that only such have."""
    if letter.header("return-path").strip() == "<>" or "x-failed-recipients" in _names(letter):
        return True
    if b"from" not in letter.fields:
        return False
    sender = letter.header("from").strip()
    if sender in ("", "<>"):
        return True
    address = _ADDRESS.search(sender)
    local = address[0].rpartition("@")[0] if address is not None else sender.strip("<> \"'")
    known = forms()
    return known.daemon.match(local) is not None or known.named.search(sender) is not None


def by_person(letter: Letter) -> bool:
    """Whether somebody answers or forwards: what stands in the text is not theirs."""
    return not letter.report and _FORWARDED.match(letter.header("subject")) is not None


def by_list(letter: Letter) -> bool:
    """Whether a program of mailing lists sent this."""
    address = _ADDRESS.search(letter.header("from"))
    return address is not None and forms().lists.match(address[0].rpartition("@")[0]) is not None


def kind_of_text(letter: Letter, text: str) -> Kind:
    """What a message is that has no fields for programs."""
    known = forms()
    subject = letter.header("subject")
    beginning = text[:SENTENCES_CHARACTERS_MAX]
    daemon = by_daemon(letter)
    if letter.disposition:
        return "other"
    replied = _replied(letter, subject)
    if replied and not (daemon and known.subject["bounce"].search(subject)):
        return "auto-reply"
    if by_person(letter):
        return "other"
    named = known.subject["bounce"].search(subject) is not None
    told = known.opening["bounce"].search(beginning) is not None
    late = known.opening["delay"].search(beginning) is not None
    done = known.opening["delivered"].search(beginning) is not None
    evidence = (
        by_list(letter) + 2 * daemon + sent_by_itself(letter) + (letter.report == "delivery-status")
    )
    evidence += "x-mailer" in _names(letter) and "smtp" in letter.header("x-mailer").lower()
    if late and (daemon or evidence) and (known.subject["delay"].search(subject) or not named):
        return "delay"
    if done and not told and evidence:
        return "delivered"
    if (named and told and (evidence or letter.returned)) or ((named or told) and evidence >= 2):
        return "bounce"
    if named and told and known.returned.search(beginning):
        return "bounce"
    return "other"


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
