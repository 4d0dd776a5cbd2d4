"""downgrade: a message with 8-bit parts made fit for a server that takes 7 bits only.

RFC 6152 §3 leaves a relay two ways: convert or return. Converted are the leaves only, each by the
encoding of RFC 2045 §6 that suits it; what is ASCII already stays as it is, octet by octet. Not
convertible, and said so: 8-bit header fields, parts under a signature, embedded messages that may
not be encoded. Signatures over the whole (DKIM) do not survive; nothing can be done about that.
"""

from __future__ import annotations

import binascii
import re

from estafeta.mail.message.parts import LEAF, MULTIPART, Part, index

_ENCODING_FIELD = re.compile(
    rb"^content-transfer-encoding[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.IGNORECASE | re.MULTILINE
)
_TYPE_FIELD = re.compile(rb"^content-type[ \t]*:", re.IGNORECASE | re.MULTILINE)
_VERSION_FIELD = re.compile(rb"^mime-version[ \t]*:", re.IGNORECASE | re.MULTILINE)
_NOT_ASCII = bytes(range(0x80, 0x100))
_ASCII_ONLY = bytes(octet if octet < 0x80 else 0x3F for octet in range(256))
_PLAIN_ENCODINGS = frozenset((b"", b"7bit", b"8bit", b"binary"))
_BASE64_LINE_OCTETS = 76


class CannotConvert(Exception):
    """The text says which part stands in the way."""


def to_seven_bit(data: bytes) -> bytes:
    """The same message in ASCII octets. Raises CannotConvert. Takes time linear in the size."""
    if data.isascii():
        return data
    out: list[bytes] = []
    _render(data, index(data), out, top=True)
    return b"".join(out)


def _render(data: bytes, part: Part, out: list[bytes], *, top: bool = False) -> None:
    if data[part.start : part.end].isascii():
        out.append(data[part.start : part.end])
        return
    header = data[part.start : part.body]
    if not header.isascii():
        raise CannotConvert("a header field is not ASCII")
    if not header.endswith(b"\r\n"):
        raise CannotConvert("a part has no header to say how it is encoded")
    if part.kind == LEAF:
        encoding, body = _encode(part, data[part.body : part.end], top=top)
        out += (_with_fields(header, encoding, leaf=True, top=top), body)
        return
    if part.kind == MULTIPART and part.subtype in (b"signed", b"encrypted"):
        raise CannotConvert(f"multipart/{part.subtype.decode()} would break")
    out.append(_with_fields(header, b"7bit", leaf=False, top=top))
    at = part.body
    for child in part.children:
        out.append(data[at : child.start].translate(_ASCII_ONLY))
        _render(data, child, out, top=False)
        at = child.end
    # Before, between and behind the parts stands nothing that anybody is shown.
    out.append(data[at : part.end].translate(_ASCII_ONLY))


def _encode(part: Part, body: bytes, *, top: bool) -> tuple[bytes, bytes]:
    """The encoding's name and the encoded body of a leaf that is not ASCII."""
    if part.encoding not in _PLAIN_ENCODINGS:
        raise CannotConvert(f"a part said to be {part.encoding.decode('latin-1')} is not")
    kind = part.type.decode("latin-1")
    if kind == "multipart" or (kind == "message" and part.subtype != b"global"):
        # RFC 2046 §5.1, §5.2.1: composite types are never encoded (RFC 6532 §3.7 lets global be).
        raise CannotConvert(f"{kind}/{part.subtype.decode('latin-1')} may not be encoded")
    breaks = body.count(b"\r\n")
    lines_only = body.count(b"\n") == breaks == body.count(b"\r") and b"\0" not in body
    eight_bit = len(body) - len(body.translate(None, _NOT_ASCII))
    # Quoted-printable makes three octets of each that is not ASCII, base64 four of any three.
    if kind == "text" and lines_only and eight_bit * 6 <= len(body):
        return b"quoted-printable", _quoted_printable(body)
    return b"base64", _base64(body, end=b"\r\n" if top else b"")


def _quoted_printable(body: bytes) -> bytes:
    # The codec breaks lines as the first line ends, and in one without an end by LF.
    lines = binascii.b2a_qp(body.replace(b"\r\n", b"\n"), quotetabs=False, istext=True)
    return lines.replace(b"\n", b"\r\n")


def _base64(body: bytes, *, end: bytes) -> bytes:
    text = binascii.b2a_base64(body, newline=False)
    lines = [text[at : at + _BASE64_LINE_OCTETS] for at in range(0, len(text), _BASE64_LINE_OCTETS)]
    return b"\r\n".join(lines) + end


def _with_fields(header: bytes, encoding: bytes, *, leaf: bool, top: bool) -> bytes:
    """The header with another Content-Transfer-Encoding, and with what MIME needs beside it."""
    kept, replaced = _ENCODING_FIELD.subn(b"", header)
    fields = b""
    if top and not _VERSION_FIELD.search(header):
        fields += b"MIME-Version: 1.0\r\n"
    if leaf and not _TYPE_FIELD.search(header):
        # RFC 1428 §3: 8-bit text of which nobody said what it is.
        fields += b"Content-Type: text/plain; charset=unknown-8bit\r\n"
    if leaf or replaced:
        fields += b"Content-Transfer-Encoding: " + encoding + b"\r\n"
    return kept[:-2] + fields + b"\r\n"
