"""TLS: configurations, and an engine over memory BIOs that a stream feeds with bytes.

Promises: TLS 1.2 at least, no renegotiation, the certificate that fits the name asked for (SNI,
RFC 6066 §3), the DER of the certificate really shown (for tls-server-end-point, RFC 5929 §4), and
an end of the ciphertext without close_notify (RFC 8446 §6.1) is told apart from an orderly end.
No sockets here: `world.net` carries the bytes.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from .limits import TLS_PIECE_OCTETS
from .seams import TlsConfig, TlsError, TlsInfo

TICKETS = 1
"""Session tickets a server sends. None at all makes a client that delays its first write for the
server's last flight wait 40 ms for an acknowledgement."""


class _Session(ssl.SSLObject):
    """An SSLObject that remembers the name its peer asked for."""

    asked_name = ""


class ServerTls:
    """The server's side. Made by `server_config`."""

    __slots__ = ("_by_name", "_der", "_names", "default")

    def __init__(self, default: ssl.SSLContext) -> None:
        self.default = default
        self._by_name: dict[str, ssl.SSLContext] = {}
        self._der: dict[ssl.SSLContext, bytes] = {}
        self._names: dict[ssl.SSLContext, tuple[str, ...]] = {}

    def add(self, context: ssl.SSLContext, certificate: bytes, names: Sequence[str]) -> None:
        """One more certificate (DER) and the names it is for; the first to claim a name has it."""
        self._der[context] = certificate
        self._names[context] = tuple(name.lower() for name in names)
        for name in names:
            self._by_name.setdefault(name.lower(), context)

    def choose(self, name: str) -> ssl.SSLContext:
        """The context for `name`: its own, its wildcard's (RFC 6125 §6.4.3), or the default."""
        name = name.lower().rstrip(".")
        found = self._by_name.get(name)
        if found is None:
            found = self._by_name.get("*." + name.partition(".")[2])
        return found or self.default

    def certificate(self, context: ssl.SSLContext) -> bytes:
        """DER of what `context` shows."""
        return self._der.get(context, b"")

    def names(self, context: ssl.SSLContext) -> tuple[str, ...]:
        """The names the certificate of `context` is for."""
        return self._names.get(context, ())

    def _on_name(
        self, session: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext
    ) -> None:
        if name:
            cast(_Session, session).asked_name = name
            chosen = self.choose(name)
            if chosen is not session.context:
                session.context = chosen


class ClientTls:
    """The client's side. Made by `client_config`."""

    __slots__ = ("context", "verify")

    def __init__(self, context: ssl.SSLContext, verify: bool) -> None:
        self.context = context
        self.verify = verify


