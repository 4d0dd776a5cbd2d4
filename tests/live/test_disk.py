"""Disk: full (452 4.3.1, reading goes on, mail flows again with the space), and read-only.

The data folder lies on a small tmpfs in a mount namespace of the server's own, which root and, on
most systems, everybody may make.
"""

from __future__ import annotations

import asyncio
import imaplib
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.crash.sink import Sink
from tests.live.strangers import ANA, LUIS, Stranger
from tests.support.live import PASSWORD, Estafeta
from tests.support.peers.process import DidNotHappen
from tests.support.require import require

DISK_MIB = 24
SETTLE_SECONDS = 20.0

ON_TMPFS = (
    'cp -a "$0" "$0.copy" && mount -t tmpfs -o size={mib}m tmpfs "$0" && cp -a "$0.copy/." "$0/"'
    " && {then} exec {serve}"
)


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    if shutil.which("unshare") and shutil.which("nsenter"):
        probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if subprocess.run(probe, capture_output=True).returncode == 0:
            return
    require("peers", "no mount namespace can be made here (unshare -rm)")


class Small:
    """A server whose data folder is `DISK_MIB` large. then: a shell command before it starts."""

    def __init__(self, folder: Path, *, then: str = "", sink: int = 25) -> None:
        self.data = folder / "data"
        script = ON_TMPFS.format(mib=DISK_MIB, then=then, serve='"$@"')
        self.server = Estafeta(
            folder,
            accounts=[ANA, LUIS],
            routes={"sink.example": ("127.0.0.1", sink)},
            settings={
                "smtp": [
                    'relay_networks = ["127.0.0.0/8"]',
                    'plaintext_auth_networks = ["127.0.0.0/8"]',
                ],
                # What happens when the disk is full, not shortly before.
                "busy": ["disk_free_min = 0"],
            },
            trace=["unshare", "-rm", "sh", "-c", script, str(self.data)],
        )

    def inside(self, path: str) -> Path:
        """A path of the data folder, as the server sees it."""
        return Path(f"/proc/{self.server.session}/root{self.data}") / path

    def fill(self) -> None:
        with self.inside("filler").open("wb", buffering=0) as file:
            for octets in (1 << 20, 4096, 1):
                with suppress(OSError):
                    while True:
                        file.write(b"\0" * octets)

    def free(self) -> None:
        self.inside("filler").unlink()

    def command(self, *words: str) -> str:
        """`estafeta WORDS` in the namespace; its output. Raises AssertionError where it fails."""
        pid = str(self.server.session)
        enter = ["nsenter", "--preserve-credentials", "-t", pid, "-U", "-m"]
        program = [sys.executable, "-m", "estafeta", *words]
        done = subprocess.run(
            [*enter, *program, "--config", str(self.server.config)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


async def send(port: int, to: str, octets: int) -> str:
    """The answer to the message, or to whatever was refused before."""
    async with await Stranger.at(port) as s:
        await s.hello()
        for line in (f"MAIL FROM:<{ANA}>", f"RCPT TO:<{to}>", "DATA"):
            answer = await s.say(line)
            if answer[0] not in "23":
                return answer
        await s.pour(b"From: <%s>\r\nMessage-ID: <%d@t>\r\n\r\n" % (ANA.encode(), octets))
        await s.pour(b"z" * 70 + b"\r\n")
        await s.pour((b"y" * 70 + b"\r\n") * (octets // 72) + b".\r\n")
        return await s.reply()


async def refused(port: int, to: str, octets: int) -> int:
    """Sends until there is no space left; how many were still taken."""
    for n in range(100):
        answer = await send(port, to, octets)
        if not answer.startswith("250"):
            assert answer.startswith("452 4.3.1"), answer
            return n
    raise AssertionError("the disk is full, and everything is taken")


@contextmanager
def reading(small: Small, address: str) -> Iterator[imaplib.IMAP4]:
    client = small.server.imap(address, PASSWORD)
    yield client
    client.logout()


def test_a_full_disk(tmp_path: Path) -> None:
    async def main() -> None:
        sink = Sink(random.Random(1))
        sink.faults = False
        await sink.start()
        small = Small(tmp_path / "e", sink=sink.port)
        await asyncio.to_thread(small.server.start)
        try:
            await trial(small, sink)
            assert await asyncio.to_thread(small.server.stop) == 0
        finally:
            if small.server.running:
                await asyncio.to_thread(small.server.stop)
            await sink.close()

    async def trial(small: Small, sink: Sink) -> None:
        mx, submission = small.server.ports["mx"], small.server.ports["submission"]
        taken = 2
        assert (await send(mx, LUIS, 3000)).startswith("250")
        assert (await send(mx, LUIS, 600_000)).startswith("250")
        # One is on its way out while the space ends.
        sink.answering.clear()
        assert (await send(submission, "x@sink.example", 3000)).startswith("250")
        await sink.wait_for({("3000", "x@sink.example")}, SETTLE_SECONDS)
        small.fill()
        taken += await refused(mx, LUIS, 3000)
        taken += await refused(mx, LUIS, 600_000)
        for octets in (3000, 600_000):
            # What is left of the log's file may still take some.
            await refused(submission, "y@sink.example", octets)
        sink.answering.set()
        await asyncio.to_thread(look, small, taken)
        small.free()
        assert (await asyncio.to_thread(small.server.page, "healthz"))[0] == 200
        for to, octets in ((LUIS, 3000), (LUIS, 600_000)):
            assert (await send(mx, to, octets)).startswith("250")
            taken += 1
        assert (await send(submission, "z@sink.example", 600_000)).startswith("250")
        await sink.wait_for({("600000", "z@sink.example")}, SETTLE_SECONDS)
        async with asyncio.timeout(SETTLE_SECONDS):
            while "sink.example" in await asyncio.to_thread(small.command, "queue", "list"):
                continue
        # What was relayed while it could not be written down was not relayed again.
        assert len(sink.taken["3000", "x@sink.example"]) == 1
        with reading(small, LUIS) as client:
            assert int(client.select("INBOX")[1][0] or b"0") == taken
        await asyncio.to_thread(small.command, "audit", "--full")
        log = small.server.log()
        assert "no space left" in log
        assert "Traceback" not in log

    def look(small: Small, taken: int) -> None:
        """Reading goes on; what would write is refused for what it is."""
        with reading(small, LUIS) as client:
            assert int(client.select("INBOX")[1][0] or b"0") == taken
            _, parts = client.fetch("1:2", "(BODY.PEEK[])")
            assert [len(part[1]) > 2000 for part in parts if isinstance(part, tuple)] == [True] * 2
            big = b"Subject: no\r\n\r\n" + b"y" * 600_000
            status, text = client.append("INBOX", "", "", big)
            assert (status, text[0][:11]) == ("NO", b"[OVERQUOTA]"), text

    asyncio.run(main())


def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    """It says so in one sentence, or it serves what it can."""
    fill = 'dd if=/dev/zero of="$0/filler" bs=1k 2>/dev/null;'
    small = Small(tmp_path / "e", then=fill)
    try:
        small.server.start()
    except DidNotHappen:
        sentences(small.server, "no space is left on the disk")
        return
    with reading(small, LUIS) as client:
        assert client.select("INBOX")[0] == "OK"
    assert asyncio.run(refused(small.server.ports["mx"], LUIS, 3000)) < 100
    small.free()
    assert asyncio.run(send(small.server.ports["mx"], LUIS, 3000)).startswith("250")
    assert small.server.stop() == 0


def test_a_read_only_disk(tmp_path: Path) -> None:
    small = Small(tmp_path / "e", then='mount -o remount,ro "$0";')
    with pytest.raises(DidNotHappen, match="code=1"):
        small.server.start()
    sentences(small.server, "read-only")


def sentences(server: Estafeta, *words: str) -> None:
    """All that it said is one sentence with these words."""
    lines = [line for line in server.log().splitlines() if not line.startswith("{")]
    assert len(lines) == 1, server.log()
    assert lines[0].startswith("estafeta: ")
    for word in words:
        assert word in lines[0]
