"""IMAP form: ENVELOPE, BODY and BODYSTRUCTURE as they go over the wire.

Promises: valid for any message (every string quoted or a literal, no NUL); encoded words and raw
octets are passed on as sent, text for people is the client's matter. RFC 3501 §7.4.2,
RFC 9051 §7.5.2.
"""

from __future__ import annotations

import re

from estafeta.mail.address.mailboxes import Group, Mailbox, parse_raw
from estafeta.mail.limits import HEADER_OCTETS_MAX
from estafeta.mail.message.fields import Buffer, by_name, pairs
from estafeta.mail.message.params import PLAIN, Params
from estafeta.mail.message.parts import MESSAGE, MULTIPART, Part
from estafeta.mail.words import unfold

NO_ENVELOPE = b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"

_PLAIN = re.compile(rb"[ !#-\[\]-~]*+\Z")
_NEEDS_LITERAL = re.compile(rb"[\r\n\x80-\xff]")
# One mailbox of plain ASCII and the comma after it: nothing to unquote, no comment, no group.
_WORD = rb"[!#-'*+\--9=?A-Z^-~]++"
_MAILBOX = re.compile(
    rb"""[ \t]*+(?:
    (?: "([ !#-\[\]-~]*+)" | ([ !#-'*+\--9=?A-Z^-~]*+) ) [ \t]*+ <(%b)@(%b)>
    | (%b)@(%b)
    )[ \t]*+(?:,|\Z)"""
    % (_WORD, _WORD, _WORD, _WORD),
    re.VERBOSE,
)
_SPECIAL = re.compile(rb'(["\\])')


# What types, parameters and encodings nearly always are, ready for the wire.
_COMMON = {
    value: b'"%b"' % value
    for value in (
        *(b"text", b"plain", b"html", b"application", b"image", b"alternative", b"mixed"),
        *(b"charset", b"utf-8", b"UTF-8", b"us-ascii", b"iso-8859-1", b"boundary", b"name"),
        *(b"7bit", b"8bit", b"quoted-printable", b"base64", b"attachment", b"filename"),
    )
}
# The parameters of PLAIN.
_US_ASCII = b'("charset" "us-ascii")'


def string(value: bytes) -> bytes:
    """An IMAP string: quoted where that is allowed, else a literal (RFC 3501 §4.3).

    NUL, which no string may hold, is left out.
    """
    if _PLAIN.match(value) is not None:
        return b'"%b"' % value
    if b"\0" in value:
        value = value.replace(b"\0", b"")
    if _NEEDS_LITERAL.search(value) is not None:
        return b"{%d}\r\n%b" % (len(value), value)
    return b'"%b"' % _SPECIAL.sub(rb"\\\1", value)


def nstring(value: bytes | None) -> bytes:
    """As `string`; NIL for None."""
    return b"NIL" if value is None else string(value)


def _token(value: bytes) -> bytes:
    """As `string`, quicker for what is common."""
    return _COMMON.get(value) or string(value)


def imap_envelope(data: Buffer, part: Part) -> bytes:
    """ENVELOPE of the message that `part` is."""
    head = bytes(data[part.start : min(part.body, part.start + HEADER_OCTETS_MAX)])
    return envelope(by_name(pairs(head)))


def envelope(fields: dict[bytes, bytes]) -> bytes:
    """ENVELOPE from the fields of a header. fields: as of `by_name`."""
    get = fields.get
    sent_from = _addresses(get(b"from"))
    sender = _addresses(get(b"sender"))
    reply_to = _addresses(get(b"reply-to"))
    # RFC 3501 §7.4.2: without Sender or Reply-To, or with empty ones, From stands for them.
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        _value(get(b"date")),
        _value(get(b"subject")),
        sent_from,
        sent_from if sender == b"NIL" else sender,
        sent_from if reply_to == b"NIL" else reply_to,
        _addresses(get(b"to")),
        _addresses(get(b"cc")),
        _addresses(get(b"bcc")),
        _value(get(b"in-reply-to")),
        _value(get(b"message-id")),
    )


def _value(value: bytes | None) -> bytes:
    if value is None:
        return b"NIL"
    text = value.strip(b" \t\r\n")
    if _PLAIN.match(text) is not None:  # nothing to unfold, nothing to quote: a third of the time
        return b'"%b"' % text
    return string(unfold(value))


def _addresses(value: bytes | None) -> bytes:
    """What nearly every field holds, mailboxes of plain ASCII, goes from octets to octets: a third
    of the time of `addresses`."""
    if value is None:
        return b"NIL"
    if b"\n" in value:
        value = value.replace(b"\r\n", b"").replace(b"\n", b"")
    out: list[bytes] = []
    at, end = 0, len(value)
    while at < end:
        match = _MAILBOX.match(value, at)
        if match is None:
            return addresses(value)
        quoted, phrase, local, domain, bare, bare_domain = match.groups()
        if bare is not None:
            out.append(b'(NIL NIL "%b" "%b")' % (bare, bare_domain))
        elif not (name := quoted or (phrase or b"").rstrip(b" ")):
            out.append(b'(NIL NIL "%b" "%b")' % (local, domain))
        elif b"  " in name:
            return addresses(value)
        else:
            out.append(b'("%b" NIL "%b" "%b")' % (name, local, domain))
        at = match.end()
    return b"(%b)" % b"".join(out) if out else b"NIL"


