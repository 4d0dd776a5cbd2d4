"""Clients read from us: what they store is what was sent, and what they change stays changed."""

from __future__ import annotations

import poplib
import smtplib
import ssl
from pathlib import Path

import pytest
from tests.peers.conftest import DOMAIN
from tests.support.live import PASSWORD, Estafeta
from tests.support.peers.authority import Authority
from tests.support.peers.clients import MUTT_ADDS, Account, Clients
from tests.support.peers.compare import assert_same
from tests.support.peers.letters import letter

from estafeta.office.docs_bounce import example_bounce

EVA = f"eva@{DOMAIN}"
NOA = f"noa@{DOMAIN}"
AWAY = "ana@away.example"


def deliver(server: Estafeta, recipient: str, *marks: str) -> list[bytes]:
    """Puts one letter per mark into a mailbox, through port 25; gives what was sent."""
    sent = [letter(AWAY, recipient, mark) for mark in marks]
    with smtplib.SMTP(server.host, server.ports["mx"], timeout=10) as client:
        for message in sent:
            assert client.sendmail(AWAY, [recipient], message) == {}
    return sent


@pytest.fixture
def eva(authority: Authority, estafeta_server: Estafeta) -> Account:
    """Reads IMAP; her INBOX is empty at the start of every test."""
    empty(estafeta_server, EVA)
    return Account("localhost", EVA, PASSWORD, authority.ca)


@pytest.fixture
def noa(authority: Authority, estafeta_server: Estafeta) -> Account:
    """Reads POP3; her INBOX is empty at the start of every test."""
    empty(estafeta_server, NOA)
    return Account("localhost", NOA, PASSWORD, authority.ca)


def empty(server: Estafeta, address: str) -> None:
    client = server.imap(address)
    if client.select("INBOX")[1] != [b"0"]:
        client.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
        client.expunge()
    client.logout()


def test_imaplib(eva: Account, estafeta_server: Estafeta) -> None:
    sent = deliver(estafeta_server, EVA, "imap-1", "imap-2")
    client = estafeta_server.imap(EVA)
    for message, stored in zip(sent, estafeta_server.wait_messages(client, len(sent)), strict=True):
        assert_same(message, stored)
    assert client.store("1", "+FLAGS", r"(\Flagged)")[0] == "OK"
    client.create("Archivo")
    assert client.copy("1", "Archivo")[0] == "OK"
    assert client.append("Archivo", r"(\Seen)", "", sent[1])[0] == "OK"  # type: ignore[arg-type]
    assert client.select("Archivo") == ("OK", [b"2"])
    _, flags = client.fetch("1:2", "(FLAGS)")
    assert rb"\Flagged" in flags[0]
    assert rb"\Seen" in flags[1]
    _, appended = client.fetch("2", "(BODY.PEEK[])")
    assert appended[0][1] == sent[1]
    client.select("INBOX")
    client.delete("Archivo")
    client.logout()


def test_poplib(noa: Account, estafeta_server: Estafeta) -> None:
    sent = deliver(estafeta_server, NOA, "pop-1", "pop-2")
    context = ssl.create_default_context(cafile=str(noa.ca))
    client = poplib.POP3("localhost", estafeta_server.ports["pop3"], timeout=10)
    client.stls(context=context)
    client.user(NOA)
    client.pass_(PASSWORD)
    assert client.stat()[0] == 2
    for number, message in enumerate(sent, 1):
        assert_same(message, b"\r\n".join(client.retr(number)[1]) + b"\r\n")
    client.dele(1)
    client.quit()
    again = poplib.POP3_SSL(
        "localhost", estafeta_server.ports["pop3s"], context=context, timeout=10
    )
    again.user(NOA)
    again.pass_(PASSWORD)
    assert again.stat()[0] == 1
    again.quit()


def test_curl(clients: Clients, eva: Account, estafeta_server: Estafeta) -> None:
    [sent] = deliver(estafeta_server, EVA, "curl")
    ports = estafeta_server.ports
    for scheme, listener in (("imap", "imap"), ("imaps", "imaps")):
        url = f"{scheme}://localhost:{ports[listener]}/INBOX;MAILINDEX=1"
        assert_same(sent, clients.curl(eva, url))
    for scheme, listener in (("pop3", "pop3"), ("pop3s", "pop3s")):
        assert_same(sent, clients.curl(eva, f"{scheme}://localhost:{ports[listener]}/1"))


