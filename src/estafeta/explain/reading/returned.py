"""Returned: the message that a report concerns, as far as it is given back."""

from __future__ import annotations

import re

from estafeta.explain.reading.forms import ADDRESS
from estafeta.explain.reading.letter import Letter, fields_of
from estafeta.explain.reading.limits import RECIPIENTS_MAX, RETURNED_OCTETS_MAX
from estafeta.explain.reading.nouns import Returned
from estafeta.mail.address import mailboxes, parse_address_list
from estafeta.mail.limits import LINE_OCTETS_MAX
from estafeta.mail.message.fields import header_end
from estafeta.mail.words import decode_charset, decode_text, unfold

_ADDRESS = re.compile(ADDRESS)
_FIELD = re.compile(rb"^[!-9;-~]{2,60}:", re.MULTILINE)


def returned_message(letter: Letter, told: str = "", named: str = "") -> Returned:
    """What a report gives back. told: of the text, what follows the report's own; named: the
    Message-ID that its fields name."""
    header = letter.returned
    if not header and told:
        octets = told.encode("utf-8", "replace")
        begun = _FIELD.search(octets)
        if begun is not None:
            octets = octets[begun.start() :]
            header = octets[: min(header_end(octets), RETURNED_OCTETS_MAX)]
    fields = fields_of(header)

    def field(name: bytes) -> str:
        value = fields.get(name)
        return "" if value is None else decode_text(value)[:LINE_OCTETS_MAX]

    identifier = decode_charset(unfold(fields.get(b"message-id", b"")))
    return Returned(
        message_id=(identifier if len(identifier.split()) == 1 else "")[:LINE_OCTETS_MAX] or named,
        subject=field(b"subject"),
        sender=next(iter(_ADDRESS.findall(field(b"from"))), ""),
        to=tuple(_addresses(fields.get(b"to", b"")) + _addresses(fields.get(b"cc", b""))),
        header=header,
    )


def _addresses(value: bytes) -> list[str]:
    found = mailboxes(parse_address_list(decode_charset(unfold(value))))
    return [each.address for each in found if each.domain][:RECIPIENTS_MAX]