def addresses(value: bytes) -> bytes:
    """The addresses of a field, whatever it holds."""
    out: list[bytes] = []
    for entry in parse_raw(value.decode("utf-8", "surrogateescape")):
        if isinstance(entry, Group):
            # RFC 3501 §7.4.2: a NIL host marks the beginning and the end of a group
            out.append(b"(NIL NIL %b NIL)" % _text(entry.name))
            out.extend(_address(member) for member in entry.members)
            out.append(b"(NIL NIL NIL NIL)")
        else:
            out.append(_address(entry))
    return b"(%b)" % b"".join(out) if out else b"NIL"


def _address(mailbox: Mailbox) -> bytes:
    name = _text(mailbox.name) if mailbox.name else b"NIL"
    # A missing host is "", because NIL would begin a group.
    return b"(%b NIL %b %b)" % (name, _text(mailbox.local), _text(mailbox.domain))


def _text(text: str) -> bytes:
    return string(text.encode("utf-8", "surrogateescape"))


class BodyForm:
    """BODY and BODYSTRUCTURE of one message, both in one walk (RFC 3501 §7.4.2)."""

    __slots__ = ("_data", "basic", "extensible")

    def __init__(self, data: Buffer, part: Part) -> None:
        self._data = data
        basic: list[bytes] = []
        extensible: list[bytes] = []
        self._part(part, basic, extensible)
        self.basic = b"".join(basic)
        self.extensible = b"".join(extensible)

    def _part(self, part: Part, basic: list[bytes], extensible: list[bytes]) -> None:
        if part.kind == MULTIPART:
            basic.append(b"(")
            extensible.append(b"(")
            for child in part.children:
                self._part(child, basic, extensible)
            subtype = b" " + _token(part.subtype)
            basic.append(subtype + b")")
            extensible.append(b"%b %b %b)" % (subtype, _params(part.params), _extension(part)))
            return
        fields = b"(%b %b %b %b %b %b %d" % (
            _token(part.type),
            _token(part.subtype),
            _US_ASCII if part.params is PLAIN[2] else _params(part.params),
            nstring(part.id),
            nstring(part.description),
            _token(part.encoding),
            part.end - part.body,
        )
        basic.append(fields)
        extensible.append(fields)
        if part.type == b"text":
            lines = b" %d" % part.lines
            basic.append(lines)
            extensible.append(lines)
        elif part.type == b"message" and part.subtype in (b"rfc822", b"global"):
            self._embedded(part, basic, extensible)
        basic.append(b")")
        extensible.append(b" %b %b)" % (nstring(part.md5), _extension(part)))

    def _embedded(self, part: Part, basic: list[bytes], extensible: list[bytes]) -> None:
        if part.kind == MESSAGE:
            inner = part.children[0]
            made = imap_envelope(self._data, inner)
        else:
            # Encoded, or too deep to be taken apart: the grammar wants an envelope all the same.
            inner = Part(start=part.body, body=part.body, end=part.body)
            made = NO_ENVELOPE
        for out in (basic, extensible):
            out.append(b" %b " % made)
        self._part(inner, basic, extensible)
        for out in (basic, extensible):
            out.append(b" %d" % part.lines)


def imap_body(data: Buffer, part: Part, *, extensible: bool) -> bytes:
    """BODYSTRUCTURE of a part, or BODY where not `extensible`."""
    form = BodyForm(data, part)
    return form.extensible if extensible else form.basic


def _extension(part: Part) -> bytes:
    """What BODYSTRUCTURE says besides, common to all kinds of part."""
    if part.disposition is None and part.language is None and part.location is None:
        return b"NIL NIL NIL"
    return b"%b %b %b" % (_disposition(part), _language(part.language), nstring(part.location))


def _params(params: Params) -> bytes:
    if not params:
        return b"NIL"
    return b"(%b)" % b" ".join(b"%b %b" % (_token(name), _token(value)) for name, value in params)


def _disposition(part: Part) -> bytes:
    if part.disposition is None:
        return b"NIL"
    return b"(%b %b)" % (_token(part.disposition[0]), _params(part.disposition[1]))


def _language(value: bytes | None) -> bytes:
    """RFC 3501 §7.4.2: one string, or a list of several."""
    if value is None:
        return b"NIL"
    tags = [tag.strip() for tag in value.split(b",") if tag.strip()]
    if not tags:
        return b"NIL"
    if len(tags) == 1:
        return string(tags[0])
    return b"(%b)" % b" ".join(string(tag) for tag in tags)
