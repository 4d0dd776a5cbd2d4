"""A report about a message that really went out: matched by the name that it went out with."""

from __future__ import annotations

import json
import smtplib
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.explain.reading.letters import report
from tests.support.live import PASSWORD, Estafeta
from tests.support.peers.process import LOOPBACK, wait_for

ANA, EVA, BOB = "ana@home.example", "eva@home.example", "bob@away.example"


class Away(threading.Thread):
    """A server elsewhere that offers DSN, takes one message and keeps what it was told."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._socket = socket.create_server((LOOPBACK, 0))
        self.port: int = self._socket.getsockname()[1]
        self.heard: list[str] = []

    def run(self) -> None:
        with self._socket, self._socket.accept()[0] as client, client.makefile("rwb") as talk:

            def say(line: str) -> None:
                talk.write(line.encode() + b"\r\n")
                talk.flush()

            say("220 mx.away.example ESMTP")
            for octets in talk:
                line = octets.decode().rstrip("\r\n")
                self.heard.append(line)
                verb = line[:4].upper()
                if verb == "EHLO":
                    say("250-mx.away.example\r\n250 DSN")
                elif verb == "DATA":
                    say("354 go on")
                    while talk.readline() not in (b".\r\n", b""):
                        pass
                    say("250 2.0.0 taken")
                elif verb == "QUIT":
                    say("221 bye")
                    return
                else:
                    say("250 2.1.0 ok")

    @property
    def envid(self) -> str:
        words = " ".join(self.heard).split()
        return next(word.partition("=")[2] for word in words if word.startswith("ENVID="))


def arrives(house: Estafeta, message: bytes, to: str = ANA) -> float:
    """Hands a report in; the seconds until its 250."""
    began = time.monotonic()
    with smtplib.SMTP(LOOPBACK, house.ports["mx"], timeout=60) as client:
        client.sendmail("", [to], message)
    return time.monotonic() - began


def bounce(envid: str) -> bytes:
    status = (
        f"Reporting-MTA: dns; mx.away.example\nOriginal-Envelope-Id: {envid}\n\n"
        f"Final-Recipient: rfc822; {BOB}\nAction: failed\nStatus: 5.2.2\n"
        "Diagnostic-Code: smtp; 552 5.2.2 over quota\n"
    )
    return report(("text/plain", "Failed.\n"), ("message/delivery-status", status))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bounce_that_comes_later(workers: int, tmp_path: Path) -> None:
    away = Away()
    away.start()
    house = Estafeta(
        tmp_path / "e",
        accounts=[ANA, EVA],
        routes={"away.example": (LOOPBACK, away.port)},
        settings={
            "server": [f"workers = {workers}"],
            "smtp": ['plaintext_auth_networks = ["127.0.0.0/8"]'],
        },
    )
    with house:
        with smtplib.SMTP(LOOPBACK, house.ports["submission"], timeout=60) as client:
            client.login(ANA, PASSWORD)
            client.sendmail(ANA, [BOB], f"From: {ANA}\nTo: {BOB}\nSubject: hello\n\nhello\n")

        def way() -> dict[str, Any]:
            (journey,) = json.loads(house.command("trace", "--json", "--lang", "en", BOB))
            (found,) = journey["recipients"]
            return dict(found)

        wait_for("the message to have gone", lambda: way()["fate"] == "relayed", log=house.log)
        arrives(house, bounce(away.envid))
        told = way()
        assert told["fate"] == "relayed"
        assert "shows our signed name of this message says: not delivered." in told["claims"][0]
        assert told["claims"][1].endswith("552 5.2.2 over quota")
        spanish = house.command("trace", "--lang", "es", BOB)
        assert "» " in spanish
        assert "que muestra nuestro nombre firmado de este mensaje dice: no entregado." in spanish
        assert 'estafeta_claims_total{kind="bounce",proven="yes"} 1.0' in house.page("metrics")[1]
        # what cannot be understood is mail too, and keeps nobody waiting
        for hostile in (b"(" * 90_000, b"{" * 90_000, b"<a@b.example>:\r\n" * 60_000):
            head = b"From: MAILER-DAEMON\r\nSubject: failure notice\r\n\r\n"
            worker = threading.Thread(target=arrives, args=(house, head + hostile + b"\r\n"))
            worker.start()
            assert arrives(house, b"From: x@away.example\r\n\r\nhello\r\n", EVA) < 5
            worker.join()
        assert len(house.wait_messages(house.imap(ANA), 4)) == 4
        house.command("audit", "--full")
