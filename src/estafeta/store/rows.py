"""Rows: the records that rooms exchange with the store. Times are milliseconds since 1970 UTC."""

from __future__ import annotations

import msgspec

FAULT_HELD = "our own fault: "
"""How queue.held begins where mail is held for a fault of our own set-up (queue/parked.py)."""


class Account(msgspec.Struct, frozen=True):
    """save_sent: what it submits is filed in its \\Sent by us."""

    id: int
    address: str
    domain: str
    name: str
    language: str
    quota: int
    used: int
    disabled: bool
    save_sent: bool = False


class Domain(msgspec.Struct, frozen=True):
    name: str
    separator: str
    catch_all: str
    language: str


class Mailbox(msgspec.Struct, frozen=True):
    """One row of `mailbox`."""

    account: int
    id: int
    name: str
    role: str
    uidvalidity: int
    uidnext: int
    recent: int
    modseq: int
    floor: int
    messages: int
    unseen: int
    bytes: int


class Acceptance(msgspec.Struct, frozen=True):
    """One row of `acceptance`: a message we took responsibility for."""

    id: int
    at: int
    origin: str
    reverse_path: str
    body: int
    size: int
    recipients: int
    parent: int | None = None
    account: int | None = None
    message_id: str = ""
    smtputf8: bool = False
    eight_bit: bool = False
    ret: str = ""
    envid: str = ""
    peer: str = ""
    tls: str = ""
    digest: bytes | None = None
    unconfirmed: bool = False


class Stored(msgspec.Struct, frozen=True, tag="stored"):
    account: int
    mailbox: int
    uid: int


class Relayed(msgspec.Struct, frozen=True, tag="relayed"):
    host: str
    reply: str


class Returned(msgspec.Struct, frozen=True, tag="returned"):
    bounce: int


class Expanded(msgspec.Struct, frozen=True, tag="expanded"):
    child: int


class Dropped(msgspec.Struct, frozen=True, tag="dropped"):
    rule: str


class Cancelled(msgspec.Struct, frozen=True, tag="cancelled"):
    who: str


class Duplicate(msgspec.Struct, frozen=True, tag="duplicate"):
    of: int


Fate = Stored | Relayed | Returned | Expanded | Dropped | Cancelled | Duplicate
