"""Toy TLS: names and verdicts as in the real one, nothing encrypted.

A client says `0x16 sim-tls client <name>`, a server answers with its certificate's names and
authority; from then on bytes pass as they are, so that faults can still find a final dot. Whoever
does not call `start_tls` sees that line as plaintext.
"""

from __future__ import annotations

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

    def fits(self, name: str) -> bool:
        name = name.lower().rstrip(".")
        return name in self.names or "*." + name.partition(".")[2] in self.names


@dataclass(frozen=True, slots=True)
class SimServerTls:
    """Of the certificates, the first that fits the name asked for, else the first."""

    certificates: tuple[SimCertificate, ...]

    def choose(self, name: str) -> SimCertificate:
        for certificate in self.certificates:
            if certificate.fits(name):
                return certificate
        return self.certificates[0]


@dataclass(frozen=True, slots=True)
class SimClientTls:
    """verify: the certificate must fit the name and come from one of `authorities`."""

    verify: bool
    authorities: frozenset[str] = frozenset({"sim"})


def sim_server_tls(*names: str | Sequence[str], authority: str = "sim") -> SimServerTls:
    """One certificate for each argument: a name, or several."""
    return SimServerTls(
        tuple(
            SimCertificate((name,) if isinstance(name, str) else tuple(name), authority)
            for name in names
        )
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
        return b"\x16sim-tls client %s\n" % self._name.encode()

    def receive(self, line: bytes) -> tuple[bytes, TlsInfo]:
        """The other side's flight in; (what to answer, what was agreed). Raises TlsError."""
        words = line.decode("utf-8", "replace").rstrip("\n").split(" ")
        other = "client" if self.is_server else "server"
        if words[:2] != ["\x16sim-tls", other] or len(words) < 3:
            raise TlsError("wrong version number")
        return self._answer(words[2]) if self.is_server else (b"", self._check(words))

    def _answer(self, name: str) -> tuple[bytes, TlsInfo]:
        config = self._config
        if isinstance(config, SimServerTls):
            certificate = config.choose(name)
        else:
            assert isinstance(config, ServerTls)
            # A real configuration in the simulated net: its names hold, its chain is not looked at.
            certificate = SimCertificate(tuple(config.names(config.choose(name))))
        info = TlsInfo(VERSION, CIPHER, name, b"", certificate.encode())
        flight = f"\x16sim-tls server {','.join(certificate.names)} {certificate.authority}\n"
        return flight.encode(), info

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
