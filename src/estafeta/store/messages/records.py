"""Records: what the store says about messages. Times are milliseconds since 1970 UTC."""

from __future__ import annotations

from array import array

import msgspec


class Text(msgspec.Struct, frozen=True):
    """What was parsed once, at delivery. parts: offsets as `mail.message.summary` packs them."""

    envelope: bytes
    structure: bytes
    basic: bytes
    parts: bytes
    message_id: str
    subject: str
    preview: str


class Placed(msgspec.Struct, frozen=True):
    mailbox: int
    uid: int
    modseq: int
    uidvalidity: int


class MessageRow(msgspec.Struct, frozen=True):
    """The narrow row. size: octets, prefix included. received: ms since 1970 UTC."""

    uid: int
    modseq: int
    flags: int
    keywords: str
    size: int
    received: int
    body: int


class Uids(msgspec.Struct, frozen=True):
    """Parallel arrays, in order of uid: a whole mailbox at 14 octets a message."""

    uids: array[int]  # 'I'
    flags: array[int]  # 'H', bits of store/flags.py
    modseqs: array[int]  # 'Q'


class Changes(msgspec.Struct, frozen=True):
    """What happened in a mailbox after some modseq. modseq: the mailbox's HIGHESTMODSEQ.

    changed: rows that are new or have other flags, in order of uid. expunged: uids, in order.
    complete: False where tombstones that old are gone; compare all uids then.
    """

    modseq: int
    changed: list[MessageRow]
    expunged: list[int]
    complete: bool
