"""Logins that rest on TLS: SCRAM-SHA-256-PLUS and EXTERNAL, at SMTP, IMAP and POP3, for real."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography.x509.oid import ExtendedKeyUsageOID
from scramp import ScramException
from tests.support.live import PASSWORD, Estafeta
from tests.support.peers.process import wait_for
from tests.support.tls_login import PROTOCOLS, Talk, client_context, succeeded

from estafeta.world.certificates import Authority

ANA, LUIS, EVA = "ana@estafeta.example", "luis@estafeta.example", "eva@estafeta.example"
SECOND = "mail.estafeta.example"
IMPLICIT = {"submission": "submissions", "imap": "imaps", "pop3": "pop3s"}


@dataclass
class Town:
    """A server with two certificates, its authority, and that of its people."""

    server: Estafeta
    ca: Path
    people: Authority
    folder: Path

    def talk(self, protocol: str, context: ssl.SSLContext, **how: object) -> Talk:
        port = self.server.ports[IMPLICIT[protocol] if how.get("implicit") else protocol]
        return Talk(protocol, port, context, **how)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("logins")
    servers = trustme.CA()
    ca = folder / "ca.pem"
    servers.cert_pem.write_to_path(str(ca))
    pems = []
    for name in ("localhost", SECOND):
        pems.append(folder / f"{name}.pem")
        servers.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(pems[-1]))
    people = Authority("people of estafeta.example", time.time())
    people.write(folder / "people.pem")
    server = Estafeta(
        folder / "e",
        accounts=[ANA, LUIS, EVA],
        certificate=pems[0],
        ca=ca,
        settings={"tls": [f'client_authorities = "{folder / "people.pem"}"']},
    )
    with server.config.open("a") as file:
        file.write(f'[[tls.certificates]]\ncertificate = "{pems[1]}"\nkey = "{pems[1]}"\n')
    with server:
        server.command("account", "set", EVA, "--disable")
        yield Town(server, ca, people, folder)
        server.command("audit", "--full")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(("name", "version"), [("localhost", "TLSv1_3"), (SECOND, "TLSv1_2")])
def test_a_client_that_binds(
    town: Town, protocol: str, implicit: bool, name: str, version: str
) -> None:
    context = client_context(town.ca, version=version)
    with town.talk(protocol, context, name=name, implicit=implicit) as talk:
        assert "SCRAM-SHA-256-PLUS" in talk.offered()
        assert succeeded(talk.scram(ANA, PASSWORD))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_wrong_password_is_one(town: Town, protocol: str) -> None:
    with town.talk(protocol, client_context(town.ca)) as talk:
        assert not succeeded(talk.scram(ANA, "wrong"))
        assert succeeded(talk.scram(ANA, PASSWORD))  # the connection can still be used


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_plain_form_without_and_with_knowledge_of_binding(town: Town, protocol: str) -> None:
    plain = ["SCRAM-SHA-256"]
    with town.talk(protocol, client_context(town.ca)) as talk:
        # It says "y": I could bind, you did not offer it. But we did.
        answer = talk.scram(ANA, PASSWORD, mechanisms=plain)
        assert not succeeded(answer), answer
        wait_for("the log", lambda: "is said not to be" in town.server.log())
        assert succeeded(talk.scram(ANA, PASSWORD, mechanisms=plain, binds=False))


class Middle:
    """A man in the middle with a certificate of his own; change: what he makes of our words."""

    def __init__(
        self, pem: Path, port: int, change: Callable[[bytes], bytes] = lambda data: data
    ) -> None:
        self._change = change
        self._own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._own.load_cert_chain(pem)
        self._there = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        accepted, _ = self._listening.accept()
        there = client_context(None).wrap_socket(
            socket.create_connection(("127.0.0.1", self._there)), server_hostname="localhost"
        )
        with self._own.wrap_socket(accepted, server_side=True) as here, there:
            back = threading.Thread(target=self._pass, args=(there, here, self._change))
            back.start()
            self._pass(here, there, lambda data: data)
            back.join()

    def _pass(self, source: ssl.SSLSocket, to: ssl.SSLSocket, change: object) -> None:
        assert callable(change)
        try:
            while data := source.recv(65536):
                to.sendall(change(data))
        except OSError:
            pass
        try:
            to.unwrap()
        except OSError:
            to.close()

    def end(self) -> None:
        self._listening.close()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_man_in_the_middle_gets_no_login(town: Town, protocol: str) -> None:
    """He has a certificate that the client trusts; what it is bound to is not ours."""
    his = town.folder / "his.pem"
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(his))
    port = town.server.ports[IMPLICIT[protocol]]
    middle = Middle(his, port)
    with Talk(protocol, middle.port, client_context(None), implicit=True) as talk:
        assert not succeeded(talk.scram(ANA, PASSWORD))
    middle.end()
    assert "channel bindings do not match" in town.server.log()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_man_in_the_middle_who_hides_the_binding(town: Town, protocol: str) -> None:
    his = town.folder / "his.pem"
    trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(his))
    hidden = Middle(
        his,
        town.server.ports[IMPLICIT[protocol]],
        lambda data: data.replace(b"AUTH=SCRAM-SHA-256-PLUS ", b"").replace(
            b"SCRAM-SHA-256-PLUS ", b""
        ),
    )
    with Talk(protocol, hidden.port, client_context(None), implicit=True) as talk:
        offered = talk.offered()
        assert "SCRAM-SHA-256-PLUS" not in offered
        assert "SCRAM-SHA-256" in offered
        assert not succeeded(talk.scram(ANA, PASSWORD, mechanisms=["SCRAM-SHA-256"]))
    hidden.end()


# --- EXTERNAL ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("implicit", "at_once", "authzid"),
    [
        (False, True, ""),
        (True, False, ""),
        (True, True, ANA),
        (False, False, "Ana@ESTAFETA.example"),
    ],
)
def test_a_certificate_logs_in(
    town: Town, protocol: str, implicit: bool, at_once: bool, authzid: str
) -> None:
    mine = town.people.issue([ANA], town.folder)
    with town.talk(protocol, client_context(town.ca, mine), implicit=implicit) as talk:
        assert "EXTERNAL" in talk.offered()
        assert succeeded(talk.external(authzid, at_once=at_once))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("names", "authzid", "why"),
    [
        ([ANA], LUIS, "the certificate is not for the account it wants"),
        ([EVA], "", "the account is disabled"),
        (["nobody@estafeta.example"], "", "no such account"),
        ([ANA, LUIS], "", "the certificate is for several accounts, and none was named"),
    ],
)
def test_a_certificate_that_does_not(
    town: Town, protocol: str, names: list[str], authzid: str, why: str
) -> None:
    identity = town.people.issue(names, town.folder)
    with town.talk(protocol, client_context(town.ca, identity)) as talk:
        assert not succeeded(talk.external(authzid))
        assert succeeded(talk.scram(ANA, PASSWORD))  # a password does
    assert f'"reason":"{why}"' in town.server.log()


def test_one_of_several_is_named(town: Town) -> None:
    identity = town.people.issue([ANA, LUIS], town.folder)
    with town.talk("imap", client_context(town.ca, identity)) as talk:
        assert succeeded(talk.external(LUIS))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_who_shows_none_is_not_offered_it(town: Town, protocol: str) -> None:
    with town.talk(protocol, client_context(town.ca)) as talk:
        assert "EXTERNAL" not in talk.offered()
        assert not succeeded(talk.external())
        assert succeeded(talk.scram(ANA, PASSWORD))


def test_a_certificate_without_a_mail_address(town: Town) -> None:
    identity = town.people.issue(["ana.estafeta.example"], town.folder)
    with town.talk("imap", client_context(town.ca, identity)) as talk:
        assert "EXTERNAL" not in talk.offered()
        assert succeeded(talk.scram(ANA, PASSWORD))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fault", ["expired", "usage", "authority"])
def test_a_certificate_that_does_not_hold_ends_the_handshake(
    town: Town, protocol: str, fault: str
) -> None:
    """OpenSSL leaves no choice; the alert names the fault (RFC 8446 §4.4.2.4, §6.2)."""
    signer, days, usage = town.people, 397, ExtendedKeyUsageOID.CLIENT_AUTH
    if fault == "expired":
        days = -1
    elif fault == "usage":
        usage = ExtendedKeyUsageOID.SERVER_AUTH
    else:
        signer = Authority("somebody else", time.time())
    identity = signer.issue([ANA], town.folder / fault, days, usages=[usage])
    said = {
        "expired": ("certificate has expired", "EXPIRED"),
        "usage": ("unsuitable certificate purpose", "CERTIFICATE"),
        "authority": ("self-signed certificate in certificate chain", "UNKNOWN_CA"),
    }[fault]
    # In TLS 1.3 the client's handshake is over before it hears of it.
    with (
        pytest.raises((ssl.SSLError, ConnectionError), match=said[1]),
        town.talk(protocol, client_context(town.ca, identity), implicit=True) as talk,
    ):
        talk.offered()
    wait_for("the log", lambda: said[0] in town.server.log())


def test_port_25_asks_nobody(town: Town) -> None:
    """Whose certificate does not hold comes in there: it was not asked for it."""
    identity = Authority("somebody else", time.time()).issue([ANA], town.folder / "mx")
    context = client_context(town.ca, identity)
    with Talk("submission", town.server.ports["mx"], context) as talk:
        assert talk.offered() == set()


def test_in_the_clear_there_is_neither(town: Town) -> None:
    for protocol in PROTOCOLS:
        with Talk(protocol, town.server.ports[protocol], None) as talk:
            assert not {"SCRAM-SHA-256-PLUS", "EXTERNAL"} & talk.offered()


def test_scramp_finds_out_who_does_not_know_the_password() -> None:
    """That the foreign client really checks: a server that has no keys is refused by it."""
    from scramp import ScramClient

    client = ScramClient(["SCRAM-SHA-256"], "u", "p", c_nonce="c")
    client.get_client_first()
    client.set_server_first("r=cs,s=QUFBQUFBQUFBQUFBQUFBQQ==,i=4096")
    client.get_client_final()
    with pytest.raises(ScramException):
        client.set_server_final("v=AAAA")
