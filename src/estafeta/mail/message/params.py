"""Params: the structured Content-* fields, and their parameters.

Promises: never raises, linear time. Content-Type RFC 2045 §5.1, Content-Disposition RFC 2183,
values in pieces and in charsets RFC 2231. Where the grammar is broken the readable part counts.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from urllib.parse import unquote_to_bytes

from estafeta.mail.limits import PARAMETERS_MAX
from estafeta.mail.words import decode_charset, decode_words, unfold

Params = tuple[tuple[bytes, bytes], ...]
"""(name in lower case, value without quoting), as sent: pieces of RFC 2231 are not yet joined."""

_TYPE = re.compile(rb"[ \t]*([!#-'*+.0-9A-Z^-~-]+)[ \t]*/[ \t]*([!#-'*+.0-9A-Z^-~/-]+)")
_TOKEN = re.compile(rb"[ \t]*([!#-'*+.0-9A-Z^-~-]+)")
_PARAM = re.compile(
    rb"(?<![; \t])[; \t]++"  # a missing semicolon between two parameters is forgiven
    rb"([!#-)*+.0-9A-Z^-~-]++)[ \t]*+=[ \t]*+"
    rb'(?:"((?:[^"\\]|\\.)*+)"?'
    rb'|((?:[^;" \t]++|[ \t]++(?![!#-)*+.0-9A-Z^-~-]++[ \t]*+=))*+))',
    re.DOTALL,
)
_COMMENT = re.compile(rb"[ \t]*\([^()\"]*\)")
_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_PIECE = re.compile(r"(.+?)\*(?:(\d{1,4})(\*)?)?\Z", re.DOTALL)

_CACHED_OCTETS_MAX = 100
"""A longer value holds a boundary or a file name and does not come again."""

PLAIN: tuple[bytes, bytes, Params] = (b"text", b"plain", ((b"charset", b"us-ascii"),))
"""What a part is that does not say (RFC 2045 §5.2)."""


def content_type(value: bytes) -> tuple[bytes, bytes, Params]:
    """(type, subtype, params) of a Content-Type, the first two in lower case.

    A value that names no type is text/plain in US-ASCII (RFC 2045 §5.2).
    """
    if len(value) <= _CACHED_OCTETS_MAX:
        return _content_type_cached(value)
    return _content_type(value)


def _content_type(value: bytes) -> tuple[bytes, bytes, Params]:
    text = unfold(value)
    match = _TYPE.match(text)
    if match is None:
        if b"(" in text and (match := _TYPE.match(_COMMENT.sub(b"", text))):
            return _content_type(_COMMENT.sub(b"", text))
        bare = _TOKEN.match(text)
        if bare is not None and bare[1].lower() == b"text":  # RFC 1049 mail of the eighties
            return b"text", b"plain", parameters(text, bare.end())
        return PLAIN
    return match[1].lower(), match[2].lower(), parameters(text, match.end())


_content_type_cached = lru_cache(maxsize=512)(_content_type)


def disposition(value: bytes) -> tuple[bytes, Params] | None:
    """(disposition in lower case, params) of a Content-Disposition, or None."""
    text = unfold(value)
    match = _TOKEN.match(text)
    if match is None:
        return None
    return match[1].lower(), parameters(text, match.end())


def parameters(text: bytes, at: int = 0) -> Params:
    """The parameters of an unfolded value from `at` on; the first of a name counts."""
    if b"=" not in text[at:]:
        return ()
    found: dict[bytes, bytes] = {}
    for match in _PARAM.finditer(text, at):
        name = match[1].lower()
        if name in found:
            continue
        found[name] = _value(match)
        if len(found) >= PARAMETERS_MAX:
            break
    return tuple(found.items())


def every_parameter(value: bytes) -> list[tuple[bytes, bytes]]:
    """The parameters of a field, also those that repeat a name: programs differ in which they take
    for true."""
    matches = islice(_PARAM.finditer(unfold(value)), PARAMETERS_MAX)
    return [(match[1].lower(), _value(match)) for match in matches]


def _value(match: re.Match[bytes]) -> bytes:
    """Of one parameter, without quoting."""
    if match[2] is not None:
        return _PAIR.sub(rb"\1", match[2]) if b"\\" in match[2] else match[2]
    value = match[3]
    if b"(" in value:
        value = _COMMENT.sub(b"", value)
    return value.strip(b" \t")


def parameter(params: Params, name: str) -> str | None:
    """One parameter for people, or None: pieces joined, percent octets and charset decoded
    (RFC 2231 §3, §4), encoded words too, which RFC 2047 §5 forbids there and many programs send."""
    pieces: dict[int, tuple[bytes, bool]] = {}
    plain: bytes | None = None
    wanted = name.encode("latin-1")
    for raw, value in params:
        if raw == wanted:
            plain = value
            continue
        if b"*" not in raw:
            continue
        match = _PIECE.match(raw.decode("latin-1"))
        if match is not None and match[1] == name:
            number = int(match[2]) if match[2] else 0
            pieces.setdefault(number, (value, match[2] is None or match[3] is not None))
    if not pieces or 0 not in pieces:
        if plain is None:
            return None
        text = decode_charset(plain)
        return decode_words(text) if "=?" in text else text
    charset = ""
    octets = bytearray()
    number = 0
    while number in pieces:
        value, extended = pieces[number]
        if extended:
            if number == 0 and value.count(b"'") >= 2:
                label, _, value = value.split(b"'", 2)
                charset = label.decode("latin-1")
            value = unquote_to_bytes(value)
        octets += value
        number += 1
    return decode_charset(bytes(octets), charset)
