"""HAProxy in front of us: the client's address comes through in both versions of its protocol."""

from __future__ import annotations

import imaplib
import poplib
import smtplib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest
from tests.support.live import PASSWORD, Estafeta
from tests.support.peers.authority import Authority
from tests.support.peers.process import LOOPBACK, Running, accepts, free_port, wait_for
from tests.support.require import required

CLIENT = "127.0.0.9"
"""Whom the header must name; HAProxy itself connects from 127.0.0.1."""

ANA = "ana@estafeta.example"
HOW = {
    "v1": "send-proxy",
    "v2": "send-proxy-v2",
    "v2-fields": "send-proxy-v2 proxy-v2-options crc32c,authority check check-send-proxy inter 200",
}
DOORS = (("mx", "none"), ("submission", "implicit"), ("imap", "implicit"), ("pop3", "implicit"))


@dataclass
class Front:
    server: Estafeta
    behind: dict[str, int]
    ports: dict[tuple[str, str], int]
    tls: ssl.SSLContext


@pytest.fixture(scope="module")
def front(session_folder: Path, authority: Authority) -> Iterator[Front]:
    peers = required("haproxy")
    program = peers.program("haproxy")
    folder = session_folder / "haproxy"
    server = Estafeta(
        folder / "e", accounts=[ANA], certificate=authority.issue("localhost"), ca=authority.ca
    )
    behind = {role: free_port() for role, _ in DOORS}
    ports = {(role, how): free_port() for role, _ in DOORS for how in HOW}
    with server.config.open("a") as file:
        for role, tls in DOORS:
            file.write(
                f'[[listener]]\nrole = "{role}"\naddress = "{LOOPBACK}"\nport = {behind[role]}\n'
                f'tls = "{tls}"\nproxy_networks = ["127.0.0.1/32"]\n'
            )
    lines = ["defaults", " mode tcp", " timeout connect 5s", " timeout client 20s"]
    lines += [" timeout server 20s"]
    for (role, how), port in ports.items():
        lines += [f"listen {role}-{how}", f" bind {LOOPBACK}:{port}"]
        lines += [f" server estafeta {LOOPBACK}:{behind[role]} {HOW[how]}"]
    (folder / "haproxy.cfg").write_text("\n".join(lines) + "\n")
    with server:
        proxy = Running(
            [program, "-db", "-f", folder / "haproxy.cfg"],
            folder / "haproxy.log",
            peers.environment(folder),
        )
        try:
            for port in ports.values():
                proxy.wait_until("it listens", lambda port=port: accepts(LOOPBACK, port))
            context = ssl.create_default_context(cafile=str(authority.ca))
            yield Front(server, behind, ports, context)
        finally:
            proxy.stop()
        server.command("audit", "--full")


@pytest.mark.parametrize("how", HOW)
def test_received_names_the_client_behind_it(front: Front, how: str) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "bob@far.example", ANA, how
    message["Message-ID"] = f"<{how}@far.example>"
    message.set_content("hello")
    port = front.ports["mx", how]
    with smtplib.SMTP(
        LOOPBACK, port, "client.example", timeout=10, source_address=(CLIENT, 0)
    ) as smtp:
        smtp.send_message(message)
    (kept,) = front.server.marked(ANA, how)
    assert f"([{CLIENT}])".encode() in kept
    assert b"127.0.0.1" not in kept


@pytest.mark.parametrize("how", HOW)
def test_tls_passes_through_it(front: Front, how: str) -> None:
    """From the first octet, behind the header."""
    port = front.ports["submission", how]
    with smtplib.SMTP_SSL(
        "localhost", port, timeout=10, context=front.tls, source_address=(CLIENT, 0)
    ) as smtp:
        assert smtp.login(ANA, PASSWORD)[0] == 235
    begun = len(front.server.log())
    imap = imaplib.IMAP4_SSL("localhost", front.ports["imap", how], ssl_context=front.tls)
    imap.login(ANA, PASSWORD)
    imap.logout()
    pop3 = poplib.POP3_SSL("localhost", front.ports["pop3", how], timeout=10, context=front.tls)
    pop3.user(ANA)
    pop3.pass_(PASSWORD)
    mine = pop3.sock.getsockname()
    pop3.quit()
    log = wait_for("pop3's login", lambda: _behind(front.server.log()[begun:], mine[1]))
    assert f'"peer":"127.0.0.1:{mine[1]}"' in log


def _behind(log: str, port: int) -> str:
    """The line of the login from that port, which only HAProxy knows of."""
    found = [line for line in log.splitlines() if f":{port}" in line and '"login"' in line]
    return found[0] if found else ""


@pytest.mark.parametrize(("role", "tls"), DOORS)
def test_who_comes_round_it_is_cut(front: Front, role: str, tls: str) -> None:
    with socket.create_connection((LOOPBACK, front.behind[role]), timeout=15) as client:
        client.sendall(b"EHLO client.example\r\n")
        with pytest.raises(ConnectionError):
            client.recv(1)
    wait_for("the log", lambda: "no PROXY header" in front.server.log())


def test_who_is_no_proxy_speaks_as_ever(front: Front) -> None:
    """From another address the same port expects no header."""
    with smtplib.SMTP(
        LOOPBACK, front.behind["mx"], timeout=10, source_address=(CLIENT, 0)
    ) as client:
        assert client.docmd("PROXY TCP4 1.2.3.4 1.2.3.4 1 2")[0] == 500
        assert client.ehlo()[0] == 250


def test_its_health_checks_are_no_trouble(front: Front) -> None:
    """They come all the time, by a header of their own, and say nothing else."""
    assert "ended before the header" not in front.server.log()
