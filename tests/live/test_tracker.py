"""What became of a sent message, told by the real program to imaplib in IDLE."""

from __future__ import annotations

import imaplib
import smtplib
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.live import PASSWORD, Estafeta
from tests.support.peers.process import LOOPBACK

ANA = "ana@correo.example"
SOON = 2.0
"""Seconds from the reply of the next server until the client must have been told."""


class Next(socketserver.ThreadingTCPServer):
    """The server of everybody else. says: its replies to RCPT, in turn, the last one stays; it
    waits for `go` before each. said: when it gave one."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), _Session)
        self.says: list[str] = []
        self.go = threading.Semaphore(0)
        self.said = 0.0

    def reply(self) -> str:
        self.go.acquire(timeout=30)
        self.said = time.monotonic()
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]


class _Session(socketserver.StreamRequestHandler):
    server: Next

    def handle(self) -> None:
        self.say("220 next.example ESMTP")
        for line in self.rfile:
            match line[:4].upper():
                case b"RCPT":
                    self.say(self.server.reply())
                case b"DATA":
                    self.say("354 go on")
                    while self.rfile.readline() not in (b".\r\n", b""):
                        pass
                    self.say("250 2.0.0 taken")
                case b"QUIT":
                    self.say("221 bye")
                    return
                case _:
                    self.say("250 ok")

    def say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")


@pytest.fixture
def following() -> Iterator[Next]:
    with Next() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def server(request: pytest.FixtureRequest, tmp_path: Path, following: Next) -> Iterator[Estafeta]:
    made = Estafeta(
        tmp_path / "e",
        accounts=[ANA],
        routes={"*": (LOOPBACK, following.server_address[1])},
        settings={
            "server": [f"workers = {request.param}"],
            "smtp": ['plaintext_auth_networks = ["127.0.0.0/8"]'],
            "queue": ['retry = ["1s"]', 'repeat = "1s"'],
        },
    )
    with made:
        yield made
        made.command("audit", "--full")


def submit(server: Estafeta, message: bytes, to: str = "bob@otro.example") -> None:
    with smtplib.SMTP(LOOPBACK, server.ports["submission"]) as client:
        client.login(ANA, PASSWORD)
        client.sendmail(ANA, [to], message)


def message(n: int) -> bytes:
    return (
        f"From: Ana <{ANA}>\r\nTo: bob@otro.example\r\nSubject: {n}\r\n"
        f"Message-ID: <{n}@correo.example>\r\n\r\nhello\r\n"
    ).encode()


class Idle:
    """imaplib, which has no word for it, in IDLE."""

    def __init__(self, client: imaplib.IMAP4) -> None:
        self.client = client

    def __enter__(self) -> Idle:
        self.client.send(b"idle IDLE\r\n")
        assert self.client.readline().startswith(b"+")
        return self

    def __exit__(self, *_: object) -> None:
        self.client.send(b"DONE\r\n")
        while not self.client.readline().startswith(b"idle OK"):
            pass

    def hears(self, number: int, keyword: str) -> None:
        """The next that is told of a message's flags: this one of ours, and none other."""
        while True:
            line = self.client.readline().decode()
            if line.startswith(f"* {number} FETCH"):
                told = [word.strip("()\r\n") for word in line.split() if word.strip("(")[0] == "$"]
                assert told == [keyword], line
                return


def flags(client: imaplib.IMAP4, number: int) -> set[str]:
    client.noop()
    _, parts = client.fetch(str(number), "(FLAGS)")
    line = parts[-1]  # before it, what others changed meanwhile
    assert isinstance(line, bytes)
    return {flag.decode() for flag in imaplib.ParseFlags(line)} - {"\\Recent"}


def test_deferred_taken_refused(server: Estafeta, following: Next) -> None:
    client = server.imap(ANA)
    client.select("Sent")
    following.says = ["451 4.3.0 busy", "250 2.1.5 ok", "550 5.1.1 nobody"]
    submit(server, message(1))
    client.append("Sent", "(\\Seen)", "", message(1))  # type: ignore[arg-type]
    assert flags(client, 1) == {"\\Seen", "$Queued"}

    with Idle(client) as idle:
        for keyword in ("$Delayed", "$Delivered"):
            following.go.release()
            idle.hears(1, keyword)
            assert time.monotonic() - following.said < SOON
    assert flags(client, 1) == {"\\Seen", "$Delivered"}

    # Another: filed before it is submitted, and refused.
    client.append("Sent", "($Delivered)", "", message(2))  # type: ignore[arg-type]
    assert flags(client, 2) == set()
    client.store("2", "+FLAGS", "($Delivered mine)")
    assert flags(client, 2) == {"mine"}
    with Idle(client) as idle:
        began = time.monotonic()
        submit(server, message(2))
        idle.hears(2, "$Queued")
        assert time.monotonic() - began < SOON
        following.go.release()
        idle.hears(2, "$Bounced")
        assert time.monotonic() - following.said < SOON
    client.store("2", "FLAGS", "(\\Flagged)")
    assert flags(client, 2) == {"\\Flagged", "$Bounced"}
    client.logout()


def test_we_file_the_copy(server: Estafeta, following: Next) -> None:
    server.command("account", "set", ANA, "--save-sent", "on")
    following.says = ["250 2.1.5 ok"]
    following.go.release()
    client = server.imap(ANA)
    client.select("Sent")
    with Idle(client):
        began = time.monotonic()
        submit(server, message(1))
        while b"EXISTS" not in client.readline():
            pass
        assert time.monotonic() - began < SOON
    deadline = time.monotonic() + SOON
    while flags(client, 1) != {"\\Seen", "$Delivered"} and time.monotonic() < deadline:
        time.sleep(0.05)
    assert flags(client, 1) == {"\\Seen", "$Delivered"}
    before = client.fetch("1", "(UID)")[1]
    _, (answer,) = client.append("Sent", "(\\Seen)", "", message(1))  # type: ignore[arg-type]
    uid = str(before[0]).split("UID ")[1].strip(")'")
    assert f" {uid}]" in str(answer)
    assert client.select("Sent")[1] == [b"1"]
    client.append("Sent", "(\\Seen)", "", message(1) + b"PS\r\n")  # type: ignore[arg-type]
    assert client.select("Sent")[1] == [b"2"]
    trace = server.command("trace", "<1@correo.example>", "--lang", "en")
    assert "the sender's copy in Sent says $Delivered" in trace
    client.logout()
