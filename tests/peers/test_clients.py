"""The clients' wrappers, tried on Postfix and Dovecot: so that what they report of us is ours."""

from __future__ import annotations

import imaplib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.peers.authority import Authority
from tests.support.peers.clients import MUTT_ADDS, Account, Clients, Failed
from tests.support.peers.compare import assert_same
from tests.support.peers.dovecot import PASSWORD, Dovecot
from tests.support.peers.letters import letter
from tests.support.peers.postfix import Postfix

FROM = "ana@a.example"
TO = "luis@b.example"
MESSAGE = letter(FROM, TO, "stand")


@pytest.fixture
def account(authority: Authority) -> Account:
    return Account("localhost", "luis", PASSWORD, authority.ca)


@pytest.fixture
def postfix(peer_folder: Path, authority: Authority) -> Iterator[Postfix]:
    certificate = authority.issue("localhost")
    with Postfix(peer_folder / "p", domains=["b.example"], certificate=certificate) as running:
        yield running


@pytest.fixture
def dovecot(peer_folder: Path, authority: Authority) -> Iterator[Dovecot]:
    with Dovecot(peer_folder / "d", certificate=authority.issue("localhost")) as running:
        running.deliver(FROM, [TO], MESSAGE)
        yield running


def test_swaks_and_curl_send(clients: Clients, account: Account, postfix: Postfix) -> None:
    said = clients.swaks(account, postfix.port, FROM, [TO], MESSAGE, auth=None)
    assert b"TLS started" in said
    clients.curl_send(account, f"smtp://localhost:{postfix.port}", FROM, [TO], MESSAGE)
    for stored in postfix.wait_messages(TO, 2):
        assert_same(MESSAGE, stored)


def test_msmtp_tells_a_server_without_auth(
    clients: Clients, account: Account, postfix: Postfix
) -> None:
    with pytest.raises(Failed, match="does not support authentication"):
        clients.msmtp(account, postfix.port, FROM, [TO], MESSAGE)


def test_a_certificate_of_another_authority_is_refused(
    clients: Clients, account: Account, postfix: Postfix, peer_folder: Path
) -> None:
    stranger = Account("localhost", "luis", PASSWORD, Authority(peer_folder / "other").ca)
    with pytest.raises(Failed):
        clients.msmtp(stranger, postfix.port, FROM, [TO], MESSAGE)
    with pytest.raises(Failed):
        clients.swaks(stranger, postfix.port, FROM, [TO], MESSAGE, auth=None)
    with pytest.raises(Failed):
        clients.curl_send(stranger, f"smtp://localhost:{postfix.port}", FROM, [TO], MESSAGE)


def test_readers(clients: Clients, account: Account, dovecot: Dovecot) -> None:
    url = f"imaps://localhost:{dovecot.imaps_port}/INBOX;MAILINDEX=1"
    assert_same(MESSAGE, clients.curl(account, url))
    assert_same(MESSAGE, clients.curl(account, f"pop3s://localhost:{dovecot.pop3s_port}/1"))
    boxes = clients.mbsync(account, dovecot.imaps_port)
    [stored] = [path.read_bytes() for path in (boxes / "INBOX").glob("[nc][eu][wr]/*")]
    assert_same(MESSAGE, stored, may_add=["x-tuid"])
    [fetched] = clients.fetchmail(account, dovecot.pop3s_port, protocol="POP3", keep=True)
    assert_same(MESSAGE, fetched)
    [fetched] = clients.fetchmail(account, dovecot.imaps_port)
    assert_same(MESSAGE, fetched)
    with imaplib.IMAP4(dovecot.host, dovecot.imap_port) as reader:
        reader.login("luis", PASSWORD)
        assert reader.select("INBOX") == ("OK", [b"0"])


def test_mutt(clients: Clients, account: Account, dovecot: Dovecot) -> None:
    copy = clients.home / "copy"
    keys = f"<copy-message>{copy}<enter><flag-message><save-message>=Archivo<enter><quit>"
    clients.mutt(account, dovecot.imaps_port, keys)
    [stored] = [path.read_bytes() for path in copy.glob("[nc][eu][wr]/*")]
    assert_same(letter(FROM, TO, "stand"), stored, may_add=MUTT_ADDS)
    with imaplib.IMAP4(dovecot.host, dovecot.imap_port) as reader:
        reader.login("luis", PASSWORD)
        assert reader.select("INBOX") == ("OK", [b"0"])
        assert reader.select("Archivo") == ("OK", [b"1"])
        assert reader.search(None, "FLAGGED")[1] == [b"1"]
