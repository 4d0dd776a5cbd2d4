"""Faults: what goes wrong on the simulated internet, as data.

A fault waits in `Internet.faults` until a connection (or datagram) fits it; `times` says for how
many. Octet counts and patterns are looked for in one direction of the stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "refuse",  # connection refused
    "black-hole",  # connect never returns
    "unreachable",  # no route to host
    "cut",  # the stream ends: `end` says how
    "silence",  # the stream stays open, nothing passes any more
    "drip",  # `octets_per_second`
    "lose",  # datagrams: lost, with `chance`
    "delay",  # datagrams: late by `seconds`, with `chance`
]


@dataclass(slots=True)
class Fault:
    """One fault.

    to, port, source: the address connected to, its port, who connects; "" and 0 mean any.
    direction: the octets looked at: "to" (those the connecting side sends) or "from".
    after: so many octets pass, then it happens; match: it happens when these octets pass, and
    before says whether the last of them still does not arrive. Neither: at the first octet.
    end: "reset", or "fin" (an end in order where none should be; without close_notify under TLS).
    times: how many connections or datagrams it meets; None for all. hits: how many it met.
    """

    kind: Kind
    to: str = ""
    port: int = 0
    source: str = ""
    direction: Literal["to", "from"] = "to"
    after: int | None = None
    match: bytes = b""
    before: bool = False
    end: Literal["reset", "fin"] = "reset"
    octets_per_second: float = 100.0
    chance: float = 1.0
    seconds: float = 1.0
    times: int | None = 1
    hits: int = 0

    def fits(self, source: str, to: str, port: int) -> bool:
        return (
            (self.times is None or self.hits < self.times)
            and self.to in ("", to)
            and self.port in (0, port)
            and self.source in ("", source)
        )

    @property
    def at_connect(self) -> bool:
        return self.kind in ("refuse", "black-hole", "unreachable")

    @property
    def in_stream(self) -> bool:
        return self.kind in ("cut", "silence", "drip")
