"""Copies of what is sent that the server files: what they hold, and which a client need not add."""

from __future__ import annotations

import asyncio

import pytest
from tests.submit.rig import BOB, CARL, EVA, MESSAGE, Ana, flags, whole_message, with_ana

from estafeta.store import accounts, mailboxes

pytestmark = pytest.mark.usefixtures("each_engine")


def test_the_server_files_the_copy() -> None:
    written = MESSAGE.replace(b"Message-ID", b"Bcc: Carl <carl@other.example>\r\nMessage-ID")

    async def work(ana: Ana) -> None:
        await ana.submits(EVA, message=MESSAGE.replace(b"one@", b"zero@"))
        client = await ana.reads()
        assert (await client.ok("SEARCH ALL"))[0] == b"* SEARCH"  # off, unless asked for
        await ana.saves_sent()
        await ana.submits(EVA, CARL, message=written)
        await ana.house.settled()
        await client.ok("NOOP")
        assert await flags(client) == {"\\Seen", "$Delivered"}
        copy = await whole_message(client)
        assert copy.startswith(b"Bcc: Carl <carl@other.example>\r\nReceived: ")
        assert copy.count(b"Bcc:") == 1
        assert copy.endswith(b"\r\n\r\nhello\r\n")
        (line, _) = await client.ok("FETCH 1 (ENVELOPE RFC822.SIZE)")
        assert b'(("Carl" NIL "carl" "other.example"))' in line
        assert b"RFC822.SIZE %d" % len(copy) in line
        assert b"Bcc" not in (await ana.house.inbox("eva"))[-1]
        assert all(b"Bcc" not in content for _, _, content in ana.house.attempts.made)

    with_ana(work)


def test_who_got_a_blind_copy_is_told_by_the_envelope() -> None:
    """Of a client that keeps Bcc to itself."""
    message = MESSAGE.replace(b"Message-ID", b"To: Eva <EVA@mx.example>\r\nMessage-ID")

    async def work(ana: Ana) -> None:
        await ana.saves_sent()
        await ana.submits(EVA, BOB, CARL, message=message)
        copy = await whole_message(await ana.reads())
        assert copy.startswith(b"Bcc: bob@remote.example, carl@other.example\r\n")

    with_ana(work)


@pytest.mark.parametrize(
    "appended",
    [
        MESSAGE,
        MESSAGE.removesuffix(b"\r\n"),
        MESSAGE.replace(b"Message-ID", b"Bcc: bob@remote.example\r\nMessage-ID"),
    ],
)
def test_a_client_appends_the_same(appended: bytes) -> None:
    async def work(ana: Ana) -> None:
        await ana.saves_sent()
        await ana.submits(EVA)
        client = await ana.reads()
        before = await whole_message(client)
        (*_, answer) = await client.ok("APPEND Sent (\\Seen \\Answered mine $Bounced)", appended)
        (uid, _) = await client.ok("FETCH 1 UID")
        assert answer.split()[3].rstrip(b"]") == uid.split()[-1].rstrip(b")")
        assert (await client.ok("SEARCH ALL"))[0] == b"* SEARCH 1"
        assert await whole_message(client) == before
        assert await flags(client) == {"\\Seen", "\\Answered", "mine", "$Delivered"}

    with_ana(work)


@pytest.mark.parametrize(
    ("appended", "wait"),
    [
        (MESSAGE.replace(b"hello", b"hallo"), 0),
        (MESSAGE.replace(b"hello", b"hello, and more"), 0),
        (MESSAGE.replace(b"hello\r\n", b""), 0),
        (MESSAGE.replace(b"Message-ID", b"Subject: x\r\nMessage-ID"), 0),
        (MESSAGE.replace(b"Ana <ana@mx.example>", b"ana@mx.example"), 0),
        (MESSAGE, 301),
    ],
)
def test_a_client_appends_another(appended: bytes, wait: int) -> None:
    async def work(ana: Ana) -> None:
        await ana.saves_sent()
        await ana.submits(EVA)
        await asyncio.sleep(wait)
        client = await ana.reads()
        await client.ok("APPEND Sent", appended)
        assert (await client.ok("SEARCH ALL"))[0] == b"* SEARCH 1 2"
        assert await flags(client, 2) == {"$Delivered"}

    with_ana(work)


def test_the_client_was_faster() -> None:
    async def work(ana: Ana) -> None:
        await ana.saves_sent()
        client = await ana.reads()
        await client.ok("APPEND Sent", MESSAGE)
        await ana.submits(EVA)
        await ana.submits(EVA)  # once more
        assert (await client.ok("SEARCH ALL"))[0] == b"* SEARCH 1"
        assert await flags(client) == {"$Delivered"}

    with_ana(work)


def test_a_large_message_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    large = MESSAGE + b"".join(b"line %d of many\r\n" % n for n in range(40_000))

    async def work(ana: Ana) -> None:
        await ana.saves_sent()
        await ana.submits(EVA, message=large)
        client = await ana.reads()
        await client.ok("APPEND Sent", large)
        assert (await client.ok("SEARCH ALL"))[0] == b"* SEARCH 1"
        await client.ok("APPEND Sent", large[:-3] + b"!\r\n")
        assert (await client.ok("SEARCH ALL"))[0] == b"* SEARCH 1 2"

    with_ana(work)


@pytest.mark.parametrize("there", ["", "Sent"])
def test_where_there_is_no_sent(there: str) -> None:
    """It is made; one of that name becomes it."""

    async def work(ana: Ana) -> None:
        id = ana.house.accounts["ana"].id
        await ana.house.store.run(lambda tx: mailboxes.delete(tx, id, "Sent"))
        if there:
            await ana.house.store.run(lambda tx: mailboxes.create(tx, id, there))
        await ana.saves_sent()
        await ana.submits(EVA)
        client = await ana.reads("Sent")
        assert await flags(client) == {"\\Seen", "$Delivered"}
        listed = (await client.ok('LIST "" Sent'))[0]
        assert b"\\Sent" in listed

    with_ana(work)


def test_an_account_without_room_sends_all_the_same() -> None:
    async def work(ana: Ana) -> None:
        id = ana.house.accounts["ana"].id
        await ana.saves_sent()
        await ana.submits(EVA, message=MESSAGE + b"x" * 500 + b"\r\n")
        await ana.house.store.run(lambda tx: accounts.set_account(tx, id, quota=500))
        await ana.submits(EVA, message=MESSAGE.replace(b"one@", b"two@"))
        client = await ana.reads()
        assert (await client.ok("SEARCH ALL"))[0] == b"* SEARCH 1"

    with_ana(work)
