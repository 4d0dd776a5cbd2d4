"""Letter: a message laid out for who looks for a report in it: what is for people, what is for
programs, what was returned.

Promises: never raises; every text decoded and bounded. Sorting goes by what a part holds where its
type says something else: fields of a delivery status sent as text/plain are fields, and a text that
is nothing but a header is a returned header.
"""

from __future__ import annotations

import binascii
import re
from html import unescape

import msgspec

from estafeta.explain.reading.limits import (
    LINE_CHARACTERS_MAX,
    MESSAGES_MAX,
    PARTS_READ_MAX,
    REPORT_OCTETS_MAX,
    RETURNED_OCTETS_MAX,
    STATUS_OCTETS_MAX,
    TEXT_CHARACTERS_MAX,
    TEXT_OCTETS_MAX,
)
from estafeta.mail.message.fields import by_name, header_end, pairs
from estafeta.mail.message.parts import MESSAGE, MULTIPART, Part, read
from estafeta.mail.words import decode_base64, decode_charset, decode_text

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_STATUS = (b"delivery-status", b"global-delivery-status")
_RETURNED = (
    (b"message", b"rfc822"),
    (b"message", b"global"),
    (b"message", b"partial"),
    (b"message", b"global-headers"),
    (b"text", b"rfc822-headers"),
    (b"text", b"rfc822-header"),
    (b"message", b"rfc822-headers"),
    (b"message", b"rfc822-header"),
)
_STATUS_FIELD = re.compile(
    rb"^[ \t]*(?:final-recipient|original-recipient|diagnostic-code|reporting-mta)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_FEEDBACK_FIELD = re.compile(rb"\A\s*(?:[\w-]+:[^\n]*\n)*?feedback-type[ \t]*:", re.IGNORECASE)
_HEADER_LINE = re.compile(rb"[!-9;-~]+[ \t]*:")
_TRACE_FIELD = re.compile(
    rb"^(?:received|return-path|message-id|x-originating-ip)[ \t]*:", re.IGNORECASE | re.MULTILINE
)
_ESCAPED_JAPANESE = re.compile(rb"\x1b\$[@B]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")

_MBOX = re.compile(rb"(?<=\n)\r?\n(From [^\n]{1,200}\d\d:\d\d[^\n]{0,40}\r?\n)(?=[!-9;-~]{1,100}:)")

_HIDDEN = re.compile(
    r"<(style|script|head|title)\b[^<>]*+>.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_PREFORMATTED = re.compile(r"(<pre\b[^<>]*+>.*?(?:</pre\s*>|\Z))", re.IGNORECASE | re.DOTALL)
_MAIL_LINK = re.compile(
    r"<a\b(?:(?!\bhref\s*+=)[^<>])*+href\s*+=\s*+[\"']?mailto:([^\"'<>?\s]++)[^<>]*+>"
    r"([^<]*+)</a\s*+>",
    re.IGNORECASE,
)
_BREAK = re.compile(
    r"</?(?:p|div|br|hr|tr|td|th|li|ul|ol|table|h[1-6]|pre|blockquote|dt|dd)\b[^<>]*+>",
    re.IGNORECASE,
)
_TAG = re.compile(r"<(?!mailto:)[/!?a-z][^<>]*+(?:>|\Z)", re.IGNORECASE)
_MAIL_MARK = re.compile("\x01([^\x02]*)\x02")


class Letter(msgspec.Struct):
    """A message laid out. fields: its header, by name in lower case, values as they stand.

    type: of the whole, "multipart/report". report: its report-type, or "". texts: for people, in
    order. status, feedback, disposition: fields for programs, each part's octets. returned: the
    beginning of the returned message. enclosed: whole messages within.
    """

    fields: dict[bytes, bytes]
    type: str = ""
    report: str = ""
    texts: list[str] = msgspec.field(default_factory=list)
    status: list[bytes] = msgspec.field(default_factory=list)
    feedback: list[bytes] = msgspec.field(default_factory=list)
    disposition: bool = False
    returned: bytes = b""
    enclosed: list[bytes] = msgspec.field(default_factory=list)

    def header(self, name: str) -> str:
        """A field for people, "" where there is none."""
        value = self.fields.get(name.encode("ascii"))
        return "" if value is None else decode_text(value)[:LINE_CHARACTERS_MAX]


def lay_out(data: bytes) -> Letter:
    """The letter of a whole message."""
    data = without_mbox_line(data[:REPORT_OCTETS_MAX])
    root, fields = read(data)
    letter = Letter(
        fields=fields,
        type=(root.type + b"/" + root.subtype).decode("latin-1"),
        report=(root.parameter("report-type") or "").lower(),
    )
    markup: list[str] = []
    room = TEXT_CHARACTERS_MAX
    for part in _leaves(root):
        text = _sort(letter, data, part, markup)
        if text and room > 0:
            letter.texts.append(text[:room])
            room -= len(text)
    if not any(text.strip() for text in letter.texts):
        letter.texts = [text[:TEXT_CHARACTERS_MAX] for text in markup]
    return letter


def messages_of(data: bytes) -> list[bytes]:
    """The messages in a file: several where it is an mbox (RFC 4155), else one."""
    data = data[:REPORT_OCTETS_MAX]
    if not data.startswith(b"From "):
        return [data]
    starts = [0, *(match.start(1) for match in _MBOX.finditer(data))][:MESSAGES_MAX]
    return [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]


def without_mbox_line(data: bytes) -> bytes:
    """The message without what some put before it: "From " of mbox, empty lines, UTF-8's mark."""
    data = data.removeprefix(BYTE_ORDER_MARK)
    if data.startswith((b"From ", b">From ")):
        end = data.find(b"\n") + 1
        return data[end:] if end else b""
    return data.lstrip(b"\r\n") if data[:1] in (b"\r", b"\n") else data


def _leaves(root: Part) -> list[Part]:
    """The parts that are no multiparts, in order; not those within an enclosed message."""
    found: list[Part] = []
    waiting = [root]
    while waiting and len(found) < PARTS_READ_MAX:
        part = waiting.pop()
        if part.kind == MULTIPART and part.children:
            waiting.extend(reversed(part.children[:PARTS_READ_MAX]))
        else:
            found.append(part)
    return found


def _sort(letter: Letter, data: bytes, part: Part, markup: list[str]) -> str:
    """Puts a part where it belongs; gives back the text for people that it is, or ""."""
    kind = (part.type, part.subtype)
    if kind in _RETURNED or part.kind == MESSAGE:
        content = _content(data, part, REPORT_OCTETS_MAX)
        if not letter.returned:
            letter.returned = content[: min(header_end(content), RETURNED_OCTETS_MAX)]
        if kind[0] == b"message":
            letter.enclosed.append(content)
        return ""
    if part.type == b"message" and part.subtype in _STATUS:
        letter.status.append(_content(data, part, STATUS_OCTETS_MAX))
        return ""
    if part.type == b"message" and part.subtype == b"feedback-report":
        letter.feedback.append(_content(data, part, STATUS_OCTETS_MAX))
        return ""
    if part.type == b"message" and b"disposition" in part.subtype:
        letter.disposition = True
        return ""
    if part.type not in (b"text", b"multipart"):
        return ""
    raw = _content(data, part, TEXT_OCTETS_MAX)
    if part.subtype in (b"html", b"xhtml"):
        markup.append(_clean(text_of_html(_decode(raw, part))))
        return ""
    if part.start > 0 and (sorted_out := _fields_as_text(letter, raw)):
        return sorted_out
    return _clean(_decode(raw, part))


def _fields_as_text(letter: Letter, raw: bytes) -> str:
    """Fields that were sent as a text part go where they belong; " " where this one was it."""
    begun = raw.lstrip()
    if not _HEADER_LINE.match(begun):
        return ""
    if _FEEDBACK_FIELD.match(begun[:4096]):
        letter.feedback.append(begun)
        return " "
    head = begun[: header_end(begun)]
    if _TRACE_FIELD.search(head) and len(pairs(head)) >= 3:
        letter.returned = letter.returned or head[:RETURNED_OCTETS_MAX]
        return " "
    if _STATUS_FIELD.match(begun):
        letter.status.append(begun)
        return " "
    return ""


def _content(data: bytes, part: Part, octets: int) -> bytes:
    """The decoded beginning of a part's content."""
    if part.encoding == b"base64":
        return decode_base64(data[part.body : min(part.end, part.body + octets * 3 // 2)])[:octets]
    raw = data[part.body : min(part.end, part.body + octets)]
    if part.encoding == b"quoted-printable":
        return binascii.a2b_qp(raw)
    return raw


def _decode(raw: bytes, part: Part) -> str:
    return decode_octets(raw, part.parameter("charset") or "")


def decode_octets(raw: bytes, charset: str = "") -> str:
    """As `decode_charset`; Japanese in ISO-2022-JP is known by its escapes where unlabelled."""
    if _ESCAPED_JAPANESE.search(raw) and not charset.lower().startswith("iso-2022"):
        charset = "iso-2022-jp"
    return decode_charset(raw, charset)


def _clean(text: str) -> str:
    """Text with "\\n" line ends and without what nobody sees."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u00a0", " ")
    return _CONTROL.sub("", text)


def text_of_html(markup: str) -> str:
    """What a person reads in HTML, a line for each block; links to addresses keep the address."""
    markup = _MAIL_LINK.sub(_link, _HIDDEN.sub(" ", markup))
    pieces: list[str] = []
    for number, piece in enumerate(_PREFORMATTED.split(markup)):
        if number % 2 == 0:
            piece = " ".join(piece.split())
        pieces.append(piece)
    text = unescape(_TAG.sub("", _BREAK.sub("\n", "".join(pieces))))
    text = _MAIL_MARK.sub(r"<mailto:\1>", text)
    return "\n".join(line.strip() for line in text.split("\n"))


def _link(match: re.Match[str]) -> str:
    address, shown = match[1], match[2]
    return shown if "@" in shown else f"{shown}\x01{address}\x02"


def fields_of(octets: bytes) -> dict[bytes, bytes]:
    """The header of a returned message, by name in lower case."""
    return by_name(pairs(octets[:RETURNED_OCTETS_MAX]))
