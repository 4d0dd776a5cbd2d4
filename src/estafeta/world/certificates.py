"""Certificates: whom one is for; and an authority of one's own, for demo, tests, first start.

Keys are ECDSA P-256, written as PEM files that only their owner may read.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .limits import MAIL_ADDRESSES_MAX

CLOCK_SKEW = datetime.timedelta(days=1)
"""A certificate is valid from this long before it was made: other machines' clocks differ."""


BOTH_SIDES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
"""Key usages of a leaf: a server shows it, and so may a client."""

SIGNED_DAYS_BEFORE = datetime.timedelta(days=30)
"""A certificate that has ended already began so long before its end."""


def dns_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names it is for, in lower case; its common name where it has no alternative names."""
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(name.value).lower() for name in common)
    return tuple(n.lower() for n in alternatives.value.get_values_for_type(x509.DNSName))


def expires_at(pem: bytes) -> float:
    """When the first certificate of a PEM file ends, seconds since 1970. Raises ValueError."""
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()


def mail_addresses(certificate: bytes, now: float) -> tuple[str, ...]:
    """The mail addresses a certificate (DER) is for: rfc822Name, RFC 5280 §4.2.1.6, nothing else.

    None of one that does not hold at `now`, or cannot be read.
    """
    if not certificate:
        return ()
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        alternatives = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = alternatives.value.get_values_for_type(x509.RFC822Name)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return ()
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    if not parsed.not_valid_before_utc <= moment <= parsed.not_valid_after_utc:
        return ()
    return tuple(names[:MAIL_ADDRESSES_MAX])


class Authority:
    """A certificate authority. `now`: seconds since 1970 (of a `Clock`)."""

    def __init__(self, name: str, now: float, days: int = 3650) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._now = datetime.datetime.fromtimestamp(now, datetime.UTC)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        key_id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self._key_id = key_id
        self.certificate = (
            self._start(self._name, self._key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .add_extension(key_id, critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """The authority's certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def write(self, path: Path) -> Path:
        """The authority's certificate as a PEM file; its key stays in memory."""
        write_private(path, self.pem)
        return path

    def issue(
        self,
        names: Sequence[str],
        folder: Path,
        days: int = 397,
        *,
        usages: Sequence[x509.ObjectIdentifier] = BOTH_SIDES,
    ) -> tuple[Path, Path]:
        """A leaf for `names` (DNS names, "*." wildcards, IP addresses, mail addresses), the first
        of which names the files: (chain, key), mode 0600. days: until it ends, below 0: ago."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        leaf = (
            self._start(subject, key.public_key(), days)
            .add_extension(
                x509.SubjectAlternativeName([_general(name) for name in names]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(usages),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._key_id),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        stem = names[0].replace("*", "_").replace(":", "_").replace("/", "_")
        folder.mkdir(parents=True, exist_ok=True)
        chain_path, key_path = folder / f"{stem}.pem", folder / f"{stem}.key"
        write_private(chain_path, leaf.public_bytes(serialization.Encoding.PEM) + self.pem)
        write_private(
            key_path,
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        return chain_path, key_path

    def _start(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: int
    ) -> x509.CertificateBuilder:
        end = self._now + datetime.timedelta(days=days)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(min(self._now - CLOCK_SKEW, end - SIGNED_DAYS_BEFORE))
            .not_valid_after(end)
        )


def write_private(path: Path, data: bytes) -> None:
    """Writes a file that is never readable by others, not even while it is being written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(data)


def _general(name: str) -> x509.GeneralName:
    if "@" in name:
        return x509.RFC822Name(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
