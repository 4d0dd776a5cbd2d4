"""Authors: the addresses in From, read off an ENVELOPE as the store keeps it.

Promises: never raises for an envelope of `imap_form`; so nobody need read the message again.
"""

from __future__ import annotations

import re

from estafeta.mail.address import AddressError, Mailbox, canonical

_FROM = 2
"""Its place among the items of ENVELOPE (RFC 3501 §7.4.2)."""

_TOKEN = re.compile(rb' |\(|\)|NIL|"((?:[^"\\]|\\.)*+)"|\{(\d+)\}\r\n', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)

_Item = bytes | list["_Item"] | None


def authors(envelope: bytes) -> list[str]:
    """Canonical; [] where there is none, or one that is no address."""
    items = _items(envelope)
    entries = items[_FROM] if len(items) > _FROM else None
    found: list[str] = []
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, list) or len(entry) != 4:
            return []
        local, host = entry[2], entry[3]
        if local is None or host is None:
            continue  # RFC 3501 §7.4.2: the beginning or the end of a group
        if not isinstance(local, bytes) or not isinstance(host, bytes):
            return []
        try:
            found.append(canonical(Mailbox("", _text(local), _text(host)).address))
        except AddressError:
            return []
    return found


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _items(envelope: bytes) -> list[_Item]:
    """The outermost list; what is cut short ends there."""
    whole: list[_Item] = []
    nested: list[list[_Item]] = [whole]
    at = 0
    while (match := _TOKEN.match(envelope, at)) is not None:
        token, at = match[0], match.end()
        if token == b"(":
            inner: list[_Item] = []
            nested[-1].append(inner)
            nested.append(inner)
        elif token == b")":
            if len(nested) == 1:
                break
            nested.pop()
        elif token == b"NIL":
            nested[-1].append(None)
        elif match[1] is not None:
            nested[-1].append(_ESCAPED.sub(rb"\1", match[1]))
        elif match[2] is not None:
            end = at + int(match[2])
            nested[-1].append(envelope[at:end])
            at = end
    return whole[0] if whole and isinstance(whole[0], list) else []
