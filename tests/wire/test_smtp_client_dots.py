"""Dot-stuffing: whatever the chunks, what a server reads is what was sent."""

from __future__ import annotations

import random

from estafeta.wire.smtp_client import DotStuffer


def unstuff(data: bytes) -> bytes:
    """As a server reads it, line by line (RFC 5321 §4.5.2)."""
    lines = data.split(b"\r\n")
    out = []
    for number, line in enumerate(lines):
        if line == b".":
            assert lines[number + 1 :] == [b""], "a final dot in the middle"
            return b"".join(each + b"\r\n" for each in out)
        out.append(line[1:] if line.startswith(b".") else line)
    raise AssertionError("no final dot")


def stuff(chunks: list[bytes]) -> bytes:
    stuffer = DotStuffer()
    return b"".join(map(stuffer.chunk, chunks)) + stuffer.end()


def test_known_forms() -> None:
    assert stuff([]) == b".\r\n"
    assert stuff([b"a\r\n"]) == b"a\r\n.\r\n"
    assert stuff([b"a"]) == b"a\r\n.\r\n"
    assert stuff([b".\r\n"]) == b"..\r\n.\r\n"
    assert stuff([b"a\r\n.\r\n.b\r\n"]) == b"a\r\n..\r\n..b\r\n.\r\n"
    assert stuff([b"a\r\n", b".b\r\n"]) == b"a\r\n..b\r\n.\r\n"
    assert stuff([b"a\r", b"\n.b\r", b"\n"]) == b"a\r\n..b\r\n.\r\n"
    assert stuff([b"a", b".b\r\n"]) == b"a.b\r\n.\r\n"
    assert stuff([b"a\r\n", b"", b"."]) == b"a\r\n..\r\n.\r\n"


def test_every_cut_into_chunks() -> None:
    seed = 20
    dice = random.Random(seed)
    for _ in range(2000):
        lines = [b"".join(dice.choices([b".", b"a", b".."], k=dice.randrange(3))) for _ in range(4)]
        whole = b"".join(line + b"\r\n" for line in lines)
        chunks, at = [], 0
        while at < len(whole):
            step = dice.randrange(1, 4)
            chunks.append(whole[at : at + step])
            at += step
        assert unstuff(stuff(chunks)) == whole, f"seed {seed}"


def test_a_bare_line_feed_smuggles_no_end() -> None:
    for whole in (b"a\n.\nMAIL FROM:<x>\n", b"a\n.\r\nMAIL\r\n", b"a\r\n.\nMAIL\r\n"):
        sent = stuff([whole])
        for end in (b"\n.\n", b"\n.\r\n"):
            assert sent.find(end) in (-1, len(sent) - 4)
