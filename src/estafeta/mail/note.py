"""Note: a plain message that we write to a person, which no program is to answer."""

from __future__ import annotations

from binascii import b2a_qp

from estafeta.mail.address import mailboxes, parse_address_list
from estafeta.mail.dates import format_date
from estafeta.mail.header import fold, fold_addresses, fold_structured


def build_note(
    *,
    subject: str,
    text: str,
    language: str,
    from_: str,
    to: str,
    date: float,
    message_id: str,
    utf8: bool = False,
) -> bytes:
    """The whole message, CRLF lines. text: with "\\n" line ends. language: its RFC 5646 tag. date:
    seconds since 1970. utf8: it is sent with SMTPUTF8. Raises ValueError where an address needs
    that and it is not given."""
    body = text.rstrip("\n").replace("\n", "\r\n").encode("utf-8", "replace") + b"\r\n"
    return b"".join(
        (
            fold_addresses("From", mailboxes(parse_address_list(from_)), utf8=utf8),
            fold_addresses("To", mailboxes(parse_address_list(to)), utf8=utf8),
            fold("Subject", subject, utf8=utf8),
            fold("Date", format_date(date)),
            fold_structured("Message-ID", message_id),
            fold("Auto-Submitted", "auto-generated"),  # RFC 3834 §5
            fold("Content-Language", language),
            b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\n",
            b2a_qp(body, istext=True),
        )
    )
