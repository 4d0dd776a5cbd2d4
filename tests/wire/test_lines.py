"""wire.lines."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estafeta.wire.lines import LineBuffer, LineTooLong


def lines_of(pieces: list[bytes], octets_max: int) -> tuple[list[bytes | str], int]:
    """Every line, "too long" in the place of one that was; and the most octets ever held."""
    buffer = LineBuffer()
    found: list[bytes | str] = []
    held = 0
    for piece in pieces:
        buffer.feed(piece)
        while True:
            try:
                line = buffer.take_line(octets_max)
            except LineTooLong:
                found.append("too long")
                continue
            if line is None:
                break
            found.append(line)
        held = max(held, len(buffer))
    return found, held


def test_only_crlf_ends_a_line() -> None:
    assert lines_of([b"a\nb\rc\r\r\n\r\nrest"], 100) == ([b"a\nb\rc\r", b""], 4)


def test_the_limit_counts_the_line_end() -> None:
    assert lines_of([b"abc\r\nabcd\r\nab\r\n"], 5)[0] == [b"abc", "too long", b"ab"]


def test_a_line_without_end_is_told_once_and_not_kept() -> None:
    found, held = lines_of([b"x" * 1000] * 1000 + [b"\r", b"\nNOOP\r\n"], 100)
    assert found == ["too long", b"NOOP"]
    assert held <= 1


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bcdefghij"]), max_size=40),
    st.integers(2, 12),
    st.data(),
)
def test_splitting_changes_nothing(
    parts: list[bytes], octets_max: int, data: st.DataObject
) -> None:
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    split, held = lines_of(pieces, octets_max)
    once, _ = lines_of([whole], octets_max)
    # A long line whose end is not there yet is told early in both, or in neither.
    assert split == once
    assert held <= octets_max + 1


def test_octets_and_lines_mix() -> None:
    buffer = LineBuffer()
    buffer.feed(b"one\r\n12345two\r\nrest")
    assert buffer.take_line(100) == b"one"
    assert buffer.take(5) == b"12345"
    assert buffer.take_line(100) == b"two"
    assert len(buffer) == 4
    assert buffer.take_all() == b"rest"
    buffer.put_back(b"st")
    buffer.feed(b"\r\n")
    assert buffer.take_line(100) == b"st"
    buffer.feed(b"gone")
    buffer.clear()
    assert buffer.take_line(100) is None


@pytest.mark.parametrize("cut", range(12))
def test_a_cr_at_the_edge_of_a_piece(cut: int) -> None:
    whole = b"ab\r\r\n\r\ncd\r\n."
    assert lines_of([whole[:cut], whole[cut:]], 100)[0] == [b"ab\r", b"", b"cd"]
