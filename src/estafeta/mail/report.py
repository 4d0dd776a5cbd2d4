"""Report: the message that says what became of another (a delivery status notification).

Promises: RFC 3464 in a multipart/report (RFC 6522) of exactly three parts; the first is all that
is told to people; the returned part is the original octet by octet, or its header; nothing in it is
encoded. Fields from RFC 3461; internationalised forms RFC 6533. The caller sends it with the null
reverse-path.
"""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_qp
from typing import Literal

import msgspec

from estafeta.mail.address import is_ascii, mailboxes, parse_address_list
from estafeta.mail.dates import format_date
from estafeta.mail.header import find, fold, fold_addresses, fold_structured
from estafeta.mail.limits import HEADER_OCTETS_MAX, LINE_OCTETS_MAX, REPORT_FULL_OCTETS_MAX
from estafeta.mail.message.fields import header_end
from estafeta.mail.outcome import Reply
from estafeta.mail.protocols import Content

Kind = Literal["failed", "delayed", "delivered", "relayed", "expanded"]

_STATUS = {"failed": "5.0.0", "delayed": "4.0.0"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_PLAIN_LINE_OCTETS_MAX = 300
"""Of what stays as it is; RFC 5322 §2.1.1 allows 998."""
_UNSAFE = re.compile(r"[^!-*,-<>-~]")


class Explanation(msgspec.Struct, frozen=True):
    """What is said to people: `subject`, `text` and `html` in `language` (RFC 5646), lines ended by
    "\\n"; and `data`, the same for programs as JSON. What is empty of the last two is left out.
    """

    language: str
    subject: str
    text: str
    html: str = ""
    data: bytes = b""


class ReportRecipient(msgspec.Struct, frozen=True):
    """One recipient in a report.

    original_recipient: ORCPT as "type;address", or "". status: "x.y.z", "" takes the reply's.
    diagnostic: the last reply. remote_mta: host that gave it, or "". Times in seconds since 1970
    UTC. cause: code of the catalogue in `explain`, or "". attempts: how often it was tried, 0 where
    that says nothing.
    """

    final_recipient: str
    action: Kind
    status: str = ""
    original_recipient: str = ""
    diagnostic: Reply | None = None
    remote_mta: str = ""
    last_attempt: float | None = None
    will_retry_until: float | None = None
    cause: str = ""
    attempts: int = 0


def build_report(
    *,
    kind: Kind,
    reporting_mta: str,
    arrival: float,
    recipients: list[ReportRecipient],
    explanation: Explanation,
    from_: str,
    to: str,
    date: float,
    message_id: str,
    original: Content | bytes,
    envid: str = "",
    ret: str = "",
    utf8: bool = False,
) -> bytes:
    """The whole report, CRLF lines.

    kind: what the report is about; one that failed returns the original as `ret` says.
    from_, to: mailboxes as in a header. arrival, date: seconds since 1970 UTC. envid:
    xtext-decoded. ret: "FULL", "HDRS" or "" (FULL); unless kind is "failed" the header is returned
    (RFC 3461 §4.3), and of a message above REPORT_FULL_OCTETS_MAX too. utf8: whether the report is
    sent with SMTPUTF8.
    Raises ValueError where an address needs utf8 and it is not given.
    """
    full = ret != "HDRS" and kind == "failed" and _size(original) <= REPORT_FULL_OCTETS_MAX
    returned = _read(original) if full else _header(original)
    head = _report_header(explanation.subject, from_, to, date, message_id, returned, utf8)
    parts = [
        _explanation_part(explanation, message_id, utf8),
        _status_part(reporting_mta, arrival, envid, recipients, utf8),
        _returned_part(returned, full=full, utf8=utf8),
    ]
    return b"".join(
        (
            head,
            b"MIME-Version: 1.0\r\n",
            _multipart(b"report; report-type=delivery-status", parts, message_id),
        )
    )


def _size(original: Content | bytes) -> int:
    return len(original) if isinstance(original, bytes) else original.size


def _read(original: Content | bytes) -> bytes:
    return original if isinstance(original, bytes) else original.read()


def _header(original: Content | bytes) -> bytes:
    """The header of the original without its empty line, at most HEADER_OCTETS_MAX of it."""
    start = (
        original[:HEADER_OCTETS_MAX]
        if isinstance(original, bytes)
        else original.read(0, HEADER_OCTETS_MAX)
    )
    header = start[: header_end(start)]
    if len(header) == HEADER_OCTETS_MAX:  # cut: only whole lines
        header = header[: header.rfind(b"\n") + 1]
    return header.rstrip(b"\r\n") + b"\r\n"


def _report_header(
    subject: str,
    from_: str,
    to: str,
    date: float,
    message_id: str,
    returned: bytes,
    utf8: bool,
) -> bytes:
    fields = [
        fold_addresses("From", mailboxes(parse_address_list(from_)), utf8=utf8),
        fold_addresses("To", mailboxes(parse_address_list(to)), utf8=utf8),
        fold("Subject", subject, utf8=utf8),
        fold("Date", format_date(date)),
        fold_structured("Message-ID", message_id),
        # RFC 3834 §5: nobody is to answer this by machine.
        fold("Auto-Submitted", "auto-replied"),
    ]
    about = find(returned, "Message-ID")
    if about and 0 < len(about[0]) < 500 and about[0].isascii() and b"\0" not in about[0]:
        # Clients show the report beside the message it is about.
        value = about[0].decode("ascii")
        fields += [fold_structured("In-Reply-To", value), fold_structured("References", value)]
    return b"".join(fields)


def _explanation_part(explanation: Explanation, seed: str, utf8: bool) -> bytes:
    """RFC 6522 §3: the first part may be of any type. Of the alternatives a client shows the last
    that it can (RFC 2046 §5.1.4); the data is an attachment to it."""
    language = explanation.language
    tag = fold("Content-Language", language) if language else b""
    part = _text_part(b"text/plain; charset=utf-8", tag, explanation.text, utf8)
    if explanation.html:
        page = _text_part(b"text/html; charset=utf-8", tag, explanation.html, utf8)
        part = _multipart(b"alternative", [part, page], f"alternative {seed}", tag)
    if explanation.data:
        place = b"Content-Disposition: attachment; filename=delivery-report.json\r\n"
        data = _text_part(b"application/json", place, explanation.data.decode(), utf8)
        part = _multipart(b"mixed", [part, data], f"mixed {seed}", tag)
    return part


def _text_part(kind: bytes, fields: bytes, text: str, utf8: bool) -> bytes:
    lines = [line.encode("utf-8", "replace") for line in _LINE_ENDS.split(text.rstrip("\r\n"))]
    body = b"\r\n".join(lines) + b"\r\n"
    longest = max(len(line) for line in lines)
    if body.isascii() and longest <= _PLAIN_LINE_OCTETS_MAX:
        encoding = b"7bit"
    elif utf8 and longest <= LINE_OCTETS_MAX:
        encoding = b"8bit"
    else:
        encoding = b"quoted-printable"
        body = b2a_qp(body, istext=True)
    return (
        b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\n%b"
        b"Content-Description: Notification\r\n\r\n%b" % (kind, encoding, fields, body)
    )


def _multipart(kind: bytes, parts: list[bytes], seed: str, fields: bytes = b"") -> bytes:
    """Header fields of a multipart, and its body."""
    encoding = b"7bit" if all(part.isascii() for part in parts) else b"8bit"
    boundary = _boundary(seed, parts)
    return b"".join(
        (
            b'Content-Type: multipart/%b;\r\n\tboundary="%b"\r\n' % (kind, boundary),
            b"Content-Transfer-Encoding: %b\r\n%b\r\n" % (encoding, fields),
            *(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts),
            b"--%b--\r\n" % boundary,
        )
    )


def _status_part(
    reporting_mta: str,
    arrival: float,
    envid: str,
    recipients: list[ReportRecipient],
    utf8: bool,
) -> bytes:
    """message/delivery-status (RFC 3464 §2), with `utf8` message/global-delivery-status
    (RFC 6533 §4)."""
    groups = [
        (_field("Original-Envelope-Id", envid, utf8) if envid else b"")
        + _field("Reporting-MTA", f"dns; {reporting_mta}", utf8)
        + _field("Arrival-Date", format_date(arrival), utf8)
    ]
    groups.extend(_recipient_fields(recipient, utf8) for recipient in recipients)
    subtype = b"global-delivery-status" if utf8 else b"delivery-status"
    body = b"\r\n".join(groups)
    encoding = b"8bit" if not body.isascii() else b"7bit"
    return (
        b"Content-Type: message/%b\r\nContent-Transfer-Encoding: %b\r\n"
        b"Content-Description: Delivery report\r\n\r\n%b" % (subtype, encoding, body)
    )


def _recipient_fields(recipient: ReportRecipient, utf8: bool) -> bytes:
    reply = recipient.diagnostic
    status = recipient.status or (reply.status if reply else "")
    fields: list[bytes] = []
    if recipient.original_recipient:
        kind, _, address = recipient.original_recipient.partition(";")
        if kind.lower() in ("rfc822", "utf-8") and not is_ascii(address):
            kind, address = "utf-8", _utf8_address(address, utf8)
        fields.append(_field("Original-Recipient", f"{kind}; {address.strip()}", utf8))
    final = recipient.final_recipient
    if is_ascii(final):
        fields.append(_field("Final-Recipient", f"rfc822; {final}", utf8))
    else:
        fields.append(_field("Final-Recipient", f"utf-8; {_utf8_address(final, utf8)}", utf8))
    fields.append(_field("Action", recipient.action, utf8))
    fields.append(_field("Status", status or _STATUS.get(recipient.action, "2.0.0"), utf8))
    if recipient.remote_mta:
        fields.append(_field("Remote-MTA", f"dns; {recipient.remote_mta}", utf8))
    if reply is not None:
        # RFC 3464 §2.3.6: "smtp" is for what a server said. Without one the words are our own.
        kind = "smtp" if recipient.remote_mta else "x-estafeta"
        fields.append(_field("Diagnostic-Code", f"{kind}; {reply}", utf8))
    if recipient.last_attempt is not None:
        fields.append(_field("Last-Attempt-Date", format_date(recipient.last_attempt), utf8))
    if recipient.will_retry_until is not None:  # RFC 3464 §2.3.9: for "delayed" only
        fields.append(_field("Will-Retry-Until", format_date(recipient.will_retry_until), utf8))
    if recipient.cause:
        fields.append(_field("X-Estafeta-Cause", recipient.cause, utf8))
    if recipient.attempts:
        fields.append(_field("X-Estafeta-Attempts", str(recipient.attempts), utf8))
    return b"".join(fields)


def _utf8_address(address: str, utf8: bool) -> str:
    """An address of type utf-8: raw in the global form, else utf-8-addr-xtext (RFC 6533 §3)."""
    if utf8:
        return address
    return _UNSAFE.sub(lambda match: f"\\x{{{ord(match[0]):X}}}", address)


def _field(name: str, value: str, utf8: bool) -> bytes:
    """A field of the status part. Encoded words have no place there: without `utf8` a character
    that is not ASCII becomes "?"."""
    text = _CONTROL.sub(" ", value)
    if not utf8:
        text = text.encode("ascii", "replace").decode("ascii")
    return fold_structured(name, text, utf8=True)


def _returned_part(returned: bytes, *, full: bool, utf8: bool) -> bytes:
    if full:
        kind = b"message/global" if utf8 else b"message/rfc822"
    else:
        kind = b"message/global-headers" if utf8 else b"text/rfc822-headers"
    encoding = b"7bit" if returned.isascii() else b"8bit"
    description = b"Undelivered message" if full else b"Header of the message"
    return (
        b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\nContent-Description: %b\r\n\r\n%b"
        % (kind, encoding, description, returned)
    )


def _boundary(seed: str, parts: list[bytes]) -> bytes:
    """One that stands in none of the parts; the same for the same report."""
    for number in range(1000):
        digest = hashlib.sha256(f"{number} {seed}".encode("utf-8", "replace"))
        boundary = b"=_" + digest.hexdigest()[:32].encode()
        if not any(boundary in part for part in parts):
            return boundary
    raise AssertionError("a thousand boundaries all stand in the message")
