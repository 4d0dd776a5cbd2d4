"""Mailboxes: address lists of header fields (From, To, Cc …).

Promises: never raises and takes linear time, whatever is written there; reads RFC 5322 §3.4 with
its obsolete forms (§4.4), comments, groups, encoded words in names (RFC 2047 §5) and UTF-8
(RFC 6532); from what is no address it keeps the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from estafeta.mail.address.path import quote
from estafeta.mail.words import decode_words


class Mailbox(msgspec.Struct, frozen=True):
    """name: display name or "". local: without quoting. domain: as written, "" where missing."""

    name: str
    local: str
    domain: str

    @property
    def address(self) -> str:
        """local@domain, quoted where it needs to be; not yet checked (`address.canonical`)."""
        local = quote(self.local) if self.local else ""
        return f"{local}@{self.domain}" if self.domain else local


class Group(msgspec.Struct, frozen=True):
    """A named list (RFC 5322 §3.4): `name: member, member;`."""

    name: str
    members: tuple[Mailbox, ...]


# One mailbox as programs write it, and the comma after it: nothing to unquote, no comment, no
# group.
_WORD = r'[^"\\\s<>()@,;:\[\]]++'
_SIMPLE = re.compile(
    rf"""[ \t]*+(?:
    (?: "([^"\\\r\n]*+)" | ([^"\\\r\n<>()@,;:\[\]]*+) ) [ \t]*+ <({_WORD})@({_WORD})>
    | ({_WORD})@({_WORD})
    )[ \t]*+(?:,|\Z)""",
    re.VERBOSE,
)
_FOLD = re.compile(r"\r?\n")
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_SPACES = re.compile(r"[ \t]{2,}")
_TOKEN = re.compile(
    r"[ \t]+"
    r'|"(?:[^"\\]|\\.)*+"?'
    r"|\[(?:[^\]\\]|\\.)*+\]?"
    r"|[(<>@,;:)\]]"
    r'|(?:[^ \t"\[(<>@,;:)\]\\]|\\.)++'
    r"|\\",
    re.DOTALL,
)
_COMMENT = re.compile(r"[^()\\]*+(?:\\.[^()\\]*+)*+", re.DOTALL)


def parse_address_list(value: str) -> list[Mailbox | Group]:
    """The mailboxes and groups of one field's value, names decoded. Never raises."""
    return [_decoded(entry) for entry in parse_raw(value)]


def mailboxes(entries: list[Mailbox | Group]) -> list[Mailbox]:
    """All mailboxes of a list, members of groups included."""
    found: list[Mailbox] = []
    for entry in entries:
        if isinstance(entry, Group):
            found.extend(entry.members)
        else:
            found.append(entry)
    return found


def _decoded(entry: Mailbox | Group) -> Mailbox | Group:
    if isinstance(entry, Group):
        return Group(decode_words(entry.name), tuple(_decoded_name(each) for each in entry.members))
    return _decoded_name(entry)


def _decoded_name(mailbox: Mailbox) -> Mailbox:
    if "=?" not in mailbox.name:
        return mailbox
    return Mailbox(decode_words(mailbox.name), mailbox.local, mailbox.domain)


def parse_raw(value: str) -> list[Mailbox | Group]:
    """As `parse_address_list`, encoded words in names left as they are (what ENVELOPE gives)."""
    if "\n" in value:
        value = _FOLD.sub("", value)
    entries: list[Mailbox | Group] = []
    at, end = 0, len(value)
    while at < end:
        match = _SIMPLE.match(value, at)
        if match is None:
            return _Parser(value).run()
        entries.append(_simple(match))
        at = match.end()
    return entries


def _simple(match: re.Match[str]) -> Mailbox:
    quoted, phrase, local, domain, bare, bare_domain = match.groups()
    if bare is not None:
        return Mailbox("", bare, bare_domain)
    name = quoted if quoted is not None else phrase.strip(" \t")
    return Mailbox(_SPACES.sub(" ", name) if "  " in name else name, local, domain)


