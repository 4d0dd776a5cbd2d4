"""Modified UTF-7 (RFC 3501 §5.1.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estafeta.wire.imap import utf7


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("INBOX", b"INBOX"),
        ("Señales", b"Se&APE-ales"),
        ("a&b", b"a&-b"),
        # RFC 3501 §5.1.3, and RFC 2152's example.
        ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
        ("😀", b"&2D3eAA-"),
    ],
)
def test_both_ways(name: str, octets: bytes) -> None:
    assert utf7.encode(name) == octets
    assert utf7.decode(octets) == name


@pytest.mark.parametrize(
    "octets",
    [
        b"&",
        b"&AAA",
        b"&APE",
        b"a&APE ales",
        b"&AGE-",
        b"&2D0-",
        b"&AP-",
        b"&*-",
        b"\xff",
        b"\xc3&-",
    ],
)
def test_refused(octets: bytes) -> None:
    """Shifts that do not end, that encode ASCII, half a surrogate pair, no base64."""
    with pytest.raises(ValueError):  # noqa: PT011  (UnicodeDecodeError is one)
        utf7.decode(octets)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_name_survives(name: str) -> None:
    assert utf7.decode(utf7.encode(name)) == name
    assert utf7.encode(name).isascii()
