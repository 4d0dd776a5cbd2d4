"""Plain: messages that are one text and nothing else, known without taking them apart.

Promises: some microseconds; what is not certain is not plain.
"""

from __future__ import annotations

from estafeta.mail.limits import HEADER_OCTETS_MAX
from estafeta.mail.message.fields import header_end, pairs
from estafeta.mail.message.params import content_type
from estafeta.mail.words import unfold

AS_IT_IS = (b"", b"7bit", b"8bit", b"binary", b"quoted-printable")
"""Encodings of a text that is read where it stands."""


def plain_type(data: bytes) -> str:
    """Its Content-Type in lower case; "": it may be more than a text."""
    end = header_end(data)
    if end > HEADER_OCTETS_MAX or data.find(b"begin", end) >= 0:
        return ""  # perhaps uuencoded
    if b"content-" not in data[:end].lower():
        return "text/plain"
    found = ""
    for name, value in pairs(data[:end]):
        if len(name) < 12 or name[:8].lower() != b"content-":
            continue
        match name.lower():
            case b"content-type":
                major, minor, params = content_type(value)
                if found or major != b"text" or any(b"name" in key for key, _ in params):
                    return ""
                found = f"text/{minor.decode('latin-1')}"
            case b"content-transfer-encoding":
                if unfold(value).lower() not in AS_IT_IS:
                    return ""
            case b"content-disposition":
                return ""
    return found or "text/plain"
