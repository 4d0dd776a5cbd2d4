"""Certificates replaced under a running server, which nobody tells of it."""

from __future__ import annotations

import os
import signal
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from tests.support.live import PASSWORD, Estafeta
from tests.support.peers.process import wait_for
from tests.support.tls_login import Talk, client_context, succeeded

from estafeta.world.certificates import Authority, dns_names

ANA = "ana@estafeta.example"


def pem(pair: tuple[Path, Path]) -> bytes:
    """Certificate and key in one."""
    return b"".join(path.read_bytes() for path in pair)


@dataclass
class Place:
    """A server, the folder that its administrator writes to, the authority that signs."""

    server: Estafeta
    folder: Path
    authority: Authority
    ca: Path

    def issue(self, name: str, days: int = 90) -> bytes:
        """A new certificate with its key, one PEM."""
        return pem(self.authority.issue([name, "localhost"], self.folder / "made", days))

    def replace(self, data: bytes) -> None:
        """As certbot and Kubernetes do: another file takes the name."""
        fresh = self.folder / "fresh.pem"
        fresh.write_bytes(data)
        fresh.rename(self.folder / "mail.pem")

    def der(self, name: str = "localhost") -> bytes:
        """The certificate that a new connection sees which asks for that name."""
        port = self.server.ports["submissions"]
        with Talk("submission", port, client_context(None), name=name, implicit=True) as talk:
            assert isinstance(talk.socket, ssl.SSLSocket)
            der = talk.socket.getpeercert(binary_form=True)
            assert der
            return der

    def shown(self) -> str:
        """The first name of the certificate that a new connection sees."""
        return dns_names(x509.load_der_x509_certificate(self.der()))[0]

    def wait_shown(self, name: str) -> None:
        wait_for(f"{name} is shown", lambda: self.shown() == name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority("test authority", time.time())
    ca = authority.write(folder / "ca.pem")
    pair = authority.issue(["first.example", "localhost"], folder / "made")
    (folder / "mail.pem").write_bytes(pem(pair))
    server = Estafeta(
        folder / "e",
        accounts=[ANA],
        certificate=folder / "mail.pem",
        ca=ca,
        settings={"tls": ["channel_binding = true"]},
    )
    with server:
        yield Place(server, folder, authority, ca)


def metric(place: Place) -> float:
    for line in place.server.page("metrics")[1].splitlines():
        if line.startswith("estafeta_certificate_expiry_seconds{"):
            return float(line.rpartition(" ")[2])
    raise AssertionError("no such metric")


def test_another_file_of_the_name_is_shown_within_seconds(place: Place) -> None:
    assert place.shown() == "first.example"
    assert abs(metric(place) - 397 * 86400) < 3600
    with Talk("imap", place.server.ports["imaps"], client_context(place.ca), implicit=True) as old:
        place.replace(place.issue("second.example", days=5))
        place.wait_shown("second.example")
        # Who is here goes on, under the certificate that he was shown, and bound to it.
        assert succeeded(old.scram(ANA, PASSWORD))
    wait_for("the metric", lambda: abs(metric(place) - 5 * 86400) < 3600)
    wait_for("the warning", lambda: '"days":4' in place.server.log())
    with Talk("imap", place.server.ports["imaps"], client_context(place.ca), implicit=True) as new:
        assert succeeded(new.scram(ANA, PASSWORD))  # bound to the new one


def test_a_pair_that_does_not_fit_is_not_taken(place: Place) -> None:
    """The certificate of one and the key of another, written where the file lies."""
    before = place.shown()
    whole, other = place.issue("third.example"), place.issue("other.example")
    key = b"-----BEGIN PRIVATE"
    (place.folder / "mail.pem").write_bytes(whole[: whole.index(key)] + other[other.index(key) :])
    wait_for("a line", lambda: "certificates not taken, the old ones stay" in place.server.log())
    assert place.shown() == before
    (place.folder / "mail.pem").write_bytes(whole)
    place.wait_shown("third.example")
    refused = [line for line in place.server.log().splitlines() if "not taken" in line]
    assert len(refused) == 1
    assert "mail.pem" in refused[0]


def test_a_hangup_reads_at_once(place: Place) -> None:
    place.replace(place.issue("fourth.example"))
    hang_up(place)
    assert place.shown() == "fourth.example"


def hang_up(place: Place) -> None:
    """Has the settings read again."""
    reloads = place.server.log().count('"event":"reloaded"')
    os.kill(place.server.session, signal.SIGHUP)
    wait_for("reloaded", lambda: place.server.log().count('"event":"reloaded"') > reloads)


def test_the_binding_can_be_left_out(place: Place) -> None:
    """Then who could bind, and says that we cannot, is right."""
    settings = place.server.config.read_text()
    for said, offers in (("false", False), ("true", True)):
        place.server.config.write_text(settings.replace("binding = true", f"binding = {said}"))
        hang_up(place)
        port, context = place.server.ports["imaps"], client_context(place.ca)
        with Talk("imap", port, context, implicit=True) as talk:
            assert ("SCRAM-SHA-256-PLUS" in talk.offered()) is offers
            answer = talk.scram(ANA, PASSWORD, mechanisms=["SCRAM-SHA-256"])
            assert succeeded(answer) is not offers


def test_the_right_certificate_by_name(place: Place) -> None:
    """RFC 6125 §6.4.3: a star stands for one whole label."""
    extra = place.folder / "star.pem"
    extra.write_bytes(pem(place.authority.issue(["*.star.example"], place.folder / "made")))
    with place.server.config.open("a") as file:
        file.write(f'[[tls.certificates]]\ncertificate = "{extra}"\nkey = "{extra}"\n')
    hang_up(place)
    star = place.der("mail.star.example")
    assert place.der("Other.STAR.example") == star
    assert place.der("localhost") != star
    assert place.der("star.example") == place.der("a.mail.star.example") == place.der("localhost")
    # Both files are watched.
    extra.write_bytes(pem(place.authority.issue(["*.star.example"], place.folder / "made")))
    wait_for("the new one", lambda: place.der("mail.star.example") != star)
