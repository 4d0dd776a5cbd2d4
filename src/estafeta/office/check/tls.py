"""TLS: whether the certificates can be shown, for how long, and for which names."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from estafeta.office.certificates import check_authorities, check_certificates
from estafeta.office.check.finding import Finding, error, ok, warning
from estafeta.office.check.people import check_private
from estafeta.office.config import Config
from estafeta.office.errors import CommandError
from estafeta.office.privileges import Identity

EXPIRES_SOON_DAYS = 14
"""Sooner than this somebody should look why it was not renewed; renewal comes at 30 days."""


def check_tls(config: Config, identity: Identity | None, now: float) -> Iterator[Finding]:
    """Every certificate with its key. now: seconds since 1970."""
    tls = config.tls
    if not tls.certificates:
        if any(each.tls != "none" for each in config.listener):
            yield warning("certificate", "self-signed: clients cannot tell us from an impostor")
        else:
            yield ok("certificate", "none, and no listener wants one")
        return
    names: set[str] = set()
    for pair in tls.certificates:
        about = f"certificate {pair.certificate}"
        try:
            check_certificates([pair])
            certificate = x509.load_pem_x509_certificate(Path(pair.certificate).read_bytes())
        except (CommandError, ValueError) as wrong:
            yield error(about, str(wrong))
            continue
        own = names_of(certificate)
        names |= set(own)
        yield _age(about, certificate, own, datetime.fromtimestamp(now, UTC))
        yield from check_private("key", Path(pair.key), identity)
    if names and not any(_fits(name, config.server.hostname) for name in names):
        yield warning(
            "certificate",
            f"none is for {config.server.hostname}, the name that this installation goes by",
        )
    if tls.client_authorities:
        yield _authorities(tls.client_authorities)


def _authorities(file: str) -> Finding:
    about = f"client authorities {file}"
    try:
        check_authorities(file)
    except CommandError as wrong:
        return error(about, str(wrong))
    return ok(about, "people with a certificate of theirs log in without a password")


def names_of(certificate: x509.Certificate) -> list[str]:
    """The DNS names it is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in found.value.get_values_for_type(x509.DNSName)]


def _age(about: str, certificate: x509.Certificate, names: list[str], now: datetime) -> Finding:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    named = ", ".join(names[:5]) or "no name"
    if ends <= now:
        return error(about, f"it has expired on {ends:%Y-%m-%d}: clients refuse it")
    if begins > now:
        return error(about, f"it is valid from {begins:%Y-%m-%d} only: clients refuse it")
    left = (ends - now).days
    if ends - now < timedelta(days=EXPIRES_SOON_DAYS):
        return warning(about, f"for {named}; it expires in {left} days, on {ends:%Y-%m-%d}")
    return ok(about, f"for {named}; its key fits; {left} days left")


def _fits(name: str, host: str) -> bool:
    """RFC 6125 §6.4.3: a star stands for one whole label."""
    return name == host or (name.startswith("*.") and host.partition(".")[2] == name[2:])
