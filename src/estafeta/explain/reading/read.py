"""Read: from a message to a reading; who asks whom, and which of several words win.

Fields for programs name the recipients where there are any; the text for people gives the words
where the fields say little, and all where there are none.
"""

from __future__ import annotations

import re

import msgspec

from estafeta.explain.reading.feedback import read_feedback
from estafeta.explain.reading.forms import ADDRESS, forms
from estafeta.explain.reading.kinds import by_person, kind_of_text
from estafeta.explain.reading.letter import Letter, fields_of, lay_out, messages_of
from estafeta.explain.reading.limits import (
    RECIPIENTS_MAX,
    RETURNED_OCTETS_MAX,
    WORDS_CHARACTERS_MAX,
    WRAPPED_MAX,
)
from estafeta.explain.reading.mailers import mailer_of
from estafeta.explain.reading.notification import Notification, read_notification
from estafeta.explain.reading.nouns import Kind, Reading, ReportedRecipient, Returned
from estafeta.explain.reading.prose import Prose, best, read_prose, vague
from estafeta.explain.reading.reply import Said, plain, precise, said
from estafeta.explain.reading.status import (
    Block,
    Status,
    fields_in_text,
    read_status,
    without_fields,
)
from estafeta.mail.address import mailboxes, parse_address_list
from estafeta.mail.message.fields import header_end
from estafeta.mail.words import decode_charset, decode_text, unfold

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
_TELLING = re.compile(
    r"\b[45][0-7]\d[ -]|\b[45]\.\d{1,3}\.\d|\bbecause\b|\breason\b|n.t be found", re.IGNORECASE
)
"""A line that says why, whatever else it says."""

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


def read_report(data: bytes) -> Reading:
    """What a message says of the delivery of another; kind "other" where it says nothing.

    Several messages in a row, as mbox keeps them, are one reading if they are of one kind.
    """
    first, *others = (_read(message, 0) for message in messages_of(bytes(data)))
    more = [r for reading in others if reading.kind == first.kind for r in reading.recipients]
    if not more:
        return first
    return msgspec.structs.replace(first, recipients=(*first.recipients, *more)[:RECIPIENTS_MAX])


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


def _read(data: bytes, depth: int) -> Reading:
    letter = lay_out(data)
    text = "\n".join(letter.texts)
    reading = _by_feedback(letter)
    if reading is None:
        reading = _by_status(letter, text)
    if reading is None:
        reading = _by_text(letter, text)
    if not _tells(reading):
        inner = _enclosed(letter, depth) or _quoted(text, depth)
        if inner is not None:
            return inner
    return reading


def _quoted(text: str, depth: int) -> Reading | None:
    """The report that somebody forwarded as text of their own message."""
    begun = forms().forwarded.search(text)
    if begun is None or depth >= WRAPPED_MAX:
        return None
    lines = (_QUOTE.sub("", line) for line in text[begun.end() :].split("\n")[1:])
    inner = _read("\n".join(lines).strip().encode("utf-8", "replace"), depth + 1)
    if inner.kind in ("other", "auto-reply") or not inner.recipients:
        return None
    return msgspec.structs.replace(inner, wrapped=True)


def _enclosed(letter: Letter, depth: int) -> Reading | None:
    """The report within a message that only carries it."""
    if depth >= WRAPPED_MAX:
        return None
    for content in letter.enclosed[:WRAPPED_MAX]:
        inner = _read(content, depth + 1)
        if inner.kind not in ("other", "auto-reply") and inner.recipients:
            return msgspec.structs.replace(inner, wrapped=True)
    return None


def _tells(reading: Reading) -> bool:
    """Whether a message is a report itself, and not only the envelope of one."""
    if reading.kind in ("other", "auto-reply"):
        return False
    return any(r.status or r.code or r.final_recipient for r in reading.recipients)


def _by_status(letter: Letter, text: str) -> Reading | None:
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
    recipients = _recipients(letter, status, prose)
    kind = notified.kind if notified is not None else _kind_of(recipients, letter, text)
    if kind is None:
        return None
    return _reading(letter, text, kind, recipients, status, prose, notified)


def _kind_of(recipients: list[ReportedRecipient], letter: Letter, text: str) -> Kind | None:
    """The worst that is said of any recipient; None where it is said of none."""
    said_kinds = {_ACTIONS.get(r.action) for r in recipients}
    for kind in _KINDS:
        if kind in said_kinds:
            return kind
    for digit, kind in zip("542", _KINDS, strict=True):
        if any(r.status.startswith(digit) or str(r.code).startswith(digit) for r in recipients):
            return kind
    if letter.report == "delivery-status" and recipients:
        return "bounce"
    guessed = kind_of_text(letter, text)
    return guessed if guessed in _KINDS else None


