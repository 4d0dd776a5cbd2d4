"""Words: text in header fields, as people read it and as the wire carries it.

Promises: decoding never raises, whatever the charset claims to be; encoding gives ASCII words that
decode to the same text. Encoded words RFC 2047, language tags RFC 2231 §5, raw UTF-8 RFC 6532.
"""

from __future__ import annotations

import binascii
import codecs
import re
from functools import lru_cache

ENCODED_WORD_CHARACTERS_MAX = 75
"""One encoded word (RFC 2047 §2)."""

_ENCODED = re.compile(r"=\?([^?\s]{1,64})\?([BbQq])\?([^?]*)\?=")
_GAP = re.compile(r"[ \t\r\n]*\Z")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_LINE_ENDS = re.compile(rb"[\r\n]+")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
"""Halves of a character, which UTF-7 alone lets through and nobody can write."""

_NOT_ALPHABET = re.compile(rb"[^A-Za-z0-9+/]+")

# Only codecs that map octets to text one after the other. Python's registry also holds others
# (idna, unicode_escape, zlib): a stranger must not choose those by a name.
_CODECS = re.compile(
    r"ascii|big5(hkscs)?|cp\d+|euc_\w+|gb(18030|2312|k)|hz|iso2022_\w+|iso8859-\d+|johab"
    r"|koi8-\w|kz1048|mac-\w+|ptcp154|shift_\w+|tis-620|utf-(7|8|(16|32)(-[bl]e)?)"
)
_ALIASES = {
    "iso-8859-6-e": "iso8859-6",
    "iso-8859-6-i": "iso8859-6",
    "iso-8859-8-e": "iso8859-8",
    "iso-8859-8-i": "iso8859-8",
    "unicode-1-1-utf-7": "utf-7",
    "unicode-1-1-utf-8": "utf-8",
    "x-big5": "big5",
    "x-cp1250": "cp1250",
    "x-cp1251": "cp1251",
    "x-cp1252": "cp1252",
    "x-euc-jp": "euc_jp",
    "x-gbk": "gb18030",
    "x-mac-cyrillic": "mac-cyrillic",
    "x-mac-roman": "mac-roman",
    "x-sjis": "cp932",
    "x-unicode-2-0-utf-7": "utf-7",
    "cp-850": "cp850",
    "windows-31j": "cp932",
    "windows-874": "cp874",
    "dos-874": "cp874",
    # Supersets: what is labelled with the smaller set uses the larger one in practice.
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
}


@lru_cache(maxsize=256)
def _codec(charset: str) -> str:
    """The codec for the name of a charset, "" where there is none."""
    name = charset.strip("\"' \t").lower()
    name = _ALIASES.get(name, name)
    try:
        found = codecs.lookup(name).name
    except (LookupError, ValueError):
        return ""
    return found if _CODECS.fullmatch(found) else ""


def decode_charset(data: bytes, charset: str = "") -> str:
    """Octets as text; what is no character of the charset becomes U+FFFD.

    An unknown or missing charset, and US-ASCII that is none, read as UTF-8 where that fits, else
    as windows-1252.
    """
    codec = _codec(charset) if charset and len(charset) <= 64 else ""
    if codec and codec != "ascii":
        text = data.decode(codec, "replace")
        return _SURROGATE.sub("\ufffd", text) if codec == "utf-7" else text
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def decode_base64(data: bytes) -> bytes:
    """Base64 with whatever lies between its characters left out and its padding completed."""
    letters = _NOT_ALPHABET.sub(b"", data.partition(b"=")[0])
    rest = len(letters) % 4
    if rest == 1:
        letters = letters[:-1]
    elif rest:
        letters += b"=" * (4 - rest)
    return binascii.a2b_base64(letters)


def unfold(value: bytes) -> bytes:
    """A field's value on one line (RFC 5322 §2.2.3), without white space around it."""
    if b"\n" in value:
        value = _FOLD.sub(b"", value)
    value = value.strip(b" \t\r\n")
    if b"\n" in value or b"\r" in value:
        value = _LINE_ENDS.sub(b" ", value)
    return value


def decode_text(value: bytes) -> str:
    """An unstructured value for people: unfolded, encoded words decoded, raw UTF-8 kept."""
    text = decode_charset(unfold(value))
    return decode_words(text) if "=?" in text else text


def decode_words(text: str) -> str:
    """Encoded words replaced by what they stand for (RFC 2047 §6.2); the rest stays.

    Octets of neighbours with one charset are joined before they are decoded: many programs split
    a character between two words.
    """
    pieces: list[str] = []
    octets: list[bytes] = []
    charset = ""
    at = 0
    for match in _ENCODED.finditer(text):
        between = text[at : match.start()]
        name = match[1].partition("*")[0].lower()  # RFC 2231 §5: a language may follow
        neighbour = bool(octets) and _GAP.match(between) is not None
        if not neighbour or name != charset:
            if octets:
                pieces.append(decode_charset(b"".join(octets), charset))
                octets.clear()
            if not neighbour:
                pieces.append(between)
        charset = name
        octets.append(_word_octets(match[2], match[3]))
        at = match.end()
    if octets:
        pieces.append(decode_charset(b"".join(octets), charset))
    pieces.append(text[at:])
    return "".join(pieces)


def _word_octets(encoding: str, text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    if encoding in "Bb":
        return decode_base64(raw)
    return binascii.a2b_qp(raw, header=True)


def encode_words(text: str) -> list[str]:
    """Text as encoded words in UTF-8, each of at most 75 characters (RFC 2047 §2, §5).

    Quoted-printable or base64, whichever is shorter; a character is never split. The letters used
    are those allowed within a phrase, so that the words fit everywhere.
    """
    data = text.encode("utf-8", "replace")
    quoted = sum(1 if _is_q_literal(octet) or octet == 32 else 3 for octet in data)
    base64 = (len(data) + 2) // 3 * 4
    room = ENCODED_WORD_CHARACTERS_MAX - len("=?utf-8?q??=")
    words: list[str] = []
    if quoted <= base64:
        line = ""
        for character in text:
            piece = _quote(character)
            if len(line) + len(piece) > room:
                words.append(f"=?utf-8?q?{line}?=")
                line = ""
            line += piece
        if line:
            words.append(f"=?utf-8?q?{line}?=")
        return words
    part = b""
    for character in text:
        piece8 = character.encode("utf-8", "replace")
        if len(part) + len(piece8) > room // 4 * 3:
            words.append(f"=?utf-8?b?{binascii.b2a_base64(part, newline=False).decode()}?=")
            part = b""
        part += piece8
    if part:
        words.append(f"=?utf-8?b?{binascii.b2a_base64(part, newline=False).decode()}?=")
    return words


def _is_q_literal(octet: int) -> bool:
    """Letters, digits and !*+-/ stand for themselves everywhere (RFC 2047 §5 (3))."""
    return octet in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"


def _quote(character: str) -> str:
    if character == " ":
        return "_"
    data = character.encode("utf-8", "replace")
    if len(data) == 1 and _is_q_literal(data[0]):
        return character
    return "".join(f"={octet:02X}" for octet in data)