def server_config(
    certificates: Sequence[tuple[str | Path, str | Path]],
    *,
    client_ca: str | Path | None = None,
    alpn: Sequence[str] = (),
) -> ServerTls:
    """A server's configuration from (certificate chain, key) PEM paths; the first is the default.

    Raises OSError or ssl.SSLError where a file is missing, unreadable or does not fit its key.
    client_ca: PEM of the authorities whose client certificates are asked for (never required).
    """
    if not certificates:
        raise ValueError("a TLS server needs a certificate")
    config: ServerTls | None = None
    for chain, key in certificates:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _harden(context)
        context.num_tickets = TICKETS
        context.load_cert_chain(chain, key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if config is None:
            config = ServerTls(context)
        context.sni_callback = config._on_name
        leaf = x509.load_pem_x509_certificates(Path(chain).read_bytes())[0]
        config.add(context, leaf.public_bytes(Encoding.DER), _names(leaf))
    assert config is not None
    return config


def client_config(
    *, verify: bool, ca: str | Path | None = None, alpn: Sequence[str] = ()
) -> ClientTls:
    """A client's configuration. verify: chain and name must hold, else any certificate will do
    (opportunistic, RFC 7435). ca: PEM of authorities instead of the system's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is not None:
        context.load_verify_locations(ca)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return ClientTls(context, verify)


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.sslobject_class = _Session


def _names(certificate: x509.Certificate) -> list[str]:
    """The DNS names a certificate is for; its common name where it has no alternative names."""
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return [str(name.value) for name in common]
    return alternatives.value.get_values_for_type(x509.DNSName)


class TlsEngine:
    """One connection's TLS, without its bytes' way: ciphertext in, plaintext out, and back.

    `feed` takes ciphertext; before `established` it drives the handshake. After each call
    `output()` gives what is to be sent. `ended`: the peer's close_notify came.
    """

    __slots__ = ("_config", "_incoming", "_outgoing", "_session", "ended", "established")

    def __init__(self, config: TlsConfig, server_name: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._config = config
        self.established = False
        self.ended = False
        if isinstance(config, ServerTls):
            context, server_side, name = config.default, True, None
        elif isinstance(config, ClientTls):
            if config.verify and not server_name:
                raise TlsError("no name to check the certificate against")
            context, server_side, name = config.context, False, server_name or None
        else:
            raise TypeError(f"not a TLS configuration of this net: {config!r}")
        try:
            session = context.wrap_bio(
                self._incoming, self._outgoing, server_side=server_side, server_hostname=name
            )
        except ValueError as error:  # a name that is no name (leading dot, empty label)
            raise TlsError(f"{server_name!r}: {error}") from None
        self._session = cast(_Session, session)
        if name:
            self._session.asked_name = name

    def handshake(self) -> bool:
        """Goes as far as the ciphertext reaches; True once it is done. Raises TlsError."""
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLCertVerificationError as error:
            raise TlsError(f"certificate: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise TlsError(_words(error)) from None
        except ssl.CertificateError as error:
            raise TlsError(f"certificate: {error}") from None
        self.established = True
        return True

    def feed(self, data: memoryview) -> list[bytes]:
        """Ciphertext in; the plaintext it completes, in pieces of at most 16 KiB.

        Raises ConnectionError on anything that is not TLS.
        """
        plain: list[bytes] = []
        incoming, session = self._incoming, self._session
        for start in range(0, len(data), TLS_PIECE_OCTETS):
            incoming.write(data[start : start + TLS_PIECE_OCTETS])
            if not self.established and not self.handshake():
                continue
            self._decrypt(session, plain)
        return plain

    def _decrypt(self, session: _Session, plain: list[bytes]) -> None:
        incoming = self._incoming
        try:
            while not self.ended:
                piece = session.read(TLS_PIECE_OCTETS)
                if not piece:
                    self.ended = True
                    return
                plain.append(piece)
                if not incoming.pending and not session.pending():
                    return
        except ssl.SSLWantReadError:
            return
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            raise ConnectionError(f"TLS: {_words(error)}") from None

    def encrypt(self, data: bytes | memoryview) -> None:
        """At most 16 KiB of plaintext in; `output()` has the ciphertext."""
        self._session.write(data)

    def output(self) -> bytes:
        """Ciphertext to be sent, once."""
        return self._outgoing.read() if self._outgoing.pending else b""

    @property
    def owed(self) -> int:
        """Octets `output` would give."""
        return self._outgoing.pending

    def close_notify(self) -> None:
        """Says the end; `output()` has it."""
        try:
            self._session.unwrap()
        except ssl.SSLError:
            return  # wants the peer's own close_notify, or the session is broken already

    @property
    def info(self) -> TlsInfo:
        """What the handshake agreed on."""
        session, config = self._session, self._config
        cipher = session.cipher()
        server = isinstance(config, ServerTls)
        peer_certificate = session.getpeercert(binary_form=True) or b""
        return TlsInfo(
            version=session.version() or "",
            cipher=cipher[0] if cipher else "",
            server_name=session.asked_name,
            peer_certificate=peer_certificate,
            own_certificate=config.certificate(session.context)
            if isinstance(config, ServerTls)
            else b"",
            verified=bool(peer_certificate)
            and (server or (isinstance(config, ClientTls) and config.verify)),
        )


def _words(error: ssl.SSLError) -> str:
    """OpenSSL's reason in one line, without its source file."""
    return (error.reason or str(error)).replace("_", " ").lower()
