"""Read: from a message to a reading; who is asked in which order."""

from __future__ import annotations

import re

import msgspec

from estafeta.explain.reading.feedback import read_feedback
from estafeta.explain.reading.forms import ADDRESS, forms
from estafeta.explain.reading.kinds import by_person, kind_of_text
from estafeta.explain.reading.letter import Letter, lay_out, messages_of
from estafeta.explain.reading.limits import (
    RECIPIENTS_MAX,
    WORDS_CHARACTERS_MAX,
    WRAPPED_MAX,
)
from estafeta.explain.reading.mailers import mailer_of
from estafeta.explain.reading.notification import Notification, read_notification
from estafeta.explain.reading.nouns import Kind, Reading, ReportedRecipient
from estafeta.explain.reading.prose import Prose, read_prose
from estafeta.explain.reading.recipients import of_fields, of_nobody, of_text
from estafeta.explain.reading.reply import plain, said
from estafeta.explain.reading.returned import returned_message
from estafeta.explain.reading.status import (
    Block,
    Status,
    fields_in_text,
    read_status,
    without_fields,
)

_ADDRESS = re.compile(ADDRESS)
_ACTIONS: dict[str, Kind] = {
    "failed": "bounce",
    "failure": "bounce",
    "delayed": "delay",
    "delivered": "delivered",
    "deliverable": "delivered",
    "relayed": "delivered",
    "expanded": "delivered",
    "success": "delivered",
}
_ACTION_OF: dict[Kind, str] = {"bounce": "failed", "delay": "delayed", "delivered": "delivered"}
_QUOTE = re.compile(r"(?:>[ \t]?)+")
_OWN_ADDRESSES = (
    "from",
    "to",
    "sender",
    "reply-to",
    "return-path",
    "delivered-to",
    "x-original-to",
)
_CLASSES: dict[str, Kind] = {"2": "delivered", "4": "delay"}
_KINDS: tuple[Kind, ...] = ("bounce", "delay", "delivered")


def read_report(data: bytes, most: int = RECIPIENTS_MAX) -> Reading:
    """What a message says of the delivery of another; kind "other" where it says nothing.

    Several messages in a row, as mbox keeps them, are one reading if they are of one kind.
    most: so many recipients are read; the kind is that of all.
    """
    first, *others = messages_of(bytes(data))
    reading = _read(first, 0, most)
    recipients = list(reading.recipients)
    for message in others:
        if len(recipients) >= most:
            break
        other = _read(message, 0, most)
        if other.kind == reading.kind:
            recipients += other.recipients
    return msgspec.structs.replace(reading, recipients=tuple(recipients[:most]))


def read_reply(words: str, *, host: str = "", address: str = "") -> Reading:
    """A single reply, as if a server's report held nothing else; several lines are one reply."""
    reply = said(words)
    kind = kind_of_code(reply.code, reply.status)
    recipient = ReportedRecipient(
        code=reply.code,
        status=reply.status,
        text=reply.text,
        host=host or reply.host,
        command=reply.command,
        action=_ACTION_OF[kind],
        address=address,
    )
    return Reading(kind=kind, recipients=(recipient,))


def kind_of_code(code: int, status: str) -> Kind:
    """What a reply by its class leads to (RFC 5321 §4.2.1, RFC 3463 §3.1)."""
    return _CLASSES.get((status or str(code))[:1], "bounce")


def _read(data: bytes, depth: int, most: int) -> Reading:
    letter = lay_out(data)
    text = "\n".join(letter.texts)
    reading = _by_feedback(letter, most)
    if reading is None:
        reading = _by_status(letter, text, most)
    if reading is None:
        reading = _by_text(letter, text, most)
    if not _tells(reading):
        inner = _enclosed(letter, depth, most) or _quoted(text, depth, most)
        if inner is not None:
            return inner
    return reading


def _quoted(text: str, depth: int, most: int) -> Reading | None:
    """The report that somebody forwarded as text of their own message."""
    begun = forms().forwarded.search(text)
    if begun is None or depth >= WRAPPED_MAX:
        return None
    lines = (_QUOTE.sub("", line) for line in text[begun.end() :].split("\n")[1:])
    inner = _read("\n".join(lines).strip().encode("utf-8", "replace"), depth + 1, most)
    if inner.kind in ("other", "auto-reply") or not inner.recipients:
        return None
    return msgspec.structs.replace(inner, wrapped=True)


def _enclosed(letter: Letter, depth: int, most: int) -> Reading | None:
    """The report within a message that only carries it."""
    if depth >= WRAPPED_MAX:
        return None
    for content in letter.enclosed[:WRAPPED_MAX]:
        inner = _read(content, depth + 1, most)
        if inner.kind not in ("other", "auto-reply") and inner.recipients:
            return msgspec.structs.replace(inner, wrapped=True)
    return None


def _tells(reading: Reading) -> bool:
    """Whether a message is a report itself, and not only the envelope of one."""
    if reading.kind in ("other", "auto-reply"):
        return False
    return any(r.status or r.code or r.final_recipient for r in reading.recipients)


