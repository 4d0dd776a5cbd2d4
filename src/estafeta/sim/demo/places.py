"""Places: who lives in the demo's internet, at which addresses and ports.

Every port is above 1024 and on loopback, so nothing needs root. The usual ports are moved up by
2000; where one of them is taken, all move further together.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import astuple, dataclass

PASSWORD = "estafeta-demo"  # noqa: S105 - printed for everybody who runs the demo

DNS_ADDRESS = "127.0.0.1"
PORTS_FROM = 2000
PORT_STEP = 1000
PORT_STEPS_MAX = 30
"""Below 32768, where Linux begins to give out ports of its own."""


class NoPlace(Exception):
    """This machine has no room for the demo; the text says why and what to do, in one sentence."""


@dataclass(frozen=True, slots=True)
class Person:
    """quota: of the mailbox, in octets; 0 for none."""

    address: str
    name: str
    quota: int = 0

    @property
    def given_name(self) -> str:
        return self.name.partition(" ")[0]


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
PUERTO = Place(
    "puerto.example",
    "127.0.0.4",
    "es",
    (
        Person("ines@puerto.example", "Inés Vela"),
        # Not even a greeting finds room there.
        Person("hugo@puerto.example", "Hugo Sal", quota=1),
    ),
)
PLACES = (SUDOMINIO, CORREO, PUERTO)
ANA, LUIS = SUDOMINIO.people
EMMA, OLIVER = CORREO.people
INES, HUGO = PUERTO.people


def place_of(address: str) -> Place:
    """The installation of an address's domain."""
    domain = address.rpartition("@")[2]
    return next(place for place in PLACES if place.domain == domain)


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
    """The first set of which nothing is taken. Raises NoPlace."""
    for place in PLACES:
        _must_be_ours(place.address)
    for step in range(PORT_STEPS_MAX):
        up = PORTS_FROM + step * PORT_STEP
        ports = Ports(
            up + 25, up + 465, up + 587, up + 993, up + 143, up + 995, up + 110, up + 80, up + 53
        )
        if _all_free(ports):
            return ports
    last = PORTS_FROM + PORT_STEPS_MAX * PORT_STEP
    raise NoPlace(f"no set of free ports for the demo between {PORTS_FROM} and {last}")


def _must_be_ours(address: str) -> None:
    """Linux has all of 127.0.0.0/8; other systems only what was added."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            raise NoPlace(
                f"this machine does not have the loopback address {address}, which the demo needs; "
                f"on macOS `sudo ifconfig lo0 alias {address} up` adds it until the next start"
            ) from None


def _all_free(ports: Ports) -> bool:
    *listening, dns = astuple(ports)
    wanted = [(place.address, port, socket.SOCK_STREAM) for place in PLACES for port in listening]
    wanted += [(DNS_ADDRESS, dns, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
    return all(_free(*one) for one in wanted)


def _free(address: str, port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            if kind is socket.SOCK_STREAM:
                probe.listen(1)  # two may bind with SO_REUSEADDR, only one may listen
        except OSError:
            return False
    return True
