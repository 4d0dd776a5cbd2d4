"""IMAP: names and patterns of mailboxes, and searching in them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from tests.read.rig import House, message, play

from estafeta.read.imap.patterns import matcher

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
