"""Binding: what ties a login to the certificate it was made over: tls-server-end-point.

RFC 5929 §4. Where the certificate's signature has no single hash function there is none, and
-PLUS is not offered.
"""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS


def server_end_point(certificate: bytes) -> bytes:
    """The hash of the server's certificate (DER); b"" where RFC 5929 defines none, or it is none.

    §4.1: by the hash function of its signature, SHA-256 in place of MD5 and SHA-1.
    """
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        hashed = parsed.signature_hash_algorithm
        parameters = parsed.signature_algorithm_parameters
    except (ValueError, UnsupportedAlgorithm):
        return b""
    if hashed is None:
        # Ed25519, Ed448: the signature hashes by itself.
        return b""
    if isinstance(parameters, PSS) and _mask_hash(parameters) != hashed.name:
        # "more than one hash function": undefined.
        return b""
    name = "sha256" if hashed.name in ("md5", "sha1") else hashed.name.replace("-", "_")
    return hashlib.new(name, certificate).digest()


def _mask_hash(parameters: PSS) -> str:
    mask = parameters.mgf
    return mask._algorithm.name if isinstance(mask, MGF1) else ""
