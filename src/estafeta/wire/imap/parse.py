"""parse: from the octets of a whole command to its value; the table of names, states, functions.

The table is RFC 3501 §6.1-6.4: which command is allowed in which state.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from estafeta.wire.imap import commands as a
from estafeta.wire.imap import grammar, limits, search
from estafeta.wire.imap.commands import Command, State
from estafeta.wire.imap.cursor import (
    BadCommand,
    Cursor,
    astring,
    list_mailbox,
    mailbox,
    nstring,
    string,
    word,
)

# RFC 3501 §9 tag: ASTRING-CHARs but "+".
TAG = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\+]+")
_NAME = re.compile(rb"[A-Za-z]+")

Read = Callable[[Cursor, bytes, str], Command]


class Row(NamedTuple):
    """states: where the command is allowed. uid: it exists behind "UID " too."""

    read: Read
    states: frozenset[State]
    uid: bool = False


def command(line: bytes, literals: list[bytes], state: State) -> Command:
    """line: without the last CRLF. Raises BadCommand."""
    c = Cursor(line, literals)
    tag, name, row = head(c)
    if state not in row.states:
        raise BadCommand(f"{name} is not possible in the state '{state.value}'", code="CLIENTBUG")
    value = row.read(c, tag, name)
    c.end()
    return value


def head(c: Cursor) -> tuple[bytes, str, Row]:
    """tag SP name; the name in upper case, "UID " before it where it was so."""
    match = c.match(TAG)
    if match is None:
        raise BadCommand("a tag expected")
    tag = match.group()
    c.space()
    name = _name(c)
    prefix = ""
    if name == "UID":
        c.space()
        name = _name(c)
        prefix = "UID "
    row = TABLE.get(name)
    if row is None or (prefix and not row.uid):
        raise BadCommand(f"unknown command {prefix}{name[:30]}")
    return tag, prefix + name, row


def _name(c: Cursor) -> str:
    match = c.match(_NAME)
    if match is None:
        raise BadCommand(f"the name of a command expected{c.where()}")
    return match.group().upper().decode("ascii")


# One function a command ---------------------------------------------------------------------------


def _alone(kind: Callable[[bytes, str], Command]) -> Read:
    return lambda c, tag, name: kind(tag, name)


def _authenticate(c: Cursor, tag: bytes, name: str) -> Command:
    c.space()
    mechanism = word(c, "a SASL mechanism")
    initial = None
    if c.skip(b" "):
        # RFC 4959 §3: "=" is an initial response of no octets.
        rest = c.data[c.pos :]
        c.pos = len(c.data)
        initial = b"" if rest == b"=" else sasl_octets(rest)
    return a.Authenticate(tag, name, mechanism, initial)


def sasl_octets(base64: bytes) -> bytes:
    try:
        return binascii.a2b_base64(base64, strict_mode=True)
    except binascii.Error as error:
        raise BadCommand("this is not base64") from error


def _login(c: Cursor, tag: bytes, name: str) -> Command:
    c.space()
    user = astring(c, "a user name")
    c.space()
    return a.Login(tag, name, user, astring(c, "a password"))


def _id(c: Cursor, tag: bytes, name: str) -> Command:
    c.space()
    if c.data[c.pos : c.pos + 3].upper() == b"NIL":
        c.pos += 3
        return a.Id(tag, name, ())
    c.expect(b"(", "a list or NIL")
    fields: list[tuple[bytes, bytes | None]] = []
    while not c.skip(b")"):
        if fields:
            c.space()
        if len(fields) >= limits.ID_FIELDS_MAX:
            raise BadCommand(f"more than {limits.ID_FIELDS_MAX} fields")
        field = string(c, "the name of a field")
        c.space()
        fields.append((field.lower(), nstring(c)))
    return a.Id(tag, name, tuple(fields))


def _enable(c: Cursor, tag: bytes, name: str) -> Command:
    names = []
    while c.skip(b" ") and not c.at_end():
        names.append(word(c, "a capability"))
    if not names:
        raise BadCommand("a capability to enable expected")
    return a.Enable(tag, name, tuple(names))


def _select(c: Cursor, tag: bytes, name: str) -> Command:
    c.space()
    return a.Select(tag, name, mailbox(c), name == "EXAMINE")


def _create(c: Cursor, tag: bytes, name: str) -> Command:
    c.space()
    return a.Create(tag, name, mailbox(c), grammar.optional(c, grammar.special_use))


def _delete(c: Cursor, tag: bytes, name: str) -> Command:
    c.space()
    return a.Delete(tag, name, mailbox(c))


def _rename(c: Cursor, tag: bytes, name: str) -> Command:
    c.space()
    source = mailbox(c)
    c.space()
    return a.Rename(tag, name, source, mailbox(c))


def _subscribe(c: Cursor, tag: bytes, name: str) -> Command:
    c.space()
    return a.Subscribe(tag, name, mailbox(c), name == "SUBSCRIBE")


def _list(c: Cursor, tag: bytes, name: str) -> Command:
    c.space()
    reference = list_mailbox(c)
    c.space()
    pattern = list_mailbox(c)
    if pattern.count("*") + pattern.count("%") > limits.LIST_PATTERN_WILDCARDS_MAX:
        raise BadCommand("the pattern has too many wildcards", code="LIMIT", no=True)
    return a.ListMailboxes(tag, name, reference, pattern, name == "LSUB")


def _status(c: Cursor, tag: bytes, name: str) -> Command:
    c.space()
    box = mailbox(c)
    c.space()
    return a.Status(tag, name, box, grammar.status_items(c))


def _expunge(c: Cursor, tag: bytes, name: str) -> Command:
    uids = None
    if name == "UID EXPUNGE":
        c.space()
        uids = grammar.sequence_set(c)
    return a.Expunge(tag, name, uids)


def _search(c: Cursor, tag: bytes, name: str) -> Command:
    wanted, key = search.program(c)
    return a.Search(tag, name, name.startswith("UID"), key, wanted)


def _fetch(c: Cursor, tag: bytes, name: str) -> Command:
    c.space()
    numbers = grammar.sequence_set(c)
    c.space()
    return a.Fetch(tag, name, name.startswith("UID"), numbers, grammar.fetch_items(c))


_STORE_MODES: dict[str, Literal["set", "add", "remove"]] = {
    "FLAGS": "set",
    "+FLAGS": "add",
    "-FLAGS": "remove",
}


def _store(c: Cursor, tag: bytes, name: str) -> Command:
    c.space()
    numbers = grammar.sequence_set(c)
    c.space()
    item, dot, silent = word(c, "FLAGS, +FLAGS or -FLAGS").partition(".")
    mode = _STORE_MODES.get(item)
    if mode is None or (dot and silent != "SILENT"):
        raise BadCommand("FLAGS, +FLAGS or -FLAGS expected, .SILENT behind it or not")
    c.space()
    flags = grammar.store_flags(c)
    return a.StoreFlags(tag, name, name.startswith("UID"), numbers, mode, bool(dot), flags)


def _copy(c: Cursor, tag: bytes, name: str) -> Command:
    c.space()
    numbers = grammar.sequence_set(c)
    c.space()
    return a.Copy(tag, name, name.startswith("UID"), numbers, mailbox(c), name.endswith("MOVE"))


def _get_quota(c: Cursor, tag: bytes, name: str) -> Command:
    c.space()
    return a.GetQuota(tag, name, astring(c, "a quota root"))


def _get_quota_root(c: Cursor, tag: bytes, name: str) -> Command:
    c.space()
    return a.GetQuotaRoot(tag, name, mailbox(c))


def _append(c: Cursor, tag: bytes, name: str) -> Command:
    # `append_head` takes every APPEND that announces a message.
    c.space()
    mailbox(c)
    raise BadCommand("a message as a literal expected")


_ANNOUNCED = re.compile(rb"~?\{(\d{1,20})([+-]?)\}\r\n\Z")


def append_head(c: Cursor, previous: a.Append | None, tag: bytes, box: str) -> a.Append | None:
    """[SP flags] [SP date-time] SP literal, up to the end of what has come; None if it is not that.

    previous: the message before it in a MULTIAPPEND (RFC 3502).
    """
    flags = a.Flags()
    received = None
    c.space()
    if c.peek() == b"(":
        flags = grammar.flag_list(c)
        c.space()
    if c.peek() == b'"':
        received = grammar.date_time(c)
        c.space()
    match = c.match(_ANNOUNCED)
    if match is None:
        return None
    return a.Append(
        tag, "APPEND", box, flags, received, int(match.group(1)), not match.group(2), not previous
    )


_ANY = frozenset({State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED})
_BEFORE = frozenset({State.NOT_AUTHENTICATED})
_AFTER = frozenset({State.AUTHENTICATED, State.SELECTED})
_IN = frozenset({State.SELECTED})

TABLE: dict[str, Row] = {
    # RFC 3501 §6.1, any state
    "CAPABILITY": Row(_alone(a.Capability), _ANY),
    "NOOP": Row(_alone(a.Noop), _ANY),
    "LOGOUT": Row(_alone(a.Logout), _ANY),
    "ID": Row(_id, _ANY),
    # §6.2, not authenticated
    "STARTTLS": Row(_alone(a.StartTls), _BEFORE),
    "AUTHENTICATE": Row(_authenticate, _BEFORE),
    "LOGIN": Row(_login, _BEFORE),
    # §6.3, authenticated
    "ENABLE": Row(_enable, _AFTER),
    "SELECT": Row(_select, _AFTER),
    "EXAMINE": Row(_select, _AFTER),
    "CREATE": Row(_create, _AFTER),
    "DELETE": Row(_delete, _AFTER),
    "RENAME": Row(_rename, _AFTER),
    "SUBSCRIBE": Row(_subscribe, _AFTER),
    "UNSUBSCRIBE": Row(_subscribe, _AFTER),
    "LIST": Row(_list, _AFTER),
    "LSUB": Row(_list, _AFTER),
    "NAMESPACE": Row(_alone(a.Namespace), _AFTER),
    "STATUS": Row(_status, _AFTER),
    "APPEND": Row(_append, _AFTER),
    "IDLE": Row(_alone(a.Idle), _AFTER),
    "GETQUOTA": Row(_get_quota, _AFTER),
    "GETQUOTAROOT": Row(_get_quota_root, _AFTER),
    # §6.4, selected
    "CHECK": Row(_alone(a.Check), _IN),
    "CLOSE": Row(_alone(a.Close), _IN),
    "UNSELECT": Row(_alone(a.Unselect), _IN),
    "EXPUNGE": Row(_expunge, _IN, uid=True),
    "SEARCH": Row(_search, _IN, uid=True),
    "FETCH": Row(_fetch, _IN, uid=True),
    "STORE": Row(_store, _IN, uid=True),
    "COPY": Row(_copy, _IN, uid=True),
    "MOVE": Row(_copy, _IN, uid=True),
}
