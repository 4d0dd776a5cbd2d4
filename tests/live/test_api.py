"""The queue by hand on a running server: its commands and its API, with one worker and with two."""

from __future__ import annotations

import contextlib
import json
import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from tests.support.live import PASSWORD, Estafeta
from tests.support.peers.process import LOOPBACK, wait_for

ANA, EVA = "ana@a.example", "eva@a.example"
BOB, BILL, CARL = "bob@b.example", "bill@b.example", "carl@c.example"
NOTICED_SECONDS = 3.0
"""Workers notice within one; a machine that is busy may need longer."""


class Next:
    """A server for other domains: takes what it is given, or answers `busy` to RCPT."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.busy = True
        self._listening = socket.create_server((LOOPBACK, 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rwb", 0) as stream:
            stream.write(b"220 next.example\r\n")
            for line in stream:
                verb = line[:4].upper()
                if verb == b"EHLO":
                    stream.write(b"250 next.example\r\n")
                elif verb == b"RCPT":
                    if self.busy:
                        stream.write(b"450 4.2.0 busy\r\n")
                        continue
                    self.taken.append(line.partition(b"<")[2].partition(b">")[0].decode())
                    stream.write(b"250 2.1.5 ok\r\n")
                elif verb == b"DATA":
                    stream.write(b"354 go on\r\n")
                    while stream.readline() != b".\r\n":
                        pass
                    stream.write(b"250 2.0.0 taken\r\n")
                elif verb == b"QUIT":
                    stream.write(b"221 2.0.0 bye\r\n")
                    return
                else:
                    stream.write(b"250 2.0.0 ok\r\n")

    def close(self) -> None:
        self._listening.close()


class House:
    def __init__(self, server: Estafeta, next_: Next, other: Next) -> None:
        self.server = server
        self.next = next_
        self.other = other
        self.tokens = {
            "root": self._token("root", "--admin"),
            "ana": self._token("ana", "--account", ANA),
            "eva": self._token("eva", "--account", EVA),
        }

    def _token(self, *words: str) -> str:
        return self.server.command("token", "add", *words).strip()

    def submit(self, sender: str, *recipients: str) -> str:
        """Returns its queue id."""
        with smtplib.SMTP(LOOPBACK, self.server.ports["submission"]) as client:
            client.login(sender, PASSWORD)
            text = f"From: {sender}\r\nSubject: x\r\n\r\nhello\r\n"
            client.mail(sender)
            for each in recipients:
                assert client.rcpt(each)[0] == 250
            _, said = client.data(text)
        return said.decode().split()[-1]

    def command(self, *words: str) -> Any:
        return json.loads(self.server.command(*words, "--json"))

    def ask(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """(status, JSON)."""
        headers = {"Authorization": f"Bearer {self.tokens.get(who, who)}"} | headers
        asking = HTTPConnection(LOOPBACK, self.server.ports["http"], timeout=30)
        with contextlib.closing(asking):
            asking.request(
                method,
                f"/api/v1{path}",
                None if body is None else json.dumps(body),
                headers,
            )
            answer = asking.getresponse()
            data = answer.read()
            return answer.status, json.loads(data) if data else None

    def waits(self, *recipients: str) -> None:
        """Each has been tried once."""

        def look() -> bool:
            rows = self.command("queue", "list")
            tried = [r["recipient"] for r in rows if r["attempts"] and r["state"] == "waiting"]
            return sorted(tried) == sorted(recipients)

        wait_for(f"{recipients} in the queue", look, log=self.server.log)

    def arrives(self, at: Next, *recipients: str) -> float:
        """Seconds until they did."""
        begun = time.monotonic()
        wait_for("arrival", lambda: sorted(at.taken) == sorted(recipients), log=self.server.log)
        return time.monotonic() - begun


@pytest.fixture(params=[1, 2], ids=["one-worker", "two-workers"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """The next servers are busy. After all that was done the books balance."""
    next_, other = Next(), Next()
    server = Estafeta(
        tmp_path / "e",
        accounts=[ANA, EVA],
        routes=dict.fromkeys(("b.example", "c.example"), (LOOPBACK, next_.port)),
        settings={
            "server": [f"workers = {request.param}"],
            "smtp": ['plaintext_auth_networks = ["127.0.0.0/8"]'],
        },
    )
    with server:
        yield (made := House(server, next_, other))
        server.command("audit", "--full")
        for token in made.tokens.values():
            assert token not in server.log()
    next_.close()
    other.close()


def test_senders_and_operators(house: House) -> None:
    id = house.submit(ANA, BOB, CARL)
    other = house.submit(EVA, BOB)
    house.waits(BOB, CARL, BOB)
    # Whose messages.
    status, page = house.ask("ana", "GET", "/queue")
    assert (status, [row["recipient"] for row in page["rows"]]) == (200, [BOB, CARL])
    assert house.ask("ana", "GET", f"/queue/{other}")[0] == 404
    assert house.ask("ana", "POST", f"/queue/{other}/cancel", {})[0] == 404
    assert house.ask("ana", "GET", "/suspended")[0] == 403
    assert house.ask("nobody", "GET", "/queue")[0] == 401
    assert len(house.ask("root", "GET", "/queue")[1]["rows"]) == 3
    # Another address, and the rest not any more.
    house.next.busy = False
    body = {"corrections": [{"was": BOB, "to": BILL}]}
    status, done = house.ask("ana", "POST", f"/queue/{id}/correct", body)
    assert status == 200
    assert house.arrives(house.next, BILL) < NOTICED_SECONDS
    assert house.ask("ana", "POST", f"/queue/{id}/cancel", {"reason": "enough"})[0] == 200
    assert house.ask("ana", "POST", f"/queue/{id}/cancel")[0] == 409
    # The API tells the same as the command.
    for language in ("es", "en"):
        told = house.command("trace", id, "--lang", language)
        said = house.ask("ana", "GET", f"/messages/{id}", **{"Accept-Language": language})
        assert said == (200, told)
    assert {way["fate"] for way in told[0]["recipients"]} == {"cancelled"}
    assert done["child"] in [journey["queue_id"] for journey in told]
    assert house.ask("eva", "GET", f"/messages/{id}")[0] == 404
    # By the command, and every worker hears of it.
    house.command("queue", "retry", other)
    assert house.arrives(house.next, BILL, BOB) < NOTICED_SECONDS
    (used,) = {t["last_used"] for t in house.command("token", "list")}
    assert used == time.strftime("%Y-%m-%d", time.gmtime())
    house.server.command("token", "remove", "eva")
    assert house.ask("eva", "GET", "/queue")[0] == 401
    assert "estafeta_api_requests_total" in house.server.page("metrics")[1]


def test_suspended_and_drained(house: House) -> None:
    house.submit(ANA, BOB)
    house.waits(BOB)
    house.next.busy = False
    assert house.ask("root", "PUT", "/suspended/b.example", {"reason": "they asked"})[0] == 204
    time.sleep(1)  # every worker knows by then
    for _ in range(4):  # whichever worker takes it
        house.submit(ANA, BILL)
    house.command("queue", "retry", "--all")
    time.sleep(1)
    assert house.next.taken == []
    (suspended,) = house.command("queue", "suspended")
    assert (suspended["reason"], suspended["who"]) == ("they asked", "token root")
    assert {row["state"] for row in house.command("queue", "list")} == {"suspended"}
    # Elsewhere, once it is resumed.
    house.other.busy = False
    house.server.command("queue", "drain", "b.example", "--to", f"127.0.0.1:{house.other.port}")
    house.server.command("queue", "resume", "b.example")
    house.arrives(house.other, BOB, *[BILL] * 4)
    assert house.ask("root", "DELETE", "/drained/b.example")[0] == 204
    time.sleep(1)
    house.submit(ANA, BOB)
    house.arrives(house.next, BOB)


def test_held_by_everybody_and_released(house: House) -> None:
    id = house.submit(ANA, BOB, CARL)
    house.waits(BOB, CARL)
    house.next.busy = False
    assert house.ask("ana", "POST", "/queue/hold", {"all": True, "reason": "wait"})[0] == 200
    house.command("queue", "retry", "--all")
    time.sleep(1)
    assert house.next.taken == []
    (held, _) = house.command("queue", "show", id)
    assert (held["state"], held["reason"]) == ("held", "wait")
    house.server.command("queue", "release", id)
    assert house.arrives(house.next, BOB, CARL) < NOTICED_SECONDS
