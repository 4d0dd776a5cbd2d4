"""Names: who is who on the simulated internet: installations, peers, and domains of every bad kind.

The zones are what the DNS server answers from; `LASTING` are faults that it has from the beginning
and that end only when all faults end.
"""

from __future__ import annotations

from .dns import DnsFault
from .installation import Domain
from .peers import Manner

DNS_ADDRESS = "192.0.2.53"
PEOPLE_ADDRESS = "203.0.113.10"
DEAD_ADDRESS = "192.0.2.99"

SUDOMINIO = Domain(
    "sudominio.example",
    ("ana", "luis", "postmaster"),
    (
        ("todos@sudominio.example", "ana@sudominio.example"),
        ("todos@sudominio.example", "luis@sudominio.example"),
        ("todos@sudominio.example", "emma@correo.example"),
        ("todos@sudominio.example", "todos@greylist.example"),
        ("roto@sudominio.example", "roto@nowhere.example"),
    ),
)
CORREO = Domain(
    "correo.example",
    ("emma", "oliver", "postmaster"),
    (
        ("team@correo.example", "emma@correo.example"),
        ("team@correo.example", "oliver@correo.example"),
        ("team@correo.example", "ana@sudominio.example"),
    ),
)
ADDRESSES = {
    "sudominio": ("198.51.100.1", "2001:db8:1::1"),
    "correo": ("198.51.100.2",),
}
MACHINE_OF = {address: name for name, many in ADDRESSES.items() for address in many}
INSTALLATIONS = {"sudominio": SUDOMINIO, "correo": CORREO}

BY_ACCEPT = (
    "deadmx.example",
    "aliasmx.example",
    "www.web.example",
    "bare-address.example",
    "servfail.example",
    "timeout.example",
    "truncate.example",
    "lame.example",
)
"""Domains whose mail, once it finds the way, the accepting peer takes."""

MANNERS: dict[str, tuple[str, Manner, tuple[str, ...]]] = {
    "accept.example": ("192.0.2.10", Manner(), BY_ACCEPT),
    "greylist.example": ("192.0.2.11", Manner(greylists=True), ()),
    "busy.example": (
        "192.0.2.12",
        Manner(("well", "busy", "busy", "421-at-rcpt", "421-at-dot", "451-at-dot")),
        (),
    ),
    "picky.example": ("192.0.2.13", Manner(unknown="x", full="f", recipients_max=2), ()),
    "cutter.example": (
        "192.0.2.14",
        Manner(("well", "cut-in-content", "cut-before-taking", "shut", "shut-at-mail")),
        (),
    ),
    "loser.example": ("192.0.2.15", Manner(("well", "lose-reply", "reset-reply")), ()),
    "hole.example": ("192.0.2.16", Manner(("well", "mute")), ()),
    "slow.example": ("192.0.2.17", Manner(("slow",), tls=True), ()),
    "refuser.example": ("192.0.2.18", Manner(("well", "554-at-dot", "unwilling"), tls=True), ()),
    "old.example": ("192.0.2.19", Manner(extended=False, eight_bit=False), ()),
    "narrow.example": ("192.0.2.20", Manner(eight_bit=False, pipelining=False), ()),
}
"""Peers: domain -> (address, manner, further domains)."""

NOWHERE = (
    "nowhere.example",  # NXDOMAIN
    "bare.example",  # NODATA
    "null.example",
    "deadonly.example",
    "loop.example",
)
"""Domains whose mail comes back."""


def zones() -> dict[str, str]:
    found = {
        "bare.example": '@ TXT "no mail here"',
        "null.example": "@ MX 0 .",
        "deadonly.example": f"@ MX 10 mx\nmx A {DEAD_ADDRESS}",
        "deadmx.example": f"@ MX 10 mx\n@ MX 20 mx.accept.example.\nmx A {DEAD_ADDRESS}",
        "aliasmx.example": "@ MX 10 alias\nalias CNAME mx.accept.example.",
        "web.example": "www CNAME accept.example.",
        "bare-address.example": f"@ A {MANNERS['accept.example'][0]}",
        "loop.example": "@ MX 10 mx.sudominio.example.",
    }
    for domain in ("servfail", "timeout", "truncate", "lame"):
        found[f"{domain}.example"] = "@ MX 10 mx.accept.example."
    for domain, (address, _, _) in MANNERS.items():
        found[domain] = f"@ MX 10 mx\nmx A {address}"
    for name, addresses in ADDRESSES.items():
        records = [f"mx {'AAAA' if ':' in each else 'A'} {each}" for each in addresses]
        found[f"{name}.example"] = "\n".join(["@ MX 10 mx", *records])
    return found


def lasting_faults() -> list[DnsFault]:
    return [
        DnsFault("SERVFAIL", "servfail.example"),
        DnsFault("timeout", "timeout.example"),
        DnsFault("truncate", "truncate.example"),
        DnsFault("lame", "lame.example"),
    ]
