"""Plain: messages that are one text and nothing else, known without taking them apart.

Promises: some microseconds; what is not certain is not plain.
"""

from __future__ import annotations

from collections.abc import Iterator

from estafeta.mail.limits import HEADER_OCTETS_MAX
from estafeta.mail.message.fields import header_end
from estafeta.mail.message.params import content_type
from estafeta.mail.words import unfold

AS_IT_IS = (b"", b"7bit", b"8bit", b"binary", b"quoted-printable")
"""Encodings of a text that is read where it stands."""

_C = (b"C", b"c")
_BLANKS = (b" ", b"\t")


def plain_type(data: bytes) -> str:
    """Its Content-Type in lower case; "": it may be more than a text."""
    end = header_end(data)
    if end > HEADER_OCTETS_MAX or data.find(b"begin", end) >= 0:
        return ""  # perhaps uuencoded
    head = data[:end]
    if b"content-" not in head.lower():
        return "text/plain"
    found = ""
    for name, value in _described(head):
        match name:
            case b"content-type":
                major, minor, params = content_type(value)
                if found or major != b"text" or any(b"name" in key for key, _ in params):
                    return ""
                found = f"text/{minor.decode('latin-1')}"
            case b"content-transfer-encoding":
                if unfold(value).lower() not in AS_IT_IS:
                    return ""
            case b"content-disposition" | b"":
                return ""
    return found or "text/plain"


def _described(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name in lower case, value) of the fields Content-…; b"": one that is not well written.
    A third of the time that `pairs` takes."""
    lines = head.split(b"\n")
    for n, line in enumerate(lines):
        if line[:1] not in _C or line[:8].lower() != b"content-":
            continue
        name, colon, value = line.partition(b":")
        more = n + 1
        while lines[more : more + 1] and lines[more][:1] in _BLANKS:
            value += lines[more]
            more += 1
        plain = name.replace(b"-", b"").isalnum() and colon
        yield (name.lower() if plain else b""), value
