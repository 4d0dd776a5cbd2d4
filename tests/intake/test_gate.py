"""Gate: the header is found however the octets come, and nothing else is touched."""

from __future__ import annotations

import hashlib
import time

import pytest

from estafeta.intake.gate import Gate
from estafeta.intake.limits import HEADER_OCTETS_MAX
from estafeta.mail.outcome import Reply
from estafeta.wire import replies

ADDED = b"Received: x\r\n"


class Kept:
    """Stands for a BodyWriter. broken: it has no room."""

    def __init__(self, *, broken: bool = False) -> None:
        self.data = b""
        self._broken = broken

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        if self._broken:
            raise OSError(28, "no space")
        self.data += data


def through(
    *pieces: bytes, answer: Reply | None = None, digested: bool = False
) -> tuple[Gate, bytes, list[bytes]]:
    """(gate, octets kept, headers it asked about) after these pieces."""
    kept = Kept()
    asked: list[bytes] = []

    def on_header(header: bytes) -> bytes | Reply:
        assert isinstance(header, bytes)
        asked.append(header)
        return answer if answer is not None else ADDED + header

    gate = Gate(kept, on_header, digested=digested)  # type: ignore[arg-type]
    for piece in pieces:
        gate.write(piece)
    gate.finish()
    return gate, kept.data, asked


MESSAGES = [
    (b"A: b\r\nC: d\r\n", b"\r\nbody\r\n\r\nmore\r\n"),
    (b"A: b\r\n", b"\r\n"),
    (b"", b"\r\nbody\r\n\r\nC: d\r\n"),
    (b"", b"\r\n"),
    (b"A: b\r\n", b""),
    (b"A: b", b""),
    (b"", b""),
    (b"A: b\r\n\tc\r\nno field at all\r\n", b"\r\n\r\n\r\n"),
]


@pytest.mark.parametrize(("header", "rest"), MESSAGES)
def test_a_message_split_anywhere(header: bytes, rest: bytes) -> None:
    message = header + rest
    for at in range(len(message) + 1):
        for pieces in (
            (message[:at], message[at:]),
            (*(bytes([o]) for o in message[:at]), message[at:]),
        ):
            gate, kept, asked = through(*(p for p in pieces if p), digested=True)
            assert gate.problem is None
            assert asked == [header]
            assert kept == ADDED + message
            assert gate.digest == hashlib.sha256(message).digest()[:16]


def test_no_digest_unless_asked_for() -> None:
    assert through(b"A: b\r\n\r\n")[0].digest is None


def test_a_refused_header() -> None:
    gate, kept, asked = through(b"A: b\r\n", b"\r\nbody", b"\r\n\r\nx", answer=replies.LOOP)
    assert gate.problem == replies.LOOP
    assert kept == b""
    assert asked == [b"A: b\r\n"]


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("rest", [b"", b"\r\n", b"\r\nbody"])
@pytest.mark.parametrize("step", [65536, 65535, 10**9])
def test_the_largest_header(extra: int, rest: bytes, step: int) -> None:
    """The limit does not depend on how the octets come."""
    header = b"A: " + b"x" * (HEADER_OCTETS_MAX + extra - 5) + b"\r\n"
    message = header + rest
    gate, kept, asked = through(*(message[n : n + step] for n in range(0, len(message), step)))
    if extra:
        assert gate.problem == replies.TOO_COMPLEX
        assert (kept, asked) == (b"", [])
    else:
        assert gate.problem is None
        assert kept == ADDED + message


def test_a_header_that_drips_is_not_copied_for_each_drop() -> None:
    """Else 200,000 octets one by one cost 20 GB of copying."""
    started = time.process_time()
    gate, kept, _ = through(*[b"x"] * 200_000, b"\r\n\r\n")
    assert gate.problem is None
    assert len(kept) == len(ADDED) + 200_004
    assert time.process_time() - started < 1.5


def test_a_writer_without_room_is_the_callers_matter() -> None:
    gate = Gate(Kept(broken=True), lambda header: header, digested=False)  # type: ignore[arg-type]
    gate.write(b"A: b\r\n")
    with pytest.raises(OSError, match="no space"):
        gate.write(b"\r\nbody")
