"""Authors, read off the ENVELOPE that the store keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estafeta.mail import header
from estafeta.mail.message import summary
from estafeta.mail.message.authors import authors


@pytest.mark.parametrize(
    ("field", "found"),
    [
        (b"ana@a.example", ["ana@a.example"]),
        (b"Ana <Ana@A.example>", ["Ana@a.example"]),
        (b'"An \\"a\\" (x" <ana@a.example>, luis@b.example', ["ana@a.example", "luis@b.example"]),
        ("Añá <ana@añá.example>".encode(), ["ana@xn--a-ufa1c.example"]),
        (b'"ana maria"@a.example', ['"ana maria"@a.example']),
        (b"Team: ana@a.example, luis@b.example;", ["ana@a.example", "luis@b.example"]),
        (b"a\r\n b <ana@a.example>", ["ana@a.example"]),
        (b"ana", []),
        (b"ana@a.example, luis", []),
        (b"", []),
        (b"undisclosed:;", []),
    ],
)
def test_authors(field: bytes, found: list[str]) -> None:
    subject = b'Subject: {7}\r\n (NIL "x" \\\r\n'
    message = subject + b"From: " + field + b"\r\nTo: eva@c.example\r\n\r\n"
    assert authors(summary(message).envelope) == found


@given(st.text(min_size=0, max_size=60))
def test_as_submission_reads_them(text: str) -> None:
    """Of what submission takes, the same."""
    field = text.replace("\r", " ").replace("\n", " ")
    message = f"From: {field} <ana@a.example>\r\n\r\n".encode("utf-8", "replace")
    wrote = header.examine(message).authors
    if wrote:
        assert tuple(authors(summary(message).envelope)) == wrote


@given(st.binary(max_size=60))
def test_never_raises(octets: bytes) -> None:
    authors(octets)
    authors(summary(b"From: " + octets + b"\r\n\r\n").envelope)
