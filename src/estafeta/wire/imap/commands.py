"""commands: what a client may ask for, as values; the grammar makes them, the session serves them.

Octet strings stay octets; mailbox names are text (decoded from modified UTF-7).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

import msgspec


class State(Enum):
    """RFC 3501 §3."""

    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    LOGOUT = "logout"


class SequenceSet(msgspec.Struct, frozen=True):
    """RFC 3501 §9 sequence-set. ranges: (first, last) as written; 0 stands for "*"."""

    ranges: tuple[tuple[int, int], ...]


class Section(msgspec.Struct, frozen=True):
    """RFC 3501 §9 section. part: numbers; text: "" HEADER HEADER.FIELDS HEADER.FIELDS.NOT TEXT
    MIME.

    fields: names in the client's spelling. written: the section as it is echoed, brackets included.
    """

    part: tuple[int, ...]
    text: str
    fields: tuple[bytes, ...]
    written: bytes


class Item(msgspec.Struct, frozen=True):
    """One data item of FETCH. name: upper case, as it is answered.

    section: for BODY[…] and for the RFC822 items as what they mean; partial: (start, octets).
    seen: serving it sets \\Seen.
    """

    name: bytes
    section: Section | None = None
    partial: tuple[int, int] | None = None
    seen: bool = False


class Flags(msgspec.Struct, frozen=True):
    """system: names without backslash in lower case; keywords as written."""

    system: frozenset[str] = frozenset()
    keywords: frozenset[str] = frozenset()


# Search keys --------------------------------------------------------------------------------------


class All(msgspec.Struct, frozen=True):
    pass


class Sequence(msgspec.Struct, frozen=True):
    numbers: SequenceSet
    uid: bool


class HasFlag(msgspec.Struct, frozen=True):
    """flag: as in `Flags.system`, and "recent"; or a keyword."""

    flag: str
    keyword: bool
    wanted: bool


class Size(msgspec.Struct, frozen=True):
    """larger: more octets than `octets`; else fewer."""

    octets: int
    larger: bool


class Date(msgspec.Struct, frozen=True):
    """Day since 1970; sent: by the Date field, else INTERNALDATE. relation: "<", "=", ">="."""

    day: int
    sent: bool
    relation: str


class Header(msgspec.Struct, frozen=True):
    """The field `name` holds `value`; "" = it exists."""

    name: bytes
    value: str


class Text(msgspec.Struct, frozen=True):
    """headers: the header counts too (TEXT); else the body alone (BODY)."""

    value: str
    headers: bool


class Not(msgspec.Struct, frozen=True):
    key: Key


class Or(msgspec.Struct, frozen=True):
    left: Key
    right: Key


class And(msgspec.Struct, frozen=True):
    keys: tuple[Key, ...]


Key = All | Sequence | HasFlag | Size | Date | Header | Text | Not | Or | And


# Commands -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    """tag: as the client wrote it. name: upper case, with "UID " where it was so."""

    tag: bytes
    name: str


class Capability(Command):
    __slots__ = ()


class Noop(Command):
    __slots__ = ()


class Logout(Command):
    __slots__ = ()


class StartTls(Command):
    __slots__ = ()


class Check(Command):
    __slots__ = ()


class Close(Command):
    __slots__ = ()


class Unselect(Command):
    """RFC 3691."""

    __slots__ = ()


class Namespace(Command):
    """RFC 2342."""

    __slots__ = ()


class Idle(Command):
    """RFC 2177."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Authenticate(Command):
    """initial: decoded SASL-IR (RFC 4959), or None."""

    mechanism: str
    initial: bytes | None


@dataclass(frozen=True, slots=True)
class Login(Command):
    user: bytes
    password: bytes


@dataclass(frozen=True, slots=True)
class Id(Command):
    """RFC 2971: fields by lower-case name; empty for NIL."""

    fields: tuple[tuple[bytes, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Enable(Command):
    """RFC 5161: names in upper case."""

    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Select(Command):
    """Also EXAMINE: read_only."""

    mailbox: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Create(Command):
    """role: special use asked for (RFC 6154 §3), "" without."""

    mailbox: str
    role: str


@dataclass(frozen=True, slots=True)
class Delete(Command):
    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename(Command):
    mailbox: str
    to: str


@dataclass(frozen=True, slots=True)
class Subscribe(Command):
    mailbox: str
    wanted: bool


@dataclass(frozen=True, slots=True)
class ListMailboxes(Command):
    """LIST and LSUB (subscribed)."""

    reference: str
    pattern: str
    subscribed: bool


@dataclass(frozen=True, slots=True)
class Status(Command):
    """items: upper case, in the client's order."""

    mailbox: str
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Append(Command):
    """A message of APPEND is announced: `size` octets that come as `MessageData`.

    received: ms since 1970, or None for now. synchronising: the client waits for our "+".
    first: false for the further ones of MULTIAPPEND (RFC 3502).
    """

    mailbox: str
    flags: Flags
    received: int | None
    size: int
    synchronising: bool
    first: bool


@dataclass(frozen=True, slots=True)
class Expunge(Command):
    """uids: UID EXPUNGE (RFC 4315) names them."""

    uids: SequenceSet | None


@dataclass(frozen=True, slots=True)
class Search(Command):
    """wanted: RETURN options of ESEARCH (RFC 4731), or None for a plain SEARCH response."""

    uid: bool
    key: Key
    wanted: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Fetch(Command):
    uid: bool
    numbers: SequenceSet
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class StoreFlags(Command):
    """STORE."""

    uid: bool
    numbers: SequenceSet
    mode: Literal["set", "add", "remove"]
    silent: bool
    flags: Flags


@dataclass(frozen=True, slots=True)
class Copy(Command):
    """Also MOVE (RFC 6851)."""

    uid: bool
    numbers: SequenceSet
    mailbox: str
    move: bool


@dataclass(frozen=True, slots=True)
class GetQuota(Command):
    """RFC 9208."""

    root: bytes


@dataclass(frozen=True, slots=True)
class GetQuotaRoot(Command):
    mailbox: str
