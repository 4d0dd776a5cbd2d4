"""tls-server-end-point (RFC 5929 §4.1), beside what another implementation makes of it."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import NameOID
from scramp.core import CBindData

from estafeta.world.binding import server_end_point
from estafeta.world.certificates import Authority
from estafeta.world.net import RealNet
from estafeta.world.real import run
from estafeta.world.seams import Endpoint, Stream
from estafeta.world.tls import server_config

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def signed(key, algorithm, rsa_padding=None) -> bytes:  # type: ignore[no-untyped-def]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx.example")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=1))
        .sign(key, algorithm, rsa_padding=rsa_padding)
    )
    return certificate.public_bytes(serialization.Encoding.DER)


def pss(mask: hashes.HashAlgorithm) -> padding.PSS:
    return padding.PSS(padding.MGF1(mask), padding.PSS.DIGEST_LENGTH)


@pytest.mark.parametrize(
    ("der", "algorithm"),
    [
        (signed(EC, hashes.SHA256()), "sha256"),
        (signed(EC, hashes.SHA384()), "sha384"),
        (signed(EC, hashes.SHA512()), "sha512"),
        (signed(EC, hashes.SHA224()), "sha224"),
        (signed(EC, hashes.SHA3_256()), "sha3_256"),
        (signed(RSA, hashes.SHA256()), "sha256"),
        (signed(RSA, hashes.SHA512()), "sha512"),
        (signed(RSA, hashes.SHA384(), pss(hashes.SHA384())), "sha384"),
    ],
)
def test_by_the_hash_of_the_signature(der: bytes, algorithm: str) -> None:
    assert server_end_point(der) == hashlib.new(algorithm, der).digest()


@pytest.mark.parametrize("algorithm", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
@pytest.mark.parametrize("key", [EC, RSA])
def test_another_implementation_finds_the_same(key, algorithm) -> None:  # type: ignore[no-untyped-def]
    der = signed(key, algorithm)
    assert bytes(CBindData.from_der(der)) == server_end_point(der)


def sha1_signed() -> bytes:
    """Nobody signs by SHA-1 any more: the two algorithm fields of a certificate are rewritten."""
    sha256 = bytes.fromhex("06092a864886f70d01010b")
    sha1 = bytes.fromhex("06092a864886f70d010105")
    der = signed(RSA, hashes.SHA256())
    assert der.count(sha256) == 2
    return der.replace(sha256, sha1)


def test_sha_1_and_md5_count_as_sha_256() -> None:
    sha1 = sha1_signed()
    md5 = sha1.replace(bytes.fromhex("2a864886f70d010105"), bytes.fromhex("2a864886f70d010104"))
    for der in (sha1, md5):
        assert server_end_point(der) == hashlib.sha256(der).digest()


@pytest.mark.parametrize(
    "der",
    [
        signed(ed25519.Ed25519PrivateKey.generate(), None),
        signed(ed448.Ed448PrivateKey.generate(), None),
        signed(RSA, hashes.SHA256(), pss(hashes.SHA512())),  # two hash functions
        b"",
        b"no certificate",
    ],
)
def test_where_there_is_none(der: bytes) -> None:
    assert server_end_point(der) == b""


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    pair = Authority("test authority", NOW.timestamp()).issue(["a.example"], tmp_path)
    for bind in (True, False):
        config = server_config([pair], bind=bind)
        assert bool(config.shown(config.default).end_point) is bind


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_it_is_of_the_certificate_chosen_also_when_a_session_is_taken_up(
    version: ssl.TLSVersion, tmp_path: Path
) -> None:
    """Two names, two certificates; then again with the session's ticket, which shows none."""
    authority = Authority("test authority", NOW.timestamp())
    pairs = [authority.issue([name], tmp_path) for name in ("a.example", "b.example")]
    config = server_config(pairs)
    shown: list[tuple[bytes, bytes]] = []

    async def main() -> None:
        async def handler(stream: Stream) -> None:
            info = await stream.start_tls(config)
            shown.append((info.own_certificate, info.end_point))
            stream.write(b"x")
            await stream.read()

        listener = await RealNet().listen(Endpoint("127.0.0.1", 0), handler)
        port = listener.endpoint.port
        ders, reused = await asyncio.to_thread(talk, port, version)
        await listener.close()
        assert [der for der, _ in shown] == ders
        assert [bound for _, bound in shown] == [hashlib.sha256(der).digest() for der in ders]
        assert ders[0] != ders[1] == ders[2]
        assert reused == [False, False, True]

    run(main())


def talk(port: int, version: ssl.TLSVersion) -> tuple[list[bytes], list[bool]]:
    """What a client sees of a.example, of b.example, and of b.example again."""
    import socket

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    ders: list[bytes] = []
    reused: list[bool] = []
    session = None
    for name in ("a.example", "b.example", "b.example"):
        known = session if len(ders) == 2 else None
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=name, session=known) as secured,
        ):
            assert secured.recv(1) == b"x"  # by then the ticket has come
            session = secured.session
            ders.append(secured.getpeercert(binary_form=True) or b"")
            reused.append(bool(secured.session_reused))
    return ders, reused
