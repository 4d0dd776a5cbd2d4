"""utf7: modified UTF-7 of mailbox names (RFC 3501 §5.1.3): both ways, strict when decoding."""

from __future__ import annotations

import binascii
import re

_ENCODED = re.compile(r"[^\x20-\x7e]+|&")
_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")


def encode(name: str) -> bytes:
    """The name as it goes over the wire."""
    if name.isascii() and name.isprintable() and "&" not in name:
        return name.encode("ascii")
    return _ENCODED.sub(_encode_run, name).encode("ascii")


def _encode_run(match: re.Match[str]) -> str:
    run = match.group()
    if run == "&":
        return "&-"
    octets = run.encode("utf-16-be", "surrogatepass")
    base64 = binascii.b2a_base64(octets, newline=False).rstrip(b"=")
    return "&" + base64.decode("ascii").replace("/", ",") + "-"


def decode(name: bytes) -> str:
    """The name behind the octets; raises ValueError where they are not modified UTF-7.

    Octets of 8 bits are taken as UTF-8, which RFC 3501 §5.1 reserves and clients send.
    """
    if b"&" not in name:
        return name.decode("utf-8")
    text = name.decode("ascii")
    pieces = []
    at = 0
    while (shift := text.find("&", at)) >= 0:
        pieces.append(text[at:shift])
        match = _SHIFTED.match(text, shift)
        if match is None:
            raise ValueError("'&' begins a shift that does not end with '-'")
        pieces.append(_decode_run(match.group(1)))
        at = match.end()
    pieces.append(text[at:])
    return "".join(pieces)


def _decode_run(base64: str) -> str:
    if not base64:
        return "&"
    padded = base64.replace(",", "/") + "=" * (-len(base64) % 4)
    try:
        text = binascii.a2b_base64(padded, strict_mode=True).decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("a shift that is not UTF-16 in base64") from error
    # What can be said without a shift must be, or one mailbox had two names.
    if any(" " <= c <= "~" for c in text):
        raise ValueError("a shift that encodes printable ASCII")
    return text
