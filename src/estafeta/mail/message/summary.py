"""Summary: all that the store keeps about a message, made in one pass at delivery.

Promises: never raises; a plain message of 4 KiB takes less than 100 microseconds.
"""

from __future__ import annotations

import binascii
import html
import re

import msgspec

from estafeta.mail.limits import PREVIEW_CHARACTERS_MAX, PREVIEW_OCTETS_MAX
from estafeta.mail.message.fields import Buffer
from estafeta.mail.message.imap_form import BodyForm, envelope
from estafeta.mail.message.parts import MULTIPART, Part, read
from estafeta.mail.message.sections import pack
from estafeta.mail.words import decode_base64, decode_charset, decode_text, unfold

_HIDDEN = re.compile(
    r"<(style|script|head|title)\b[^<>]*+>.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(r"<[^<>]*+(?:>|\Z)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")


_FIRST_OCTETS = 480


class Summary(msgspec.Struct):
    """envelope, bodystructure, body: IMAP forms. index: for `section`.

    message_id: as sent, with its angle brackets, or "". subject: for people. preview: the beginning
    of the text, on one line.
    """

    envelope: bytes
    bodystructure: bytes
    body: bytes
    message_id: str
    subject: str
    preview: str
    index: bytes


def summary(data: Buffer) -> Summary:
    """The summary of a whole message."""
    root, fields = read(data)
    message_id = fields.get(b"message-id")
    subject = fields.get(b"subject")
    form = BodyForm(data, root)
    return Summary(
        envelope=envelope(fields),
        bodystructure=form.extensible,
        body=form.basic,
        message_id="" if message_id is None else decode_charset(unfold(message_id)),
        subject="" if subject is None else decode_text(subject),
        preview=preview(data, root),
        index=pack(root),
    )


def preview(data: Buffer, root: Part) -> str:
    """The first words of the text that a person would read, "" where there is none.

    The first text/plain part, else the first text/html part, that is no attachment.
    """
    part = _text_part(root)
    if part is None:
        return ""
    read = _html_text if part.subtype == b"html" else decode_charset
    text = ""
    for octets in (_FIRST_OCTETS, PREVIEW_OCTETS_MAX):  # nearly always the first are enough
        raw = bytes(data[part.body : min(part.end, part.body + octets)])
        if part.encoding == b"base64":
            raw = decode_base64(raw)
        elif part.encoding == b"quoted-printable":
            raw = binascii.a2b_qp(raw)
        text = _one_line(read(raw, part.parameter("charset") or ""))
        if len(text) == PREVIEW_CHARACTERS_MAX or part.size <= octets:
            break
    return text


def _html_text(raw: bytes, charset: str) -> str:
    text = decode_charset(raw, charset)
    return html.unescape(_TAG.sub(" ", _HIDDEN.sub(" ", text)))


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    first = text[:PREVIEW_CHARACTERS_MAX]
    # A space at the end may have nothing but controls behind it.
    if first.isprintable() and not first.endswith(" "):
        return first
    return " ".join(_CONTROL.sub(" ", text).split())[:PREVIEW_CHARACTERS_MAX]


def _text_part(root: Part) -> Part | None:
    if root.type == b"text" and root.subtype == b"plain" and root.disposition is None:
        return root
    html_part: Part | None = None
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.kind == MULTIPART:
            waiting.extend(reversed(part.children))
        elif part.type == b"text" and not (
            part.disposition and part.disposition[0] == b"attachment"
        ):
            if part.subtype == b"plain":
                return part
            if html_part is None and part.subtype == b"html":
                html_part = part
    return html_part
