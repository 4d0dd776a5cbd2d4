"""IMAP: what a session is told of what others do, and when."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.read.rig import House, filled, message, play


def test_no_expunge_while_numbers_are_in_use(tmp_path: Path) -> None:
    """RFC 3501 §7.4.1."""

    async def work(h: House) -> None:
        one = await filled(h, 3)
        two = await h.imap_client()
        await two.ok("SELECT INBOX")
        await two.ok("STORE 1 +FLAGS.SILENT \\Deleted")
        await two.ok("EXPUNGE")
        await two.ok("APPEND INBOX", message(4))
        assert b"* 4 EXISTS" in await one.ok("FETCH 2 UID")
        for command in ("FETCH 3 UID", "STORE 3 +FLAGS.SILENT \\Flagged", "SEARCH UID 3"):
            lines = await one.ok(command)
            assert not any(b"EXPUNGE" in line for line in lines), command
        assert (await one.ok("FETCH 1:4 UID"))[-1].startswith(b"OK [EXPUNGEISSUED]")
        assert (await one.ok("SEARCH ALL"))[0] == b"* SEARCH 2 3 4"
        assert b"* 1 EXPUNGE" in await one.ok("UID FETCH 2 UID")
        assert (await one.ok("FETCH 1:* UID"))[:3] == [
            b"* 1 FETCH (UID 2)",
            b"* 2 FETCH (UID 3)",
            b"* 3 FETCH (UID 4)",
        ]

    play(tmp_path, work)


def test_changes_by_others_are_told_once_and_own_ones_not_again(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        one = await filled(h, 2)
        two = await h.imap_client()
        await two.ok("SELECT INBOX")
        assert (await one.ok("STORE 1 +FLAGS.SILENT \\Flagged")) == [b"OK done"]
        assert (await one.ok("NOOP")) == [b"OK done"]
        assert (await two.ok("NOOP"))[0] == b"* 1 FETCH (FLAGS (\\Flagged))"
        assert (await two.ok("NOOP")) == [b"OK done"]
        # Changed by us, then by another: that must be told.
        await one.ok("STORE 1 +FLAGS.SILENT \\Seen")
        await two.ok("STORE 1 -FLAGS \\Flagged")
        assert (await one.ok("NOOP"))[0].startswith(b"* 1 FETCH (FLAGS (\\Seen")

    play(tmp_path, work)


def test_idle_tells_at_once(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        one = await filled(h, 1)
        two = await h.imap_client()
        one.send(b"i IDLE\r\n")
        assert await one.line() == b"+ idling"
        await two.ok("APPEND INBOX", message(2))
        assert await one.line() == b"* 2 EXISTS"
        assert (await one.line()).startswith(b"* 2 RECENT")
        await two.ok("SELECT INBOX")
        await two.ok("STORE 1 +FLAGS.SILENT \\Deleted")
        assert (await one.line()).startswith(b"* 1 FETCH (FLAGS (\\Deleted")
        await two.ok("EXPUNGE")
        assert await one.line() == b"* 1 EXPUNGE"
        one.send(b"DONE\r\n")
        assert await one.until(b"i") == [b"OK done"]
        one.send(b"j IDLE\r\nk NOOP\r\nl NOOP\r\n")
        assert await one.line() == b"+ idling"
        assert (await one.until(b"j"))[0].startswith(b"BAD")
        assert (await one.until(b"l")) == [b"OK done"]

    # The poll, which is the net below the hints, is far away.
    play(tmp_path, work, poll_seconds=1000.0)


def test_idle_polls_where_no_hint_comes(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        one = await filled(h, 1)
        listen = h.store.listen

        class Deaf:
            async def wait(self) -> None:
                await asyncio.Event().wait()

            def close(self) -> None:
                return

        h.store.listen = lambda topic: Deaf()
        one.send(b"i IDLE\r\n")
        assert await one.line() == b"+ idling"
        h.store.listen = listen
        two = await h.imap_client()
        await two.ok("APPEND INBOX", message(2))
        assert await one.line() == b"* 2 EXISTS"

    play(tmp_path, work, poll_seconds=0.05)


def test_a_mailbox_that_is_deleted_ends_the_sessions_in_it(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        one, two = await h.imap_client(), await h.imap_client()
        await one.ok("CREATE work")
        await one.ok("SELECT work")
        await two.ok("DELETE work")
        one.send(b"a NOOP\r\n")
        assert (await one.line()).startswith(b"* BYE")
        assert await one.line() == b""

    play(tmp_path, work)


def test_recent_goes_to_one_session(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        one = await filled(h, 2)
        assert b"* 0 RECENT" in await one.ok("EXAMINE INBOX")
        await one.ok("APPEND INBOX", message(3))
        two = await h.imap_client()
        assert b"* 1 RECENT" in await two.ok("SELECT INBOX")
        await two.ok("UNSELECT")
        assert b"* 0 RECENT" in await two.ok("SELECT INBOX")
        assert (await two.ok("STATUS INBOX (RECENT)"))[0] == b"* STATUS INBOX (RECENT 0)"

    play(tmp_path, work)


def test_sessions_share_one_array(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        one = await filled(h, 5)
        two = await h.imap_client()
        await two.ok("SELECT INBOX")
        await two.ok("APPEND INBOX", message(6))
        await one.ok("NOOP")
        await two.ok("STORE 2 +FLAGS.SILENT \\Deleted")
        await two.ok("EXPUNGE")
        await one.ok("NOOP")
        from estafeta.read.imap.view import registry

        (shared,) = registry(h.store)._kept.values()
        assert list(shared.uids) == [1, 3, 4, 5, 6]
        assert shared.sessions == 2
        assert (await one.ok("FETCH 5 UID"))[0] == b"* 5 FETCH (UID 6)"
        assert (await two.ok("FETCH 5 UID"))[0] == b"* 5 FETCH (UID 6)"

    play(tmp_path, work)