@pytest.mark.parametrize("tls", ["IMAPS", "STARTTLS"])
def test_mbsync_both_ways(
    tls: str, clients: Clients, eva: Account, estafeta_server: Estafeta
) -> None:
    port = estafeta_server.ports["imaps" if tls == "IMAPS" else "imap"]
    sent = deliver(estafeta_server, EVA, "mbsync-1", "mbsync-2")
    boxes = clients.mbsync(eva, port, tls=tls)
    near = sorted(maildir(boxes / "INBOX"), key=mark_of)
    for message, path in zip(sent, near, strict=True):
        assert_same(message, path.read_bytes(), may_add=["x-tuid"])
    # what is done near is done far: one read and flagged, one new
    first = near[0]
    first.rename(boxes / "INBOX/cur" / (first.name.partition(":")[0] + ":2,FS"))
    fresh = letter(EVA, EVA, "mbsync-3")
    (boxes / "INBOX/new/1.2.near").write_bytes(fresh.replace(b"\r\n", b"\n"))
    clients.mbsync(eva, port, tls=tls)
    client = estafeta_server.imap(EVA)
    texts = estafeta_server.wait_messages(client, 3)
    assert_same(fresh, texts[-1], may_add=["x-tuid"])
    assert client.search(None, "FLAGGED", "SEEN")[1][0].split() == [b"1"]
    client.logout()


def mark_of(path: Path) -> bytes:
    return path.read_bytes().partition(b"Message-ID: <")[2].partition(b"@")[0]


def maildir(folder: Path) -> list[Path]:
    return [*(folder / "new").iterdir(), *(folder / "cur").iterdir()]


@pytest.mark.parametrize(("protocol", "listener"), [("IMAP", "imaps"), ("POP3", "pop3s")])
def test_fetchmail_takes_everything_away(
    protocol: str, listener: str, clients: Clients, noa: Account, estafeta_server: Estafeta
) -> None:
    sent = deliver(estafeta_server, NOA, "fetch-1", "fetch-2")
    port = estafeta_server.ports[listener]
    fetched = clients.fetchmail(noa, port, protocol=protocol)
    assert len(fetched) == len(sent)
    for message, stored in zip(sent, fetched, strict=True):
        assert_same(message, stored)
    client = estafeta_server.imap(NOA)
    assert client.select("INBOX") == ("OK", [b"0"])
    client.logout()


@pytest.mark.parametrize(
    ("language", "words"),
    [("es", "Quién puede arreglarlo: usted"), ("en", "Who can put it right: you")],
)
def test_mutt_shows_what_a_bounce_says(
    clients: Clients, eva: Account, estafeta_server: Estafeta, language: str, words: str
) -> None:
    client = estafeta_server.imap(EVA)
    client.append("INBOX", "", "", example_bounce(language))  # type: ignore[arg-type]
    client.logout()
    shown = clients.home / f"shown-{language}"
    settings = ":set charset=utf-8 pipe_decode=yes<enter>"
    keys = f"{settings}<pipe-message>cat > {shown}<enter><quit>"
    clients.mutt(eva, estafeta_server.ports["imaps"], keys)
    text = " ".join(shown.read_text("utf-8").split())
    assert words in text
    assert "550 5.1.1 The email account that you tried to reach does not exist" in text
    assert text.index(words) < text.index("Reporting-MTA") < text.rindex("<minutes@laptop.example>")
    assert "<!DOCTYPE" not in text


def test_mutt_copies_flags_and_moves(
    clients: Clients, eva: Account, estafeta_server: Estafeta
) -> None:
    [sent] = deliver(estafeta_server, EVA, "mutt")
    copy = clients.home / "copy"
    keys = f"<copy-message>{copy}<enter><flag-message><save-message>=Mutt<enter><quit>"
    clients.mutt(eva, estafeta_server.ports["imaps"], keys)
    [stored] = [path.read_bytes() for path in maildir(copy)]
    assert_same(sent, stored, may_add=MUTT_ADDS)
    client = estafeta_server.imap(EVA)
    assert client.select("INBOX") == ("OK", [b"0"])
    assert client.select("Mutt") == ("OK", [b"1"])
    assert client.search(None, "FLAGGED")[1] == [b"1"]
    client.select("INBOX")
    client.delete("Mutt")
    client.logout()
