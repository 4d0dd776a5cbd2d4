"""texts: whether a message says something, decoded (RFC 3501 §6.4.4 HEADER, BODY, TEXT).

Pure, at the top level of the module, so that it can run in another process. Comparison ignores
case and runs of white space folded into one.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence

from estafeta.mail.address.mailboxes import Group, Mailbox, parse_raw
from estafeta.mail.message import LEAF, Part, index, pairs
from estafeta.mail.words import decode_base64, decode_charset, decode_text


def folded(text: str) -> str:
    """The form in which texts are compared."""
    return text.casefold()


_ADDRESSES = frozenset({b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc"})


def header_says(header: bytes, name: bytes, needle: str) -> bool:
    """name in lower case; needle folded; "" asks whether the field is there.

    Of addresses both forms count: as written, and as ENVELOPE has them, without comments.
    """
    for field, value in pairs(header):
        if field.lower() != name:
            continue
        if not needle or needle in folded(decode_text(value)):
            return True
        if name in _ADDRESSES and needle in folded(_addresses(value)):
            return True
    return False


def _addresses(value: bytes) -> str:
    found = parse_raw(value.decode("utf-8", "replace"))
    flat: list[Mailbox] = []
    for entry in found:
        flat.extend(entry.members if isinstance(entry, Group) else (entry,))
    return ", ".join(f"{one.name} <{one.local}@{one.domain}>" for one in flat)


def any_header_says(header: bytes, needle: str) -> bool:
    return any(
        needle in folded(f"{name.decode('latin-1')}: {decode_text(value)}")
        for name, value in pairs(header)
    )


def message_says(data: bytes, needle: str, headers: bool) -> bool:
    """data: the whole message. headers: its header counts too, and those of its parts."""
    root = index(data)
    if headers and any_header_says(data[root.start : root.body], needle):
        return True
    waiting = [root]
    while waiting:
        part = waiting.pop()
        waiting.extend(part.children)
        if part is not root and any_header_says(data[part.start : part.body], needle):
            return True
        if part.kind == LEAF and part.type == b"text" and needle in folded(_text(data, part)):
            return True
    return False


def _text(data: bytes, part: Part) -> str:
    octets = data[part.body : part.end]
    if part.encoding == b"base64":
        octets = decode_base64(octets)
    elif part.encoding == b"quoted-printable":
        octets = binascii.a2b_qp(octets)
    return decode_charset(octets, part.parameter("charset") or "")


def which_say(blob: bytes, sizes: Sequence[int], needle: str, headers: bool) -> list[bool]:
    """For each of the messages that lie one after the other in `blob`."""
    answers = []
    at = 0
    for size in sizes:
        answers.append(message_says(blob[at : at + size], needle, headers))
        at += size
    return answers


__all__ = ["any_header_says", "folded", "header_says", "message_says", "which_say"]
