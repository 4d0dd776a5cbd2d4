"""Places: who lives in the demo's internet, at which addresses and ports.

Every port is above 1024 and on loopback, so nothing needs root. The usual ports are moved up by
2000; where one of them is taken, all move further together.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

PASSWORD = "estafeta-demo"  # noqa: S105 - printed for everybody who runs the demo

DNS_ADDRESS = "127.0.0.1"
PORT_STEP = 1000
PORT_STEPS_MAX = 40


@dataclass(frozen=True, slots=True)
class Person:
    address: str
    name: str


@dataclass(frozen=True, slots=True)
class Place:
    """One installation. language: of its people."""

    domain: str
    address: str
    language: str
    people: tuple[Person, Person]

    @property
    def host(self) -> str:
        return f"mx.{self.domain}"


SUDOMINIO = Place(
    "sudominio.example",
    "127.0.0.2",
    "es",
    (Person("ana@sudominio.example", "Ana Núñez"), Person("luis@sudominio.example", "Luis Peña")),
)
CORREO = Place(
    "correo.example",
    "127.0.0.3",
    "en",
    (Person("emma@correo.example", "Emma Wood"), Person("oliver@correo.example", "Oliver Reed")),
)
PLACES = (SUDOMINIO, CORREO)


@dataclass(frozen=True, slots=True)
class Ports:
    """The same on both installations; `dns` on DNS_ADDRESS."""

    smtp: int
    submissions: int
    submission: int
    imaps: int
    imap: int
    pop3s: int
    pop3: int
    http: int
    dns: int


def free_ports() -> Ports:
    """The first set of which nothing is taken. Raises OSError when there is none."""
    for step in range(PORT_STEPS_MAX):
        up = 2000 + step * PORT_STEP
        ports = Ports(
            up + 25, up + 465, up + 587, up + 993, up + 143, up + 995, up + 110, up + 80, up + 53
        )
        if _all_free(ports):
            return ports
    raise OSError(errno.EADDRINUSE, "no free set of ports for the demo below 42000")


def _all_free(ports: Ports) -> bool:
    listening = (
        ports.smtp,
        ports.submissions,
        ports.submission,
        ports.imaps,
        ports.imap,
        ports.pop3s,
        ports.pop3,
        ports.http,
    )
    wanted = [(place.address, port, socket.SOCK_STREAM) for place in PLACES for port in listening]
    wanted += [(DNS_ADDRESS, ports.dns, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
    return all(_free(*one) for one in wanted)


def _free(address: str, port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
