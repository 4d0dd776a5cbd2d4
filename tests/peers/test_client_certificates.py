"""Other people's clients log in by certificate, without a password (SASL EXTERNAL)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.live import Estafeta
from tests.support.peers.authority import Authority
from tests.support.peers.clients import Clients, Failed

from estafeta.world.certificates import Authority as People

ANA = "ana@estafeta.example"
LETTER = b"From: ana@estafeta.example\r\nTo: ana@estafeta.example\r\nSubject: %b\r\n\r\nhello\r\n"


@dataclass
class Town:
    server: Estafeta
    ca: Path
    people: People
    folder: Path

    def identity(self, name: str) -> tuple[Path, Path]:
        return self.people.issue([name], self.folder / "people")


@pytest.fixture(scope="module")
def town(session_folder: Path, authority: Authority) -> Iterator[Town]:
    folder = session_folder / "certified"
    people = People("people", time.time())
    people.write(folder / "people.pem")
    server = Estafeta(
        folder / "e",
        accounts=[ANA],
        certificate=authority.issue("localhost"),
        ca=authority.ca,
        settings={"tls": [f'client_authorities = "{folder / "people.pem"}"']},
    )
    with server:
        yield Town(server, authority.ca, people, folder)


def curl(clients: Clients, town: Town, url: str, user: str, *more: str | Path) -> bytes:
    chain, key = town.identity(user)
    return clients.run(
        "curl",
        *("--silent", "--show-error", "--ssl-reqd", "--cacert", town.ca),
        *("--cert", chain, "--key", key, "--login-options", "AUTH=EXTERNAL"),
        *("--user", f"{user}:", url, *more),
        data=LETTER % b"by curl",
    )


def test_curl_reads_imap(clients: Clients, town: Town) -> None:
    listed = curl(clients, town, f"imaps://localhost:{town.server.ports['imaps']}/", ANA)
    assert b"INBOX" in listed


def test_curl_reads_imap_behind_starttls(clients: Clients, town: Town) -> None:
    assert b"INBOX" in curl(clients, town, f"imap://localhost:{town.server.ports['imap']}/", ANA)


def test_curl_reads_pop3(clients: Clients, town: Town) -> None:
    curl(clients, town, f"pop3s://localhost:{town.server.ports['pop3s']}/", ANA)
    assert '"method":"EXTERNAL"' in town.server.log()


@pytest.mark.parametrize("port", ["submission", "submissions"])
def test_curl_sends(clients: Clients, town: Town, port: str) -> None:
    scheme = "smtps" if port == "submissions" else "smtp"
    url = f"{scheme}://localhost:{town.server.ports[port]}"
    curl(
        *(clients, town, url, ANA, "--mail-from", ANA),
        *("--mail-rcpt", ANA, "--upload-file", "-"),
    )


def test_who_has_no_account_is_refused(clients: Clients, town: Town) -> None:
    url = f"imaps://localhost:{town.server.ports['imaps']}/"
    with pytest.raises(Failed):
        curl(clients, town, url, "nobody@estafeta.example")
    assert '"reason":"no such account"' in town.server.log()


def test_msmtp_sends(clients: Clients, town: Town) -> None:
    chain, key = town.identity(ANA)
    clients.run(
        "msmtp",
        *("--host=localhost", f"--port={town.server.ports['submission']}", "--file=/dev/null"),
        *("--tls=on", f"--tls-trust-file={town.ca}", f"--tls-cert-file={chain}"),
        *(f"--tls-key-file={key}", "--auth=external", f"--user={ANA}"),
        *(f"--from={ANA}", "--domain=msmtp.example", "--", ANA),
        data=(LETTER % b"by msmtp").replace(b"\r\n", b"\n"),
    )
    assert f'"account":"{ANA}"' in town.server.log()


def test_msmtp_finds_its_way_among_what_is_offered(clients: Clients, town: Town) -> None:
    """It does not know -PLUS, which stands before what it does."""
    secret = clients.home / "secret"
    secret.write_text("correct horse\n")
    clients.run(
        "msmtp",
        *("--host=localhost", f"--port={town.server.ports['submission']}", "--file=/dev/null"),
        *("--tls=on", f"--tls-trust-file={town.ca}", "--auth=on", f"--user={ANA}"),
        *(f"--passwordeval=cat {secret}", f"--from={ANA}", "--domain=msmtp.example", "--", ANA),
        data=(LETTER % b"by msmtp").replace(b"\r\n", b"\n"),
    )