def _recipients(letter: Letter, status: Status, prose: Prose) -> list[ReportedRecipient]:
    found: list[ReportedRecipient] = []
    named = list(prose.named)
    alone = len(status.blocks) == 1
    for number, block in enumerate(status.blocks):
        own = prose.of(block.original) or prose.of(block.final)
        if own is None and alone and len(named) == 1:
            own = named[0]
        if own is None and number < len(named) and not block.original and not block.final:
            own = named[number]
        address = _written_to(block, own.address if own is not None else "", letter)
        words = [said(each) for each in own.words] if own is not None else []
        reply = _reply_of(block, words, prose, address, alone=alone)
        found.append(_recipient(block, reply, address))
    return found


def _written_to(block: Block, named: str, letter: Letter) -> str:
    for address in (block.original, block.final, named):
        if _ADDRESS.fullmatch(address):
            return address
    failed = _failed_fields(letter)
    return failed[0] if failed else block.final or block.original


def _reply_of(
    block: Block, candidates: list[Said], prose: Prose, address: str, *, alone: bool
) -> Said:
    """The words that win: the field's, unless it says little and the text says more."""
    own = said(block.words) if block.words else Said()
    candidates += prose.answers(*filter(None, (address, block.final, block.original)))
    if not vague(own):
        return _completed(own, [*candidates, *(_said_of_all(prose) if alone else ())])
    candidates = [own, *candidates] if own.code else candidates
    other = _said_of_one(prose, candidates, alone=alone)
    if vague(other) or other.weight <= own.weight:
        other = own
    return Said(
        code=own.code or other.code,
        status=own.status if precise(own.status) else other.status or own.status,
        text=other.text or own.text,
        host=own.host or other.host,
        command=own.command or other.command,
    )


def _completed(reply: Said, told: list[Said]) -> Said:
    """With the command and the host that somebody else tells of the same reply."""
    same = [each for each in told if each.code == reply.code or not reply.code]
    return msgspec.structs.replace(
        reply,
        command=reply.command or next((each.command for each in same if each.command), ""),
        host=reply.host or next((each.host for each in same if each.host), ""),
    )


def _said_of_one(prose: Prose, candidates: list[Said], *, alone: bool) -> Said:
    """The best of what is said of one recipient; of all, where nothing better is.

    alone: whatever the text says, it says of this one.
    """
    reply = best(candidates)
    if vague(reply):
        candidates = [*candidates, *_said_of_all(prose)]
        reply = best(candidates)
    if alone and vague(reply):
        reply = best([*candidates, *(each for _, each in prose.asked)])
    if vague(reply) and not reply.code:
        reply = best([*candidates, _loose(prose)])
    if alone and not reply.code:
        reply = msgspec.structs.replace(reply, code=best(_said_of_all(prose)).code)
    return reply


def _said_of_all(prose: Prose) -> list[Said]:
    return [*prose.reasons, *prose.answers("")]


def _loose(prose: Prose) -> Said:
    """The text as a whole, where no part of it says why."""
    idle = forms().idle
    telling = [
        line.strip()
        for line in prose.lines
        if _TELLING.search(line)
        or (idle.match(line) is None and _ADDRESS.sub("", line).strip(" <>:;-*.\t"))
    ]
    return said("\n".join(telling)[:WORDS_CHARACTERS_MAX])


def _recipient(block: Block, reply: Said, address: str) -> ReportedRecipient:
    status = block.status
    if reply.status and (not precise(status) or _surer(reply)):
        status = reply.status
    return ReportedRecipient(
        code=reply.code,
        status=status,
        text=reply.text[:WORDS_CHARACTERS_MAX],
        host=block.host or reply.host,
        command=reply.command,
        action=block.action,
        address=address,
        original_recipient=block.original,
        final_recipient=block.final,
        last_attempt=block.last_attempt,
        will_retry_until=block.will_retry_until,
    )


def _surer(reply: Said) -> bool:
    """Whether a reply is one whole: code and status of one class, as the server itself gave it."""
    return bool(reply.code) and precise(reply.status) and reply.status[0] == str(reply.code)[0]


