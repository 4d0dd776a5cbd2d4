"""IMAP: bodies are streamed and given in parts, APPEND takes them in."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest
from tests.read.rig import House, filled, message, play

from estafeta.store import mailboxes, messages

# Bodies -------------------------------------------------------------------------------------------


def test_a_large_message_is_streamed_and_cut(tmp_path: Path) -> None:
    """Larger than what is held in memory: it lies in a file and comes in pieces."""
    data = message(1, b"0123456789abcde\n" * 200_000)

    async def work(h: House) -> None:
        c = await h.imap_client()
        await c.ok("APPEND INBOX", data)
        await c.ok("SELECT INBOX")
        lines = await c.ok("FETCH 1 (RFC822.SIZE BODY.PEEK[])")
        assert lines[0] == b"* 1 FETCH (RFC822.SIZE %d BODY[] {%d}\r\n%b)" % (
            len(data),
            len(data),
            data,
        )
        lines = await c.ok("FETCH 1 BODY.PEEK[TEXT]<1600000.32>")
        assert lines[0].endswith(b"BODY[TEXT]<1600000> {32}\r\n" + b"0123456789abcde\n" * 2 + b")")
        lines = await c.ok(f"FETCH 1 BODY.PEEK[]<{len(data) - 3}.100>")
        assert lines[0].endswith(b"{3}\r\nde\n)")
        assert (await c.ok("FETCH 1 BODY.PEEK[]<999999999.1>"))[0].endswith(b"{0}\r\n)")

    play(tmp_path, work)


def test_the_prefix_of_a_delivered_message_is_part_of_it(tmp_path: Path) -> None:
    from estafeta.mail.message import summary
    from estafeta.store.bodies import put
    from estafeta.store.messages import Text

    data, prefix = message(1), b"Return-Path: <x@y.example>\r\n"

    async def work(h: House) -> None:
        s = summary(data)
        body = await h.bodies.from_bytes(data)
        text = Text(s.envelope, s.bodystructure, s.body, s.index, s.message_id, s.subject, "")

        def unit(tx: Any) -> None:
            box = mailboxes.mailbox_by_name(tx, h.account.id, "INBOX")
            put(tx, body)
            messages.append(
                tx, h.account.id, box.id, body=body, size=len(prefix) + len(data),
                prefix=prefix, text=text, received=0,
            )  # fmt: skip

        await h.store.run(unit, accounts=(h.account.id,))
        c = await h.imap_client()
        await c.ok("EXAMINE INBOX")
        whole = prefix + data
        header, _, body_text = whole.partition(b"\r\n\r\n")
        header += b"\r\n\r\n"
        for item, octets in (
            ("BODY[]", whole),
            ("RFC822", whole),
            ("BODY[HEADER]", header),
            ("RFC822.HEADER", header),
            ("BODY[TEXT]", body_text),
            ("BODY[1]", body_text),
            ("BODY[HEADER.FIELDS (return-path subject)]", prefix + b"Subject: message 1\r\n\r\n"),
        ):
            lines = await c.ok(f"FETCH 1 {item}")
            assert lines[0].endswith(b" {%d}\r\n%b)" % (len(octets), octets)), item
        assert b"RFC822.SIZE %d)" % len(whole) in (await c.ok("FETCH 1 RFC822.SIZE"))[0]
        assert (await c.ok("SEARCH HEADER return-path x@y"))[0] == b"* SEARCH 1"

    play(tmp_path, work)


def test_seen(tmp_path: Path) -> None:
    """RFC 3501 §6.4.5: BODY[] sets it, BODY.PEEK[] and EXAMINE do not; told where it changed."""

    async def work(h: House) -> None:
        c = await filled(h, 2)
        await c.ok("FETCH 1 BODY.PEEK[]")
        await c.ok("FETCH 1 RFC822.HEADER")
        assert b"\\Seen" not in (await c.ok("FETCH 1 FLAGS"))[0]
        await c.ok("EXAMINE INBOX")
        await c.ok("FETCH 1 BODY[]")
        assert b"\\Seen" not in (await c.ok("FETCH 1 FLAGS"))[0]
        await c.ok("SELECT INBOX")
        assert b"FLAGS (\\Seen" in (await c.ok("FETCH 1:2 BODY[TEXT]"))[0]
        assert b"FLAGS" not in (await c.ok("FETCH 1 BODY[TEXT]"))[0]
        assert (await c.ok("NOOP")) == [b"OK done"]
        status = await c.ok("STATUS INBOX (UNSEEN)")
        assert status[0] == b"* STATUS INBOX (UNSEEN 0)"

    play(tmp_path, work)


# APPEND -------------------------------------------------------------------------------------------


def test_append_is_refused_before_its_octets(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        c = await h.imap_client()
        for text, code in (
            ("APPEND INBOX {2000}", b"[TOOBIG]"),
            ("APPEND nosuch {10}", b"[TRYCREATE]"),
            ("APPEND INBOX {900}", b"[OVERQUOTA]"),
            ("APPEND INBOX {0}", b"[CANNOT]"),
        ):
            assert code in await c.no(text), text
        await c.ok("APPEND INBOX", message(1))
        assert b"OVERQUOTA" in await c.no("APPEND INBOX", message(2, b"x" * 600))
        await c.ok("SELECT INBOX")
        await c.ok("COPY 1 Sent")
        await c.ok("COPY 1 Sent")
        await c.ok("COPY 1 Sent")
        await c.ok("COPY 1 Sent")
        assert b"OVERQUOTA" in await c.no("COPY 1 Sent")
        quota = await c.ok("GETQUOTAROOT INBOX")
        assert quota[1] == b'* QUOTA "" (STORAGE 1 0)'

    play(tmp_path, work, quota=850, message_octets_max=1000)


def test_multiappend_is_one_unit(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        c = await h.imap_client()
        one, two = message(1), message(2)
        both = b"{%d+}\r\n%b {%d+}\r\n%b" % (len(one), one, len(two), two)
        c.send(b"m APPEND INBOX (\\Seen) " + both + b"\r\n")
        assert (await c.until(b"m"))[0].startswith(b"OK [APPENDUID ")
        c.send(b"n APPEND INBOX " + both + b" junk\r\n")
        assert (await c.until(b"n"))[0].startswith(b"BAD")
        status = await c.ok("STATUS INBOX (MESSAGES UNSEEN)")
        assert status[0] == b"* STATUS INBOX (MESSAGES 2 UNSEEN 1)"

    play(tmp_path, work)


def test_a_cut_append_leaves_nothing(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        c = await h.imap_client()
        c.send(b"a APPEND INBOX {600000+}\r\n" + b"x" * 400_000)
        await asyncio.sleep(0)
        await c.stream.close()
        while await c.line():
            pass
        d = await h.imap_client()
        assert (await d.ok("STATUS INBOX (MESSAGES)"))[0] == b"* STATUS INBOX (MESSAGES 0)"
        assert not list((tmp_path / "bodies").rglob("*.*"))
        assert [p for p in (tmp_path / "bodies").rglob("*") if p.is_file()] == []

    play(tmp_path, work)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, b"[OVERQUOTA]"),
        (errno.EDQUOT, b"[OVERQUOTA]"),
        (errno.EROFS, b"[READ-ONLY]"),
        (errno.EIO, b"[UNAVAILABLE]"),
    ],
)
def test_an_append_that_the_disk_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: bytes
) -> None:
    """The session goes on: reading still works, and so does a message that needs no file."""
    large = message(1, b"x" * 600_000)

    def refuse(path: str) -> None:
        raise OSError(number, os.strerror(number))

    async def work(h: House) -> None:
        c = await h.imap_client()
        monkeypatch.setattr(h.world.disk, "create", refuse)
        assert code in await c.no("APPEND INBOX", large)
        two = b"{%d+}\r\n%b {%d+}\r\n%b" % (len(large), large, 5, b"a: b\n")
        c.send(b"m APPEND INBOX " + two + b"\r\n")
        assert (await c.until(b"m"))[-1].startswith(b"NO")
        await c.ok("APPEND INBOX", message(2))
        assert (await c.ok("STATUS INBOX (MESSAGES)"))[0] == b"* STATUS INBOX (MESSAGES 1)"

    play(tmp_path, work)
