"""Attachments: what a reader of a message could save as a file, wherever it lies in the message.

Promises: never raises but TooMuch; octets are decoded where something is looked for in them. Parts
of messages within messages count, those too that lie encoded; files that are written into a text by
uuencode; a part that says it is text.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

import msgspec

from estafeta.deliver.policy import archives
from estafeta.deliver.policy.budget import ATTACHMENT_OCTETS, Budget, TooMuch
from estafeta.deliver.policy.limits import HEAD_OCTETS, HEAD_OCTETS_MAX, MESSAGES_DEPTH_MAX
from estafeta.deliver.policy.names import names_of
from estafeta.deliver.policy.plain import AS_IT_IS
from estafeta.mail.limits import HEADER_OCTETS_MAX
from estafeta.mail.message.parts import LEAF, MULTIPART, Part, index
from estafeta.mail.words import decode_charset

_PIECES_MAX = 1000
_BASE64_TAIL = 96 * 1024
_TAIL_OCTETS = 65_536 + 22
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64 = bytes(octet for octet in range(256) if octet not in _LETTERS + b"=")
_UUENCODED = re.compile(rb"^begin(-base64)? [0-7]{3,4} ([^\r\n]{1,255})\r?\n", re.MULTILINE)
_LINE_OCTETS_MAX = 100
_OTHERS = (b"Rar!", b"\xd0\xcf\x11\xe0")
"""Of which something is known: whether it wants a password, whether there are macros."""

_UU = (b"x-uuencode", b"x-uue", b"uuencode")


class Attachment(msgspec.Struct):
    """names: what it is called, the likeliest first. declared: its Content-Type in lower case, ""
    for none. head: its first octets. whole: all of it, where something may lie in it; else b""."""

    names: list[str]
    declared: str
    head: bytes
    whole: bytes = b""


class Tree(msgspec.Struct, frozen=True):
    """How a message is built. depth: parts within parts. whole: no part was passed over."""

    root: Part
    parts: int
    depth: int
    whole: bool


def attachments(
    data: bytes, root: Part, budget: Budget, *, opens: bool, depth: int = 0
) -> Iterator[Attachment]:
    """Every part of a message that is no multipart. opens: give what can be
    looked into whole. Raises TooMuch."""
    if depth > MESSAGES_DEPTH_MAX:
        raise TooMuch
    waiting = [root]
    while waiting:
        part = waiting.pop()
        waiting += reversed(part.children)
        budget.spend(min(part.body - part.start, HEADER_OCTETS_MAX))
        if part.kind == MULTIPART:
            continue
        names = names_of(bytes(data[part.start : min(part.body, part.start + HEADER_OCTETS_MAX)]))
        budget.spend(ATTACHMENT_OCTETS + 64 * sum(map(len, names)))
        declared = f"{part.type.decode('latin-1')}/{part.subtype.decode('latin-1')}"
        content = _Content(data, part)
        # A text that is shown as one is what it says; any word may begin as some file does.
        is_text = part.type == b"text" and part.encoding in AS_IT_IS and not names
        attachment = Attachment(names, declared, b"" if is_text else content.head())
        if opens and part.kind == LEAF and not is_text and content.may_hold_more(attachment.head):
            attachment.whole = content.whole(budget)
        yield attachment
        if part.kind != LEAF:
            continue
        if part.type == b"text" or part.encoding in _UU:
            yield from _uuencoded(data, part, budget, opens=opens)
        if _is_message(part, names):
            inner = content.whole(budget)
            yield from attachments(inner, index(inner), budget, opens=opens, depth=depth + 1)


def _is_message(part: Part, names: list[str]) -> bool:
    """A message that `index` did not look into: it lies encoded, or goes by its name only."""
    return (part.type == b"message" and part.subtype in (b"rfc822", b"global", b"news")) or any(
        name.lower().rstrip(". ").endswith((".eml", ".mht", ".mhtml")) for name in names
    )


def build(root: Part, depth_max: int, parts_max: int) -> Tree:
    """How the tree of a message is built. depth_max, parts_max: as far as `index` goes."""
    parts = deepest = 0
    whole = True
    waiting = [(root, 1)]
    while waiting:
        part, depth = waiting.pop()
        parts += 1
        deepest = max(deepest, depth)
        whole = whole and part.body - part.start <= HEADER_OCTETS_MAX
        waiting += [(child, depth + 1) for child in part.children]
    return Tree(root, parts, deepest, whole and parts < parts_max and deepest <= depth_max)


class _Content:
    """What a part holds, decoded as far as it is wanted."""

    __slots__ = ("_data", "_encoding", "_end", "_start")

    def __init__(self, data: bytes, part: Part) -> None:
        self._data = data
        self._start, self._end = part.body, part.end
        self._encoding = part.encoding.strip().lower()

    def head(self) -> bytes:
        """The first octets; more where there are any that a mark might stand in."""
        wanted = HEAD_OCTETS if self._end - self._start < HEAD_OCTETS_MAX else HEAD_OCTETS_MAX
        raw = self._data[self._start : min(self._end, self._start + 2 * wanted)]
        return self._decoded(raw)[:wanted]

    def may_hold_more(self, head: bytes) -> bool:
        """Judged by both ends: a zip is read from its end."""
        return archives.is_archive(head) or head.startswith(_OTHERS) or self._ends_as_zip()

    def _ends_as_zip(self) -> bool:
        if self._encoding != b"base64":
            start = max(self._start, self._end - 3 * _TAIL_OCTETS)
            return archives.ends_as_zip(self._decoded(self._data[start : self._end]))
        tail = self._data[max(self._start, self._end - _BASE64_TAIL) : self._end]
        letters = tail.translate(None, _NOT_BASE64 + b"=")
        # Where a group of four begins depends on all that went before.
        return any(archives.ends_as_zip(decode_each_base64(letters[n:])) for n in range(4))

    def whole(self, budget: Budget) -> bytes:
        """Raises TooMuch."""
        budget.spend(self._end - self._start)
        return self._decoded(self._data[self._start : self._end])

    def _decoded(self, raw: bytes) -> bytes:
        if self._encoding == b"base64":
            return decode_each_base64(raw)
        if self._encoding == b"quoted-printable":
            return binascii.a2b_qp(raw)
        return raw


def decode_each_base64(raw: bytes) -> bytes:
    """Base64 with padding anywhere in it: programs differ in whether they go on behind that."""
    found = []
    *pieces, last = raw.translate(None, _NOT_BASE64).split(b"=", _PIECES_MAX)
    for piece in (*pieces, last.replace(b"=", b"")):
        if piece:
            rest = len(piece) % 4
            letters = piece[:-1] if rest == 1 else piece + b"=" * (-rest % 4)
            found.append(binascii.a2b_base64(letters))
    return found[0] if len(found) == 1 else b"".join(found)


def _uuencoded(data: bytes, part: Part, budget: Budget, *, opens: bool) -> Iterator[Attachment]:
    """Files that stand in a text."""
    if data.find(b"begin", part.body, part.end) < 0:
        return
    for match in _UUENCODED.finditer(data, part.body, part.end):
        name = decode_charset(match[2]).strip()
        budget.spend(ATTACHMENT_OCTETS + 64 * len(name))
        base64 = match[1] is not None
        head = _uudecoded(data, match.end(), part.end, HEAD_OCTETS, base64=base64)
        attachment = Attachment([name], "", head)
        if opens and archives.is_archive(head):
            budget.spend(8 * (part.end - match.end()))  # line by line
            attachment.whole = _uudecoded(data, match.end(), part.end, -1, base64=base64)
        yield attachment


def _uudecoded(data: bytes, start: int, end: int, most: int, *, base64: bool) -> bytes:
    """most: octets, about; -1: all."""
    found = bytearray()
    at = start
    while at < end and (most < 0 or len(found) < most):
        stop = data.find(b"\n", at, min(end, at + _LINE_OCTETS_MAX))
        if stop < 0:
            break
        line = data[at:stop].rstrip(b"\r")
        at = stop + 1
        if line in (b"end", b"====", b"`"):
            break
        try:
            found += binascii.a2b_base64(line) if base64 else binascii.a2b_uu(line)
        except binascii.Error:
            break
    return bytes(found)
