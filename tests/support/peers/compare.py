"""compare: is what arrived what was sent?

The body's hash must be equal, and the original header fields must stand there unchanged and in
their order. Everything else is on a named list below, or the test fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

# Fields that servers on the way put on top: RFC 5321 §4.4, RFC 8601 §4.1 and the delivery's own.
TRACE_FIELDS = frozenset(
    {"authentication-results", "delivered-to", "received", "return-path", "x-original-to"}
)

# Fields that submission adds where the author left them out: RFC 6409 §8.
SUBMISSION_ADDS = frozenset({"date", "message-id"})

# Fields that submission takes out: what Bcc says is nobody else's to read, RFC 5322 §3.6.3.
SUBMISSION_REMOVES = frozenset({"bcc"})


def normal(message: bytes) -> bytes:
    """The message with CRLF line ends, whichever way the mailbox format wrote them."""
    return message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def fields(message: bytes) -> list[bytes]:
    """The header fields of a message in their order, each with its folded lines, without the last
    line end."""
    header = normal(message).partition(b"\r\n\r\n")[0]
    found: list[bytes] = []
    for line in header.split(b"\r\n"):
        if line[:1] in (b" ", b"\t") and found:
            found[-1] += b"\r\n" + line
        else:
            found.append(line)
    return found


def name_of(field: bytes) -> str:
    """The lower-case name of a header field."""
    return field.partition(b":")[0].decode("latin-1").strip().lower()


def body_hash(message: bytes) -> str:
    """The SHA-256 of the body, in hexadecimal."""
    return hashlib.sha256(normal(message).partition(b"\r\n\r\n")[2]).hexdigest()


def assert_same(
    sent: bytes,
    received: bytes,
    *,
    may_add: Collection[str] = (),
    may_remove: Collection[str] = (),
    may_refold: Collection[str] = (),
) -> None:
    """Fails unless `received` is `sent` but for trace fields on top and the named changes.

    may_refold: names of fields in which any white space may stand for any other.
    """
    assert body_hash(received) == body_hash(sent), "the body changed"

    def seen(field: bytes) -> bytes:
        return b" ".join(field.split()) if name_of(field) in may_refold else field

    expected = [seen(field) for field in fields(sent) if name_of(field) not in may_remove]
    got = [seen(field) for field in fields(received)]
    top = 0
    while top < len(got) and name_of(got[top]) in TRACE_FIELDS:
        top += 1
    rest = got[top:]
    remaining = iter(expected)
    wanted = next(remaining, None)
    for field in rest:
        if field == wanted:
            wanted = next(remaining, None)
        else:
            assert name_of(field) in may_add, f"not sent, not allowed: {field!r}; {wanted=}"
    assert wanted is None, f"missing or out of order: {wanted!r} in {got!r}"