def _by_text(letter: Letter, text: str) -> Reading:
    """A report that only people were meant to read, an automatic reply, or something else."""
    kind = kind_of_text(letter, text)
    if kind not in _KINDS:
        if kind == "auto-reply":
            return _reading(letter, text, kind, _replier(letter, text), Status(), Prose(), None)
        return Reading(returned=_returned(letter, Status(), Prose()))
    prose = read_prose(text, _unlikely(letter))
    action = _ACTION_OF[kind]
    found: list[ReportedRecipient] = []
    for named in prose.named:
        candidates = [*map(said, named.words), *prose.answers(named.address)]
        reply = _said_of_one(prose, candidates, alone=len(prose.named) == 1)
        block = Block(final=named.address, original=named.expanded, action=action)
        found.append(_recipient(block, reply, named.expanded or named.address))
    if not found:
        found = _unnamed(letter, prose, action)
    return _reading(letter, text, kind, found, Status(), prose, None)


def _unnamed(letter: Letter, prose: Prose, action: str) -> list[ReportedRecipient]:
    """Recipients of a report whose text names none: its header or the returned message does."""
    reply = _said_of_one(prose, [], alone=True)
    addresses = _failed_fields(letter) or list(_returned(letter, Status(), prose).to)
    return [
        _recipient(Block(action=action), reply, address)
        for address in addresses[:RECIPIENTS_MAX] or [""]
    ]


def _failed_fields(letter: Letter) -> list[str]:
    """X-Failed-Recipients, as Exim and Gmail write it."""
    value = letter.header("x-failed-recipients")
    return [found.rstrip(".") for found in _ADDRESS.findall(value)][:RECIPIENTS_MAX]


def _replier(letter: Letter, text: str) -> list[ReportedRecipient]:
    """Who replied by a program, and the words."""
    sender = next(iter(_ADDRESS.findall(letter.header("from"))), "")
    return [ReportedRecipient(address=sender, text=plain(text)[:WORDS_CHARACTERS_MAX])]


def _by_feedback(letter: Letter) -> Reading | None:
    """A complaint (RFC 5965), or None."""
    found = read_feedback(letter)
    if found is None:
        return None
    returned = _returned(letter, Status(), Prose())
    addresses = found.recipients or list(returned.to) or [""]
    return Reading(
        kind="feedback",
        mailer="arf",
        recipients=tuple(
            ReportedRecipient(
                address=address,
                original_recipient=address,
                text=plain("\n".join(letter.texts))[:WORDS_CHARACTERS_MAX],
                host=found.host,
            )
            for address in addresses[:RECIPIENTS_MAX]
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
        recipients=tuple(_with_mailer(r, mailer) for r in recipients),
        reporting_mta=status.reporting_mta,
        envid=status.envid,
        arrival=status.arrival,
        feedback=notified.feedback if notified is not None else "",
        returned=_returned(letter, status, prose),
    )


def _with_mailer(recipient: ReportedRecipient, mailer: str) -> ReportedRecipient:
    return msgspec.structs.replace(recipient, mailer=mailer)


def _returned(letter: Letter, status: Status, prose: Prose) -> Returned:
    header = letter.returned
    if not header and prose.header:
        octets = prose.header.encode("utf-8", "replace")
        begun = re.search(rb"^[!-9;-~]{2,60}:", octets, re.MULTILINE)
        if begun is not None:
            octets = octets[begun.start() :]
            header = octets[: min(header_end(octets), RETURNED_OCTETS_MAX)]
    fields = fields_of(header)

    def field(name: bytes) -> str:
        value = fields.get(name)
        return "" if value is None else decode_text(value)[:998]

    identifier = decode_charset(unfold(fields.get(b"message-id", b"")))
    return Returned(
        message_id=(identifier if len(identifier.split()) == 1 else "")[:998] or status.message_id,
        subject=field(b"subject"),
        sender=next(iter(_ADDRESS.findall(field(b"from"))), ""),
        to=tuple(_addresses(fields.get(b"to", b"")) + _addresses(fields.get(b"cc", b""))),
        header=header,
    )


def _addresses(value: bytes) -> list[str]:
    try:
        found = mailboxes(parse_address_list(decode_charset(unfold(value))))
    except RecursionError:
        return []
    return [each.address for each in found if each.domain][:RECIPIENTS_MAX]


def _unlikely(letter: Letter) -> frozenset[str]:
    """Addresses of the report itself: who wrote it and who gets it."""
    found: set[str] = set()
    for name in (
        "from",
        "to",
        "sender",
        "reply-to",
        "return-path",
        "delivered-to",
        "x-original-to",
    ):
        for address in _ADDRESS.findall(letter.header(name)):
            found.add(address.lower())
    return frozenset(found)
