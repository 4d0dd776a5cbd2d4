"""Let it in: two workers, one message; everybody else stays out, and the journal says who tried."""

from __future__ import annotations

import json
import smtplib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.live import Estafeta
from tests.support.peers.process import LOOPBACK

ANA, LUIS = "ana@correo.example", "luis@correo.example"
MARIA = "maria@fuera.example"
AT_ONCE = 6
MOVIE = (
    b"From: maria@fuera.example\r\nTo: ana@correo.example\r\nSubject: Playa\r\n"
    b"MIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain\r\n\r\nmira\r\n"
    b'--b\r\nContent-Type: video/quicktime; name="playa.mov"\r\n'
    b'Content-Disposition: attachment; filename="playa.mov"\r\n\r\nx\r\n--b--\r\n'
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Estafeta]:
    made = Estafeta(
        tmp_path / "e",
        accounts=[ANA, LUIS],
        settings={"server": ["workers = 2", 'language = "es"']},
    )
    with made:
        made.command("policy", "set", "blocked_types=.mov", "let_in=type")
        time.sleep(1.5)  # it counts in every process after a second
        yield made
        made.command("audit", "--full")


class Sender:
    """One connection, with a whole message but for its final dot."""

    def __init__(self, server: Estafeta, sender: str, to: str) -> None:
        self._client = smtplib.SMTP(LOOPBACK, server.ports["mx"], timeout=30)
        self._client.ehlo("mx.fuera.example")
        assert self._client.mail(sender)[0] == 250
        assert self._client.rcpt(to)[0] == 250
        assert self._client.docmd("DATA")[0] == 354
        self._client.send(MOVIE)

    def end(self) -> str:
        self._client.send(b".\r\n")
        code, text = self._client.getreply()
        self._client.close()
        return f"{code} {text.decode()}"


def tried(server: Estafeta, account: str, times: int) -> list[dict[str, Any]]:
    """The rows of a journal, once so many attempts are in it."""
    deadline = time.monotonic() + 15
    while True:
        rows: list[dict[str, Any]] = json.loads(
            server.command("tried", "list", account, "--json", "--lang", "es")
        )
        if sum(row["times"] for row in rows) >= times or time.monotonic() > deadline:
            return rows


def test_one_comes_in_and_nobody_else(server: Estafeta) -> None:
    refused = Sender(server, MARIA, ANA).end()
    assert refused.startswith("554 5.7.1")
    assert "playa.mov" in refused
    (row,) = tried(server, ANA, 1)
    assert row["words"][0] == (
        "Alguien que dice ser maria@fuera.example, desde un servidor sin nombre confirmado (red "
        "127.0.0.0/24), no pudo entrar por el adjunto playa.mov, de un tipo que aquí no se admite."
    )
    assert row["subject"] == "Playa"
    server.command("tried", "let-in", ANA, row["row"])
    # Another sender, and the same one to another account.
    assert Sender(server, "luisa@fuera.example", ANA).end().startswith("554 5.7.1")
    assert Sender(server, MARIA, LUIS).end().startswith("554 5.7.1")
    # The same message several times at the same instant.
    senders = [Sender(server, MARIA, ANA) for _ in range(AT_ONCE)]
    together = threading.Barrier(AT_ONCE)
    said: list[str] = []

    def end(sender: Sender) -> None:
        together.wait()
        said.append(sender.end())

    threads = [threading.Thread(target=end, args=(sender,)) for sender in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(reply[:3] for reply in said) == ["250", *["554"] * (AT_ONCE - 1)]
    # And once more.
    assert Sender(server, MARIA, ANA).end().startswith("554 5.7.1")
    found = tried(server, ANA, AT_ONCE + 2)
    # Who was too late in the unit itself is noted like the others.
    assert sum(row["times"] for row in found) == AT_ONCE + 2
    rows = {row["sender"]: row for row in found}
    assert rows[MARIA]["admission"]["used_by"]
    assert rows["luisa@fuera.example"]["admission"] is None
    (of_luis,) = tried(server, LUIS, 1)
    assert of_luis["named"] == LUIS
    assert ANA not in json.dumps(of_luis)
