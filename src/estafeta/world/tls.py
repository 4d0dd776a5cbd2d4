"""TLS: configurations, and an engine over memory BIOs that a stream feeds with bytes.

Promises: TLS 1.2 at least, no renegotiation, the certificate that fits the name asked for (SNI,
RFC 6066 §3), the certificate really shown and its tls-server-end-point (RFC 5929 §4), and an end
of the ciphertext without close_notify (RFC 8446 §6.1) is told apart from an orderly end.
No sockets here: `world.net` carries the bytes.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from .binding import server_end_point
from .certificates import dns_names, mail_addresses
from .clock import SystemClock
from .limits import TLS_PIECE_OCTETS
from .seams import TlsConfig, TlsError, TlsInfo

TICKETS = 1
"""Session tickets a server sends. None at all makes a client that delays its first write for the
server's last flight wait 40 ms for an acknowledgement."""


class _Session(ssl.SSLObject):
    """An SSLObject that remembers the name its peer asked for."""

    asked_name = ""


class Shown(NamedTuple):
    """A certificate as a context shows it. names: those it is for, in lower case."""

    der: bytes
    end_point: bytes
    names: tuple[str, ...]


class ServerTls:
    """The server's side. Made by `server_config`."""

    __slots__ = ("_by_name", "_shown", "default")

    def __init__(self, default: ssl.SSLContext) -> None:
        self.default = default
        self._by_name: dict[str, ssl.SSLContext] = {}
        self._shown: dict[ssl.SSLContext, Shown] = {}

    def add(self, context: ssl.SSLContext, shown: Shown) -> None:
        """One more certificate; the first to claim a name has it."""
        self._shown[context] = shown
        for name in shown.names:
            self._by_name.setdefault(name, context)

    def choose(self, name: str) -> ssl.SSLContext:
        """The context for `name`: its own, its wildcard's (RFC 6125 §6.4.3), or the default."""
        name = name.lower().rstrip(".")
        found = self._by_name.get(name)
        if found is None:
            found = self._by_name.get("*." + name.partition(".")[2])
        return found or self.default

    def shown(self, context: ssl.SSLContext) -> Shown:
        """What `context` shows."""
        return self._shown[context]

    def names(self, context: ssl.SSLContext) -> tuple[str, ...]:
        """The names the certificate of `context` is for."""
        return self._shown[context].names

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
    bind: bool = True,
) -> ServerTls:
    """A server's configuration from (certificate chain, key) PEM paths; the first is the default.

    Raises OSError or ssl.SSLError where a file is missing, unreadable or does not fit its key.
    client_ca: PEM of the authorities whose client certificates are asked for (never required).
    bind: tell the tls-server-end-point of a connection.
    """
    if not certificates:
        raise ValueError("a TLS server needs a certificate")
    config: ServerTls | None = None
    for chain, key in certificates:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _harden(context)
        context.num_tickets = TICKETS
        der = _load(context, Path(chain), Path(key))
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if config is None:
            config = ServerTls(context)
        context.sni_callback = config._on_name
        names = dns_names(x509.load_der_x509_certificate(der))
        config.add(context, Shown(der, server_end_point(der) if bind else b"", names))
    assert config is not None
    return config


def _load(context: ssl.SSLContext, chain: Path, key: Path) -> bytes:
    """Gives the context its certificate and key; the certificate's DER.

    OpenSSL reads the file by itself and does not tell what it found: the file must be the same
    before and after.
    """
    text = chain.read_bytes()
    context.load_cert_chain(chain, key, password=_nobody)
    if chain.read_bytes() != text:
        raise OSError(f"{chain}: written to while it was read")
    return x509.load_pem_x509_certificates(text)[0].public_bytes(Encoding.DER)


def _nobody() -> str:
    """Without this OpenSSL would ask on the terminal."""
    raise ValueError("the key asks for a password; keys must have none")


def client_config(
    *,
    verify: bool,
    ca: str | Path | None = None,
    alpn: Sequence[str] = (),
    own: tuple[str | Path, str | Path] | None = None,
) -> ClientTls:
    """A client's configuration. verify: chain and name must hold, else any certificate will do
    (opportunistic, RFC 7435). ca: PEM of authorities instead of the system's. own: (certificate
    chain, key), shown to a server that asks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is not None:
        context.load_verify_locations(ca)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if own is not None:
        context.load_cert_chain(*own, password=_nobody)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return ClientTls(context, verify)


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.sslobject_class = _Session


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
        agreed = TlsInfo(
            version=session.version() or "",
            cipher=cipher[0] if cipher else "",
            server_name=session.asked_name,
            peer_certificate=session.getpeercert(binary_form=True) or b"",
        )
        if isinstance(config, ServerTls):
            # The context is the one that SNI chose, in a session taken up again too.
            shown = config.shown(session.context)
            return replace(
                agreed,
                own_certificate=shown.der,
                end_point=shown.end_point,
                verified=bool(agreed.peer_certificate),
                peer_addresses=mail_addresses(agreed.peer_certificate, SystemClock().now()),
            )
        verify = isinstance(config, ClientTls) and config.verify
        return replace(agreed, verified=bool(agreed.peer_certificate) and verify)


def _words(error: ssl.SSLError) -> str:
    """OpenSSL's reason in one line, without its source file."""
    return (error.reason or str(error)).replace("_", " ").lower()
