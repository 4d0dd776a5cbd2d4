"""Blind: who got a message without being named in it, as the sender's own copy tells it."""

from __future__ import annotations

from collections.abc import Sequence

from estafeta.mail import header as fields
from estafeta.mail.address import (
    AddressError,
    Mailbox,
    canonical,
    is_ascii,
    parse_address_list,
    split,
    unquote,
)
from estafeta.mail.address import mailboxes as mailboxes_of
from estafeta.mail.envelope import Recipient
from estafeta.mail.message.fields import units
from estafeta.mail.words import decode_charset
from estafeta.store.sent import PRIVATE_FIELDS

_PRIVATE = frozenset(name.lower().encode("ascii") for name in PRIVATE_FIELDS)
_OPEN_FIELDS = ("To", "Cc", "Resent-To", "Resent-Cc")


def blind_copies(header: bytes, recipients: Sequence[Recipient]) -> bytes:
    """The fields with which the copy in \\Sent begins, whole: Bcc as it was written or, where the
    client kept it to itself, the recipients whom no other field names; b"" where all are named."""
    written = [octets for name, octets in units(header) if name in _PRIVATE]
    if written:
        return b"".join(written)
    named = {
        _key(mailbox.address)
        for name in _OPEN_FIELDS
        for value in fields.find(header, name)
        for mailbox in mailboxes_of(parse_address_list(decode_charset(value)))
    }
    hidden = [r.address for r in recipients if _key(r.address) not in named]
    if not hidden:
        return b""
    utf8 = not all(map(is_ascii, hidden))
    return fields.fold_addresses("Bcc", [_mailbox(each) for each in hidden], utf8=utf8)


def _mailbox(address: str) -> Mailbox:
    local, domain = split(address)
    return Mailbox("", unquote(local), domain)


def _key(address: str) -> str:
    """Under which two writings of an address are one."""
    try:
        return canonical(address).lower()
    except AddressError:
        return address.lower()