class _Parser:
    """One pass over the lexemes; `pieces` is what the current item consists of so far."""

    __slots__ = ("angle", "comments", "entries", "group", "members", "pieces", "value")

    def __init__(self, value: str) -> None:
        self.value = value
        self.entries: list[Mailbox | Group] = []
        self.group: str | None = None
        self.members: list[Mailbox] = []
        self.pieces: list[str] = []
        self.comments: list[str] = []
        self.angle: list[str] | None = None

    def run(self) -> list[Mailbox | Group]:
        inside = False
        for lexeme in self._lexemes():
            if inside:
                assert self.angle is not None
                if lexeme == ">":
                    inside = False
                else:
                    self.angle.append(lexeme)
            elif lexeme == "<" and self.angle is None:
                inside = True
                self.angle = []
            elif lexeme == ",":
                self._end_item()
            elif lexeme == ";":
                self._end_item()
                self._end_group()
            elif lexeme == ":" and self.group is None and self.angle is None:
                self.group = _phrase(self.pieces) or " ".join(self.comments)
                self._reset()
            else:
                self.pieces.append(lexeme)
        self._end_item()
        self._end_group()
        return self.entries

    def _lexemes(self) -> Iterator[str]:
        """Tokens without comments; those go to `comments`."""
        value, at, end = self.value, 0, len(self.value)
        while at < end:
            match = _TOKEN.match(value, at)
            if match is None:
                at += 1
                continue
            at = match.end()
            lexeme = match[0]
            if lexeme == "(":
                start, at = at, self._comment_end(at)
                text = _PAIR.sub(r"\1", value[start : at - 1 if value[at - 1] == ")" else at])
                self.comments.append(text.strip())
                yield " "
            else:
                yield lexeme

    def _comment_end(self, at: int) -> int:
        """Past the ")" that closes the comment whose text begins here (RFC 5322 §3.2.2)."""
        value, depth = self.value, 1
        while depth:
            match = _COMMENT.match(value, at)
            at = match.end() if match else at
            if at >= len(value):
                return len(value)
            character = value[at]
            if character == "\\":  # alone at the end of the value
                return len(value)
            depth += 1 if character == "(" else -1
            at += 1
        return at

    def _reset(self) -> None:
        self.pieces, self.comments, self.angle = [], [], None

    def _end_item(self) -> None:
        mailbox = self._item()
        self._reset()
        if mailbox is None:
            return
        if self.group is None:
            self.entries.append(mailbox)
        else:
            self.members.append(mailbox)

    def _end_group(self) -> None:
        if self.group is not None:
            self.entries.append(Group(self.group, tuple(self.members)))
            self.group, self.members = None, []

    def _item(self) -> Mailbox | None:
        if self.angle is not None:
            local, domain = _addr_spec(_without_route(self.angle))
            name = _phrase(self.pieces) or " ".join(self.comments)
            return Mailbox(name, local, domain) if name or local or domain else None
        if "@" in self.pieces:
            at = self.pieces.index("@")
            start = _local_start(self.pieces, at)
            end = _domain_end(self.pieces, at)
            local, domain = _addr_spec(self.pieces[start:end])
            name = _phrase(self.pieces[:start]) or " ".join(self.comments)
            return Mailbox(name, local, domain)
        text = _phrase(self.pieces)
        if not text:
            return None
        if " " in text:
            return Mailbox(text, "", "")
        return Mailbox(" ".join(self.comments), text, "")


def _phrase(pieces: list[str]) -> str:
    """A display name: quoting removed, white space between words made one space."""
    if not pieces:
        return ""
    return "".join(
        " " if piece[0] in " \t" else _unquoted(piece) if piece[0] == '"' else piece
        for piece in _collapsed(pieces)
    ).strip(" ")


def _collapsed(pieces: list[str]) -> Iterator[str]:
    blank = True
    for piece in pieces:
        if piece[0] in " \t":
            if not blank:
                yield " "
            blank = True
        else:
            blank = False
            yield piece


def _unquoted(piece: str) -> str:
    inner = piece[1:-1] if len(piece) > 1 and piece.endswith('"') else piece[1:]
    return _PAIR.sub(r"\1", inner) if "\\" in inner else inner


def _addr_spec(pieces: list[str]) -> tuple[str, str]:
    """(local part without quoting, domain); obsolete white space around dots is dropped
    (RFC 5322 §4.4). The last "@" divides."""
    at = max((n for n, piece in enumerate(pieces) if piece == "@"), default=-1)
    before, after = (pieces, []) if at < 0 else (pieces[:at], pieces[at + 1 :])
    local = "".join(
        _unquoted(piece) if piece[0] == '"' else piece for piece in before if piece[0] not in " \t"
    )
    return local, "".join(piece for piece in after if piece[0] not in " \t")


def _without_route(pieces: list[str]) -> list[str]:
    """RFC 5322 §4.4 obs-route: `@host,@host:` before the address has no meaning today."""
    first = next((piece for piece in pieces if piece[0] not in " \t"), "")
    if first == "@" and ":" in pieces:
        return pieces[pieces.index(":") + 1 :]
    return pieces


def _local_start(pieces: list[str], at: int) -> int:
    """Where the local part before the "@" at `at` begins: white space ends it, unless a dot stands
    on either side."""
    start = at
    while start > 0 and pieces[start - 1][0] in " \t":
        start -= 1
    while start > 0:
        if pieces[start - 1][0] in " \t":
            gap = start - 1
            while gap > 0 and pieces[gap - 1][0] in " \t":
                gap -= 1
            if gap == 0 or not (pieces[start].startswith(".") or pieces[gap - 1].endswith(".")):
                break
            start = gap
        else:
            start -= 1
    return start


def _domain_end(pieces: list[str], at: int) -> int:
    """Where the domain after the "@" at `at` ends, by the same rule."""
    end, count = at + 1, len(pieces)
    while end < count and pieces[end][0] in " \t":
        end += 1
    while end < count:
        if pieces[end][0] in " \t":
            gap = end + 1
            while gap < count and pieces[gap][0] in " \t":
                gap += 1
            if gap == count or not (pieces[gap].startswith(".") or pieces[end - 1].endswith(".")):
                break
            end = gap
        else:
            end += 1
    return end
