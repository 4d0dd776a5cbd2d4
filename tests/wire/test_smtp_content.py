"""wire.smtp_server.content: DATA and BDAT against a slow reference."""

import re
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from estafeta.wire.lines import LineBuffer
from estafeta.wire.smtp_server.content import ChunkReader, DotReader

_PARTS = st.lists(
    st.sampled_from([b"\r\n", b"\r\n", b".", b"..", b"\r", b"\n", b"a", b"bc", b"\r\n.", b"\0"]),
    max_size=30,
)
_CUTS = st.lists(st.integers(0, 60), max_size=10)


def reference(whole: bytes) -> tuple[bytes | None, bytes, bool]:
    """Message, what comes behind it, and whether a bare CR or LF is in it: line by line."""
    lines = []
    rest = whole
    while b"\r\n" in rest:
        line, rest = rest.split(b"\r\n", 1)
        if line == b".":
            message = b"".join(part + b"\r\n" for part in lines)
            return message, rest, bool(re.search(rb"\r(?!\n)|(?<!\r)\n", message))
        lines.append(line[1:] if line.startswith(b".") else line)
    return None, b"", False


def read_data(pieces: list[bytes], octets_max: int = 1000) -> tuple[bytes | None, bytes, DotReader]:
    source, reader, got = LineBuffer(), DotReader(octets_max), []
    for piece in pieces:
        source.feed(piece)
        if not reader.ended and len(source):
            got.append(reader.take(source))
        assert reader.ended or len(source) <= 4
    return (b"".join(got) if reader.ended else None), source.take_all(), reader


def cut(whole: bytes, cuts: list[int]) -> list[bytes]:
    marks = [0, *sorted(min(at, len(whole)) for at in cuts), len(whole)]
    return [whole[a:b] for a, b in pairwise(marks)]


@settings(deadline=None)
@given(_PARTS, _CUTS)
@example([b".", b"\r\n"], [1, 2])
@example([b".", b".", b"\r\n", b".", b"\r\n"], [1])
@example([b"a", b"\r\n.", b"\r\n", b"NOOP"], [2, 3, 4])
@example([b".", b"\r", b"\r\n.", b"\r\n"], [1, 2])
def test_data_is_what_the_reference_reads(parts: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(parts)
    message, rest, bare = reference(whole)
    got, left, reader = read_data(cut(whole, cuts))
    assert reader.ended == (message is not None)
    if message is not None:
        assert left == rest
        assert reader.bare == bare
        if not bare:
            assert got == message
            assert reader.octets == len(message)


@settings(deadline=None)
@given(_PARTS)
def test_what_a_client_stuffs_comes_out(parts: list[bytes]) -> None:
    message = re.sub(rb"\r(?!\n)|(?<!\r)\n", b"", b"".join(parts)) + b"\r\n"
    sent = re.sub(rb"(?m)^\.", b"..", message) + b".\r\nNEXT"
    got, left, reader = read_data([sent])
    assert (got, left, reader.bare) == (message, b"NEXT", False)


def test_too_big_is_not_given_out() -> None:
    got, _, reader = read_data([b"x" * 10, b"y\r\n", b"z\r\n.\r\n"], octets_max=10)
    assert got == b"x" * 10
    assert reader.over_size
    got, _, reader = read_data([b"x" * 8 + b"\r\n.\r\n"], octets_max=10)
    assert got == b"x" * 8 + b"\r\n"
    assert not reader.over_size


@settings(deadline=None)
@given(_PARTS, _CUTS, _CUTS)
def test_chunks_are_what_was_sent(parts: list[bytes], chunks: list[int], cuts: list[int]) -> None:
    whole = b"".join(parts)
    source, reader, got = LineBuffer(), ChunkReader(1000), []
    for chunk in cut(whole, chunks):
        reader.announce(len(chunk))
        for piece in cut(chunk, cuts):
            source.feed(piece)
            if not reader.ended:
                got.append(reader.take(source))
        assert reader.ended
    reader.finish()
    bare = bool(re.search(rb"\r(?!\n)|(?<!\r)\n", whole))
    assert reader.bare == bare
    assert reader.octets == len(whole)
    if not bare:
        assert b"".join(got) == whole


def test_a_chunk_takes_no_more_than_announced() -> None:
    source, reader = LineBuffer(), ChunkReader(1000)
    source.feed(b"abcdeNOOP\r\n")
    reader.announce(5)
    assert reader.take(source) == b"abcde"
    assert source.take_all() == b"NOOP\r\n"
