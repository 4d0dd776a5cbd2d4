"""Certificates: looked at before anything is opened, so that the file at fault is named."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

from estafeta.office.config import Certificate, Tls
from estafeta.office.errors import CommandError, explain_startup_error


def check_tls_files(tls: Tls) -> None:
    """All that `tls` names. Raises CommandError."""
    check_certificates(tls.certificates)
    check_authorities(tls.client_authorities)


def check_certificates(certificates: Sequence[Certificate]) -> None:
    """Raises CommandError: a file that is missing, unreadable, no PEM, or of another key."""
    for pair in certificates:
        for file in (pair.certificate, pair.key):
            try:
                with Path(file).open("rb") as opened:
                    opened.read(1)
            except OSError as trouble:
                raise CommandError(f"certificate: {explain_startup_error(trouble)}") from trouble
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                pair.certificate,
                pair.key,
                password=_nobody,
            )
        except (ssl.SSLError, OSError, ValueError) as trouble:
            reason = explain_startup_error(trouble)
            raise CommandError(f"{pair.certificate} with {pair.key}: {reason}") from trouble


def check_authorities(file: str) -> None:
    """Raises CommandError: no file of certificates. "" is none at all."""
    if not file:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(file)
    except (ssl.SSLError, OSError, ValueError) as trouble:
        reason = explain_startup_error(trouble)
        raise CommandError(f"{file}: {reason}") from trouble


def _nobody() -> str:
    """Without this OpenSSL would ask on the terminal."""
    raise ValueError("the key asks for a password; keys must have none")