def _by_status(letter: Letter, text: str, most: int) -> Reading | None:
    """A report with fields for programs, or None."""
    parts = letter.status
    notified = None
    if not parts:
        notified = read_notification(text)
        quoted = notified is not None or by_person(letter)
        found = b"" if quoted else fields_in_text(text)
        parts = [found] if found else []
    status = read_status(parts)
    if notified is not None:
        status.blocks = notified.blocks
        status.reporting_mta = notified.reporting_mta
        status.message_id = notified.message_id
    if not status.blocks and (notified is None):
        return None
    prose = read_prose(without_fields(text), _unlikely(letter))
    recipients = of_fields(status.blocks, prose, _failed_fields(letter), most)
    kind = (
        notified.kind if notified is not None else _kind_of(status.blocks, recipients, letter, text)
    )
    if kind is None:
        return None
    return _reading(letter, text, kind, recipients, status, prose, notified)


def _kind_of(
    blocks: list[Block], recipients: list[ReportedRecipient], letter: Letter, text: str
) -> Kind | None:
    """The worst that is said of any recipient; None where it is said of none. recipients: those
    of the blocks that were read closely."""
    said_kinds = {_ACTIONS.get(block.action) for block in blocks}
    for kind in _KINDS:
        if kind in said_kinds:
            return kind
    for digit, kind in zip("542", _KINDS, strict=True):
        if any(r.status.startswith(digit) or str(r.code).startswith(digit) for r in recipients):
            return kind
        if any(block.status.startswith(digit) for block in blocks[len(recipients) :]):
            return kind
    if letter.report == "delivery-status" and recipients:
        return "bounce"
    guessed = kind_of_text(letter, text)
    return guessed if guessed in _KINDS else None


def _by_text(letter: Letter, text: str, most: int) -> Reading:
    """A report that only people were meant to read, an automatic reply, or something else."""
    kind = kind_of_text(letter, text)
    if kind not in _KINDS:
        if kind == "auto-reply":
            return _reading(letter, text, kind, _replier(letter, text), Status(), Prose(), None)
        return Reading(returned=returned_message(letter))
    prose = read_prose(text, _unlikely(letter))
    action = _ACTION_OF[kind]
    found = of_text(prose, action, most)
    if not found:
        returned = returned_message(letter, prose.header)
        found = of_nobody(prose, (_failed_fields(letter) or list(returned.to))[:most], action)
    return _reading(letter, text, kind, found, Status(), prose, None)


def _replier(letter: Letter, text: str) -> list[ReportedRecipient]:
    """Who replied by a program, and the words."""
    sender = next(iter(_ADDRESS.findall(letter.header("from"))), "")
    return [ReportedRecipient(address=sender, text=_beginning(text))]


def _beginning(text: str) -> str:
    """The words that a text begins with, on one line."""
    return plain(text[: 2 * WORDS_CHARACTERS_MAX])[:WORDS_CHARACTERS_MAX]


def _by_feedback(letter: Letter, most: int) -> Reading | None:
    """A complaint (RFC 5965), or None."""
    found = read_feedback(letter)
    if found is None:
        return None
    returned = returned_message(letter)
    addresses = found.recipients or list(returned.to) or [""]
    words = _beginning("\n".join(letter.texts))
    return Reading(
        kind="feedback",
        mailer="arf",
        recipients=tuple(
            ReportedRecipient(
                address=address,
                original_recipient=address,
                text=words,
                host=found.host,
            )
            for address in addresses[:most]
        ),
        reporting_mta=found.reporter,
        envid=found.envid,
        arrival=found.arrival,
        feedback=found.kind,
        returned=returned,
    )


def _reading(
    letter: Letter,
    text: str,
    kind: Kind,
    recipients: list[ReportedRecipient],
    status: Status,
    prose: Prose,
    notified: Notification | None,
) -> Reading:
    words = recipients[0].text if recipients else ""
    mailer = mailer_of(letter, text, status.reporting_mta, status.names, words)
    return Reading(
        kind=kind,
        mailer=mailer,
        recipients=tuple(msgspec.structs.replace(r, mailer=mailer) for r in recipients),
        reporting_mta=status.reporting_mta,
        envid=status.envid,
        arrival=status.arrival,
        feedback=notified.feedback if notified is not None else "",
        returned=returned_message(letter, prose.header, status.message_id),
    )


def _unlikely(letter: Letter) -> frozenset[str]:
    """Addresses of the report itself: who wrote it and who gets it."""
    found: set[str] = set()
    for name in _OWN_ADDRESSES:
        for address in _ADDRESS.findall(letter.header(name)):
            found.add(address.lower())
    return frozenset(found)


def _failed_fields(letter: Letter) -> list[str]:
    """X-Failed-Recipients, as Exim and Gmail write it."""
    value = letter.header("x-failed-recipients")
    return [found.rstrip(".") for found in _ADDRESS.findall(value)][:RECIPIENTS_MAX]
