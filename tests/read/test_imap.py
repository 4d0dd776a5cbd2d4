"""IMAP sessions: what a client is told, and when."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.read.rig import ADDRESS, PASSWORD, Client, House, house, message

from estafeta.read.imap.patterns import matcher
from estafeta.store import mailboxes, messages
from estafeta.wire.sasl import client_mechanism

Play = Callable[[House], Awaitable[None]]


def play(path: Path, work: Play, **settings: Any) -> None:
    async def run() -> None:
        async with house(path, **settings) as h:
            await asyncio.wait_for(work(h), 30)

    asyncio.run(run())


async def filled(h: House, count: int) -> Client:
    """A client in INBOX with so many messages."""
    client = await h.imap_client()
    for n in range(1, count + 1):
        await client.ok("APPEND INBOX", message(n))
    await client.ok("SELECT INBOX")
    return client


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


# What others do -----------------------------------------------------------------------------------


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


# Logging in ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "SCRAM-SHA-256"])
@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("initial", [True, False])
def test_authenticate(tmp_path: Path, mechanism: str, right: bool, initial: bool) -> None:
    import base64

    async def work(h: House) -> None:
        c = await h.imap_client(login=False)
        password = PASSWORD if right else "otro"
        client = client_mechanism(
            mechanism, authcid=ADDRESS, password=password, nonce="fyko+d2lbbFgONRv9qkxdawL"
        )
        first = client.initial() if initial else None
        word = b""
        if first is not None:
            word = b" " + (base64.b64encode(first) or b"=")
        c.send(b"a AUTHENTICATE " + mechanism.encode() + word + b"\r\n")
        while (line := await c.line()).startswith(b"+ "):
            challenge = base64.b64decode(line[2:])
            if not challenge and not initial:
                answer = client.initial() or b""
            else:
                answer = client.respond(challenge)
            c.send(base64.b64encode(answer) + b"\r\n")
        assert line.startswith(b"a OK [CAPABILITY" if right else b"a NO [AUTHENTICATIONFAILED]")

    play(tmp_path, work)


def test_three_failures_end_the_session(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        c = await h.imap_client(login=False)
        for _ in range(3):
            assert b"AUTHENTICATIONFAILED" in await c.no(f"LOGIN {ADDRESS} falso")
        assert (await c.line()).startswith(b"* BYE")

    play(tmp_path, work)


def test_no_password_in_the_clear(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        c = await h.imap_client(login=False)
        words = (await c.ok("CAPABILITY"))[0].split()
        assert b"LOGINDISABLED" in words
        assert b"STARTTLS" in words
        assert not any(word.startswith(b"AUTH=") for word in words)
        assert b"PRIVACYREQUIRED" in await c.no(f"LOGIN {ADDRESS} {PASSWORD}")
        assert b"PRIVACYREQUIRED" in await c.no("AUTHENTICATE PLAIN =")
        await c.ok("STARTTLS")
        words = (await c.ok("CAPABILITY"))[0].split()
        assert b"LOGINDISABLED" not in words
        assert b"STARTTLS" not in words
        await c.ok(f"LOGIN {ADDRESS} {PASSWORD}")

    play(tmp_path, work, plaintext_auth_networks=(), starttls="toy")


def test_octets_behind_starttls_are_an_attack(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        c = await h.imap_client(login=False)
        c.send(b"a STARTTLS\r\nb NOOP\r\n")
        assert (await c.line()).startswith(b"a BAD")
        assert (await c.line()).startswith(b"* BYE")
        assert await c.line() == b""

    play(tmp_path, work, starttls="toy")


def test_who_may_come_in(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        one = await h.imap_client()
        two = await h.imap_client(login=False)
        two.send(f"a LOGIN {ADDRESS} {PASSWORD}\r\n".encode())
        assert (await two.line()).startswith(b"* BYE [LIMIT]")
        await one.ok("LOGOUT")
        assert await one.line() == b""
        await (await h.imap_client()).ok("NOOP")
        await h.imap_client(login=False)
        assert (await Client(h.connect()).line()).startswith(b"* BYE [UNAVAILABLE]")

    play(tmp_path, work, sessions_max=2, sessions_max_per_account=1)


# Ends ---------------------------------------------------------------------------------------------


def test_drain_says_bye_to_who_is_silent_or_idle(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        one, two = await h.imap_client(), await filled(h, 1)
        two.send(b"i IDLE\r\n")
        assert await two.line() == b"+ idling"
        h.imap.drain()
        assert (await one.line()).startswith(b"* BYE [UNAVAILABLE]")
        assert (await two.line()).startswith(b"* BYE [UNAVAILABLE]")
        await h.imap.stop()
        assert (await Client(h.connect()).line()).startswith(b"* BYE")

    play(tmp_path, work)


def test_silence_ends_a_session(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        one = await h.imap_client(login=False)
        two = await h.imap_client()
        assert (await one.line()).startswith(b"* BYE")
        two.send(b"i IDLE\r\n")
        assert await two.line() == b"+ idling"
        assert (await two.line()).startswith(b"* BYE")

    play(tmp_path, work, idle_seconds=0.2, login_seconds=0.05, poll_seconds=0.05)


# Mailboxes ----------------------------------------------------------------------------------------


def test_names_of_mailboxes(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        c = await h.imap_client()
        await c.ok("CREATE Se&APE-ales")
        await c.ok("CREATE Work/2026/")
        await c.ok('CREATE "a \\"b"')
        listed = await c.ok('LIST "" *')
        assert b'* LIST (\\HasNoChildren) "/" Se&APE-ales' in listed
        assert b'* LIST (\\HasChildren) "/" Work' in listed
        assert b'* LIST (\\HasNoChildren) "/" "a \\"b"' in listed
        assert b"ALREADYEXISTS" in await c.no("CREATE Work")
        assert b"NONEXISTENT" in await c.no("DELETE nosuch")
        assert b"CANNOT" in await c.no("DELETE inbox")
        assert b"NONEXISTENT" in await c.no("SELECT nosuch")
        await c.ok("RENAME Work Play")
        assert len(await c.ok('LIST "" Play/*')) == 2
        await c.ok("SUBSCRIBE Play/2026")
        lsub = await c.ok('LSUB "" P%')
        assert lsub[0] == b'* LSUB (\\Noselect) "/" Play'
        await c.ok("UNSUBSCRIBE Play/2026")
        assert await c.ok('LSUB "" P%') == [b"OK done"]
        assert (await c.ok('LIST "" InBoX'))[0].endswith(b"INBOX")

    play(tmp_path, work)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", "INBOX a a/b a/b/c ab"),
        ("%", "INBOX a ab"),
        ("a%", "a ab"),
        ("a*", "a a/b a/b/c ab"),
        ("%/%", "a/b"),
        ("*c", "a/b/c"),
        ("%c", ""),
        ("a/*/c", "a/b/c"),
        ("a*%c", "a/b/c"),
        ("inb%", "INBOX"),
        ("%%", "INBOX a ab"),
        ("", ""),
        ("*b*", "INBOX a/b a/b/c ab"),
    ],
)
def test_patterns(pattern: str, names: str) -> None:
    fits = matcher(pattern)
    all_names = ["INBOX", "a", "a/b", "a/b/c", "ab"]
    assert [name for name in all_names if fits(name)] == names.split()


def test_no_pattern_is_dear() -> None:
    assert not matcher("*a" * 10 + "b")("a" * 1000)


# Searching ----------------------------------------------------------------------------------------

ENCODED = (
    b"From: =?utf-8?q?Jos=C3=A9?= <jose@correo.example>\r\nTo: ana@correo.example\r\n"
    b"Subject: =?utf-8?b?Q2Fmw6k=?= del domingo\r\nDate: Sun, 1 Mar 2026 23:30:00 -0500\r\n"
    b"Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\n"
    b"Content-Type: text/plain; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\nel ma=F1ana lar=\r\nga\r\n"
    b"--x\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"PHA+dcOxYTwvcD4=\r\n--x--\r\n"
)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("BODY mañana", "1"),
        ("BODY larga", "1"),
        ("TEXT UÑA", "1"),
        ("BODY caf", ""),
        ("TEXT café", "1"),
        ("SUBJECT CAFÉ", "1"),
        ("FROM josé", "1"),
        ("FROM JOSE@CORREO.EXAMPLE", "1"),
        ("NOT FROM josé", "2"),
        ("TO ana", "1"),
        ("OR SUBJECT café BODY hello", "1 2"),
        ("SENTON 1-Mar-2026", "1"),
        ("SENTSINCE 2-Mar-2026", ""),
        ("SENTBEFORE 1-Mar-2026", "2"),
        ("BODY ma=F1ana", ""),
        ("2,1", "1 2"),
        ("7", ""),
        ("UID 2:*", "2"),
        ("LARGER 300", "1"),
        ("HEADER message-id m1", "2"),
        ('HEADER message-id ""', "2"),
        ("ON 14-Nov-2023", "1 2"),
        ("BEFORE 14-Nov-2023", ""),
    ],
)
def test_search_decodes(tmp_path: Path, key: str, found: str) -> None:
    async def work(h: House) -> None:
        c = await h.imap_client()
        await c.ok("APPEND INBOX", ENCODED)
        await c.ok("APPEND INBOX", message(1))
        await c.ok("SELECT INBOX")
        quoted = re.sub(r"[^ ]*[^ -~][^ ]*", lambda m: f'"{m.group()}"', key)
        lines = await c.ok(f"SEARCH CHARSET UTF-8 {quoted}")
        assert lines[0] == f"* SEARCH {found}".strip().encode()

    play(tmp_path, work)


def test_logging_in_takes_no_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is never silent and never logs in has to leave as well."""
    from estafeta.read import guests

    monkeypatch.setattr(guests, "LOGIN_SECONDS_TOTAL", 0.1)

    async def work(h: House) -> None:
        client = await h.imap_client(login=False)
        for n in range(1000):
            client.send(b"n%d NOOP\r\n" % n)
            if (await client.line()).startswith(b"* BYE"):
                return
            await asyncio.sleep(0.01)
        pytest.fail("it stayed")

    play(tmp_path, work)
