"""Whom a certificate is for, until when, and a client's that comes back with its session."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from estafeta.world.certificates import Authority, dns_names, expires_at, mail_addresses
from estafeta.world.limits import MAIL_ADDRESSES_MAX
from estafeta.world.net import RealNet
from estafeta.world.real import run
from estafeta.world.seams import Endpoint, Stream
from estafeta.world.tls import server_config

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DAY = 86400.0


def certificate(*names: x509.GeneralName, common: str = "cn.example") -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=10))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256())


def addresses(
    *names: x509.GeneralName, after_days: float = 1, common: str = "cn.example"
) -> object:
    der = certificate(*names, common=common).public_bytes(Encoding.DER)
    return mail_addresses(der, NOW.timestamp() + after_days * DAY)


def test_only_mail_addresses_count() -> None:
    ana, eva = x509.RFC822Name("Ana@x.example"), x509.RFC822Name("eva@x.example")
    elsewhere = x509.UniformResourceIdentifier("mailto:bob@x.example")
    host = x509.DNSName("ana.x.example")
    assert addresses(host, ana, elsewhere, eva) == ("Ana@x.example", "eva@x.example")
    assert addresses(host, elsewhere) == ()
    # What the subject says was read as an address once (RFC 5280 §4.1.2.6), and is not here.
    assert addresses(common="ana@x.example") == ()
    assert mail_addresses(b"", 0.0) == ()
    assert mail_addresses(b"no certificate", 0.0) == ()


@pytest.mark.parametrize(
    ("days", "holds"), [(-0.1, False), (0.1, True), (9.9, True), (10.1, False)]
)
def test_outside_its_time_it_is_for_nobody(days: float, holds: bool) -> None:
    assert bool(addresses(x509.RFC822Name("ana@x.example"), after_days=days)) is holds


def test_there_is_a_bound_to_how_many_are_looked_at() -> None:
    many = [x509.RFC822Name(f"a{n}@x.example") for n in range(10 * MAIL_ADDRESSES_MAX)]
    found = addresses(*many)
    assert isinstance(found, tuple)
    assert len(found) == MAIL_ADDRESSES_MAX


def test_names_of_a_server() -> None:
    named = certificate(x509.DNSName("MX.example"), x509.DNSName("*.x.example"))
    assert dns_names(named) == ("mx.example", "*.x.example")
    assert dns_names(certificate(common="CN.example")) == ("cn.example",)


def test_until_when() -> None:
    pem = certificate().public_bytes(Encoding.PEM)
    assert expires_at(pem + certificate().public_bytes(Encoding.PEM)) == NOW.timestamp() + 10 * DAY
    with pytest.raises(ValueError, match="PEM"):
        expires_at(b"nothing")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_taken_up_again_is_the_same_clients(
    version: ssl.TLSVersion, tmp_path: Path
) -> None:
    authority = Authority("test authority", time.time())
    ca = authority.write(tmp_path / "ca.pem")
    config = server_config([authority.issue(["a.example"], tmp_path)], client_ca=ca)
    mine = authority.issue(["ana@x.example"], tmp_path)
    seen: list[tuple[str, ...]] = []

    async def main() -> None:
        async def handler(stream: Stream) -> None:
            seen.append((await stream.start_tls(config)).peer_addresses)
            stream.write(b"x")
            await stream.read()

        listener = await RealNet().listen(Endpoint("127.0.0.1", 0), handler)
        reused = await asyncio.to_thread(twice, listener.endpoint.port, version, mine)
        await listener.close()
        assert reused == [False, True]
        assert seen == [("ana@x.example",)] * 2

    run(main())


def twice(port: int, version: ssl.TLSVersion, mine: tuple[Path, Path]) -> list[bool]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(*mine)
    reused: list[bool] = []
    session = None
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="a.example", session=session) as secured,
        ):
            assert secured.recv(1) == b"x"
            session = secured.session
            reused.append(bool(secured.session_reused))
    return reused
