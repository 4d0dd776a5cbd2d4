"""letters: messages that show whether a server leaves alone what is not its to change."""

from __future__ import annotations

from email.utils import formatdate

_BODY = (
    b"Line\r\n.\r\n..two dots\r\n.one dot\r\nFrom here on\r\n \t trailing \t \r\n\r\n"
    b"Ma\xc3\xb1ana se ver\xc3\xa1 \xe2\x80\x94 " + b"x" * 900 + b"\r\n\r\n\r\n"
)


def letter(sender: str, recipient: str, mark: str, *, size: int = 0, drop: str = "") -> bytes:
    """A message with folded, repeated, oddly spaced and oddly spelt fields and every dot trouble.

    mark: becomes the Message-ID and the subject. size: octets to fill the body up to. drop: a field
    to leave out. Lines end in CRLF.
    """
    fields = [
        "X-First: 1",
        f"From: =?utf-8?q?Pe=C3=B1a?= <{sender}>",
        f"To: {recipient},\r\n\t  undisclosed:;",
        f"Subject: {mark} =?utf-8?b?wqFob2xhIQ==?=\r\n =?utf-8?q?_otra_vez?=",
        "x-LOWER-and-UPPER:no space before",
        "Comments:   three spaces",
        "Comments: again",
        f"Date: {formatdate(1_795_500_000)}",
        f"Message-ID: <{mark}@letters.example>",
        "MIME-Version: 1.0",
        'Content-Type: text/plain; charset="utf-8"',
        "Content-Transfer-Encoding: 8bit",
        "X-Last: " + "a b " * 15 + "\r\n " + "c d " * 15 + "e",
    ]
    kept = [field for field in fields if field.partition(":")[0] != drop]
    body = _BODY
    filling = b"Relleno de una carta larga, linea tras linea, hasta que baste.\r\n"
    body += filling * -(-max(0, size - len(body)) // len(filling))
    return "\r\n".join(kept).encode() + b"\r\n\r\n" + body
