"""Clients hand us messages; what lies in the mailbox afterwards is what they sent."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable

import pytest
from tests.peers.conftest import DOMAIN
from tests.support.live import PASSWORD, Estafeta
from tests.support.peers.clients import Account, Clients, Failed
from tests.support.peers.compare import (
    SUBMISSION_ADDS,
    SUBMISSION_REMOVES,
    assert_same,
    fields,
    name_of,
)
from tests.support.peers.letters import letter

LUIS = f"luis@{DOMAIN}"

Send = Callable[[Clients, Account, Estafeta, bytes], object]


def _smtplib_starttls(_: Clients, account: Account, server: Estafeta, message: bytes) -> None:
    with smtplib.SMTP("localhost", server.ports["submission"], timeout=10) as client:
        client.starttls(context=ssl.create_default_context(cafile=str(account.ca)))
        client.login(account.user, account.password)
        assert client.sendmail(account.user, [LUIS], message, ["BODY=8BITMIME"]) == {}


def _smtplib_implicit(_: Clients, account: Account, server: Estafeta, message: bytes) -> None:
    context = ssl.create_default_context(cafile=str(account.ca))
    port = server.ports["submissions"]
    with smtplib.SMTP_SSL("localhost", port, context=context, timeout=10) as client:
        client.login(account.user, account.password)
        assert client.sendmail(account.user, [LUIS], message, ["BODY=8BITMIME"]) == {}


def _curl(scheme: str, listener: str) -> Send:
    def send(clients: Clients, account: Account, server: Estafeta, message: bytes) -> None:
        url = f"{scheme}://localhost:{server.ports[listener]}"
        clients.curl_send(account, url, account.user, [LUIS], message)

    return send


def _swaks(tls: str, auth: str, listener: str) -> Send:
    def send(clients: Clients, account: Account, server: Estafeta, message: bytes) -> None:
        port = server.ports[listener]
        clients.swaks(account, port, account.user, [LUIS], message, tls=tls, auth=auth)

    return send


def _msmtp(starttls: bool, auth: str, listener: str) -> Send:
    def send(clients: Clients, account: Account, server: Estafeta, message: bytes) -> None:
        port = server.ports[listener]
        clients.msmtp(account, port, account.user, [LUIS], message, starttls=starttls, auth=auth)

    return send


WAYS: dict[str, Send] = {
    "smtplib-starttls": _smtplib_starttls,
    "smtplib-implicit": _smtplib_implicit,
    "curl-starttls": _curl("smtp", "submission"),
    "curl-implicit": _curl("smtps", "submissions"),
    "swaks-starttls-plain": _swaks("starttls", "PLAIN", "submission"),
    "swaks-implicit-login": _swaks("implicit", "LOGIN", "submissions"),
    "msmtp-starttls-plain": _msmtp(True, "plain", "submission"),
    "msmtp-implicit-scram": _msmtp(False, "scram-sha-256", "submissions"),
}


@pytest.mark.parametrize("way", WAYS)
def test_arrives_as_it_was_sent(
    way: str, clients: Clients, ana: Account, estafeta_server: Estafeta
) -> None:
    sent = letter(ana.user, LUIS, way, size=20_000)
    WAYS[way](clients, ana, estafeta_server, sent)
    [stored] = estafeta_server.marked(LUIS, way)
    assert_same(sent, stored)


def test_submission_completes_and_strips_only_what_the_list_says(
    clients: Clients, ana: Account, estafeta_server: Estafeta
) -> None:
    sent = letter(ana.user, LUIS, "bcc", drop="Date")
    sent = sent.replace(b"X-First: 1\r\n", b"X-First: 1\r\nBcc: eva@secreto.example\r\n")
    _curl("smtps", "submissions")(clients, ana, estafeta_server, sent)
    [stored] = estafeta_server.marked(LUIS, "bcc")
    assert_same(sent, stored, may_add=SUBMISSION_ADDS, may_remove=SUBMISSION_REMOVES)
    names = [name_of(field) for field in fields(stored)]
    assert "bcc" not in names
    assert names.count("date") == 1
    assert b"secreto" not in stored


def test_a_wrong_password_sends_nothing(
    clients: Clients, ana: Account, estafeta_server: Estafeta
) -> None:
    wrong = Account(ana.host, ana.user, PASSWORD + "!", ana.ca)
    port = estafeta_server.ports["submission"]
    with pytest.raises(Failed, match=r"535[ -]5\.7\.8"):
        clients.swaks(wrong, port, ana.user, [LUIS], letter(ana.user, LUIS, "wrong"))
