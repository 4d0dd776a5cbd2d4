"""Toy TLS: names and verdicts as in the real one, nothing encrypted.

A client says `0x16 sim-tls client <name>`, and behind it, where it has a certificate, whose that
is and its authority; a server answers with its certificate's names and authority; from then on
bytes pass as they are, so that faults can still find a final dot. Whoever does not call `start_tls`
sees that line as plaintext.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from estafeta.world.seams import TlsConfig, TlsError, TlsInfo
from estafeta.world.tls import ClientTls, ServerTls

MARK = 0x16
"""First octet of a handshake, in TLS and here."""

HANDSHAKE_OCTETS_MAX = 4096
VERSION, CIPHER = "TLSv1.3", "SIM_TOY_SHA0"


@dataclass(frozen=True, slots=True)
class SimCertificate:
    """names: DNS names, "*." wildcards, addresses. authority: who vouches for it."""

    names: tuple[str, ...]
    authority: str = "sim"

    def encode(self) -> bytes:
        """What stands for its DER."""
        return f"certificate {','.join(self.names)} {self.authority}".encode()

    @property
    def end_point(self) -> bytes:
        """What stands for its tls-server-end-point."""
        return hashlib.sha256(self.encode()).digest()

    def fits(self, name: str) -> bool:
        name = name.lower().rstrip(".")
        return name in self.names or "*." + name.partition(".")[2] in self.names


@dataclass(frozen=True, slots=True)
class SimServerTls:
    """Of the certificates, the first that fits the name asked for, else the first.

    client_authorities: whose certificates a client may show; with none, it is not asked.
    """

    certificates: tuple[SimCertificate, ...]
    client_authorities: frozenset[str] = frozenset()

    def choose(self, name: str) -> SimCertificate:
        for certificate in self.certificates:
            if certificate.fits(name):
                return certificate
        return self.certificates[0]


@dataclass(frozen=True, slots=True)
class SimClientTls:
    """verify: the certificate must fit the name and come from one of `authorities`.

    own: shown to the server; its names are mail addresses.
    """

    verify: bool
    authorities: frozenset[str] = frozenset({"sim"})
    own: SimCertificate | None = None


def sim_server_tls(
    *names: str | Sequence[str], authority: str = "sim", client_authorities: Sequence[str] = ()
) -> SimServerTls:
    """One certificate for each argument: a name, or several."""
    return SimServerTls(
        tuple(
            SimCertificate((name,) if isinstance(name, str) else tuple(name), authority)
            for name in names
        ),
        frozenset(client_authorities),
    )


class ToyHandshake:
    """One side of a handshake, sans-IO: `hello()` to send, `receive(line)` what came."""

    def __init__(self, config: TlsConfig, server_name: str) -> None:
        if isinstance(config, (SimServerTls, ServerTls)):
            self.is_server = True
        elif isinstance(config, (SimClientTls, ClientTls)):
            self.is_server = False
            if config.verify and not server_name:
                raise TlsError("no name to check the certificate against")
        else:
            raise TypeError(f"not a TLS configuration of this net: {config!r}")
        self._config = config
        self._name = server_name

    def hello(self) -> bytes:
        """The client's first flight."""
        own = self._config.own if isinstance(self._config, SimClientTls) else None
        shown = f" {','.join(own.names)} {own.authority}" if own else ""
        return f"\x16sim-tls client {self._name}{shown}\n".encode()

    def receive(self, line: bytes) -> tuple[bytes, TlsInfo]:
        """The other side's flight in; (what to answer, what was agreed). Raises TlsError."""
        words = line.decode("utf-8", "replace").rstrip("\n").split(" ")
        other = "client" if self.is_server else "server"
        if words[:2] != ["\x16sim-tls", other] or len(words) < 3:
            raise TlsError("wrong version number")
        return self._answer(words[2:]) if self.is_server else (b"", self._check(words))

    def _answer(self, words: list[str]) -> tuple[bytes, TlsInfo]:
        config = self._config
        name = words[0]
        if isinstance(config, SimServerTls):
            certificate = config.choose(name)
        else:
            assert isinstance(config, ServerTls)
            # A real configuration in the simulated net: its names hold, its chain is not looked at.
            certificate = SimCertificate(tuple(config.names(config.choose(name))))
        client = self._client(words[1:])
        info = TlsInfo(
            VERSION,
            CIPHER,
            name,
            peer_certificate=client.encode() if client else b"",
            own_certificate=certificate.encode(),
            verified=client is not None,
            end_point=certificate.end_point,
            peer_addresses=client.names if client else (),
        )
        flight = f"\x16sim-tls server {','.join(certificate.names)} {certificate.authority}\n"
        return flight.encode(), info

    def _client(self, words: list[str]) -> SimCertificate | None:
        """The client's certificate, if it was asked for one and has one."""
        asked = self._config.client_authorities if isinstance(self._config, SimServerTls) else ()
        if not asked or len(words) < 2:
            return None
        if words[1] not in asked:
            raise TlsError("certificate: unable to get local issuer certificate")
        return SimCertificate(tuple(words[0].split(",")), words[1])

    def _check(self, words: list[str]) -> TlsInfo:
        config = self._config
        assert isinstance(config, (SimClientTls, ClientTls))
        certificate = SimCertificate(tuple(words[2].split(",")), words[3] if words[3:] else "")
        if config.verify:
            if isinstance(config, SimClientTls) and certificate.authority not in config.authorities:
                raise TlsError("certificate: unable to get local issuer certificate")
            if not certificate.fits(self._name):
                raise TlsError(f"certificate: hostname mismatch, not valid for {self._name!r}")
        return TlsInfo(VERSION, CIPHER, self._name, certificate.encode(), verified=config.verify)
