"""stand: one foreign server and one house, in all the set-ups that the cases ask for.

The instances of the foreign server are started when they are first asked for. Talk in the clear
goes through taps, which know what was really said.
"""

from __future__ import annotations

import smtplib
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from pathlib import Path

from tests.matrix.choosy import Choosy, records
from tests.matrix.house import MANY, House, Way
from tests.matrix.tap import Tap
from tests.support.peers.authority import Authority
from tests.support.peers.compare import assert_same
from tests.support.peers.names import NameServer
from tests.support.peers.process import LOOPBACK, free_port, wait_for
from tests.support.peers.server import (
    MAIL_TIMEOUT_S,
    Direction,
    Feature,
    ForeignServer,
    NextHop,
    RunningServer,
    ServerSpec,
    Tls,
)

PEER = "peer.example"
STARTTLS = "starttls.peer.example"
IMPLICIT = "implicit.peer.example"
OPPORTUNISTIC = "opportunistic.peer.example"
BARE = "bare.peer.example"
SLOW = "slow.peer.example"
SMART = "smart.example"

BUSY = "busy.peer.example"
GREY = "grey.peer.example"
RATE = "rate.peer.example"
FULL = "full.peer.example"
CLOSED = "closed.peer.example"
REFUSAL = "refusal.peer.example"
TROUBLED = (BUSY, GREY, RATE, FULL, CLOSED, REFUSAL)

CALLER = "caller.peer.example"
LISTED = "listed.peer.example"

EVA = f"eva@{PEER}"
PENGUIN = f"pingüino@{PEER}"
NOBODY = f"nadie@{PEER}"
CROWD = tuple(f"w{n:02}@{PEER}" for n in range(MANY))

LOGIN = ("estafeta", "s3cret-and-long")


class Stand:
    """One server's stand. folder: short enough for Unix sockets."""

    def __init__(self, server: ForeignServer, folder: Path, authority: Authority) -> None:
        self.server = server
        self.folder = folder
        self.authority = authority
        self.certificate = authority.issue("localhost", LOOPBACK, f"mx.{PEER}")
        self._stack = ExitStack()
        names = ("base", "smtps", "bare", "slow", "smart", *TROUBLED)
        self._ports = {name: free_port() for name in names}
        self.out = Tap(self._ports["base"])
        self.out_bare = Tap(self._ports["bare"])
        self.house = House(folder / "house", authority, self._ways(), retries={FULL: 2})
        self.back = Tap(self.house.ports["mx"])
        self.back_bare = Tap(self.house.ports["mx"])

    def _ways(self) -> list[Way]:
        ports = self._ports
        user, password = LOGIN
        login = (f'username = "{user}"', f'password = "{password}"')
        return [
            Way(PEER, self.out.port),
            Way(STARTTLS, ports["base"], "required"),
            Way(IMPLICIT, ports["smtps"], "implicit"),
            Way(OPPORTUNISTIC, ports["base"], "opportunistic"),
            Way(BARE, self.out_bare.port),
            Way(SLOW, ports["slow"]),
            Way(SMART, ports["smart"], "required", login),
            *(Way(name, ports[name]) for name in TROUBLED),
        ]

    def __enter__(self) -> Stand:
        with ExitStack() as stack:
            for part in (self.out, self.out_bare, self.back, self.back_bare, self.house):
                stack.enter_context(part)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *what: object) -> None:
        self._stack.close()

    def start(self, name: str, spec: ServerSpec) -> AbstractContextManager[RunningServer]:
        """An instance of its own, for one test."""
        return self.server.start(self.folder / name, spec)

    def _keep(self, name: str, spec: ServerSpec) -> RunningServer:
        return self._stack.enter_context(self.start(name, spec))

    @cached_property
    def base(self) -> RunningServer:
        """Everything on; in the clear, through the taps, to us."""
        people = ["eva", "pingüino", *(address.partition("@")[0] for address in CROWD)]
        spec = ServerSpec(
            hostname=f"mx.{PEER}",
            domains={
                PEER: people,
                **{name: ["eva"] for name in (STARTTLS, IMPLICIT, OPPORTUNISTIC)},
            },
            next_hop=NextHop(LOOPBACK, self.back.port),
            certificate=self.certificate,
            ca=self.authority.ca,
            smtp_port=self._ports["base"],
            smtps_port=self._ports["smtps"],
        )
        return self._keep("base", spec)

    @cached_property
    def bare(self) -> RunningServer:
        """Neither PIPELINING nor CHUNKING, offered or used."""
        spec = ServerSpec(
            hostname=f"mx.{BARE}",
            domains={BARE: ["eva"]},
            next_hop=NextHop(LOOPBACK, self.back_bare.port),
            pipelining=False,
            chunking=False,
            smtp_port=self._ports["bare"],
        )
        return self._keep("bare", spec)

    @cached_property
    def choosy(self) -> Choosy:
        """We, where not everything is taken."""
        names = self._stack.enter_context(NameServer(records(LISTED, f"mx.{CALLER}")))
        choosy = Choosy(self.folder / "choosy", self.authority, names.address)
        return self._stack.enter_context(choosy)

    @cached_property
    def door(self) -> Tap:
        """Before our port 25 there."""
        return self._stack.enter_context(Tap(self.choosy.ports["mx"]))

    @cached_property
    def caller(self) -> RunningServer:
        """Sends there in the clear, for eva of two domains, of which one is on a list."""
        spec = ServerSpec(
            hostname=f"mx.{CALLER}",
            domains={CALLER: ["eva"], LISTED: ["eva"]},
            next_hop=NextHop(LOOPBACK, self.door.port),
        )
        return self._keep("caller", spec)

    @cached_property
    def discreet(self) -> RunningServer:
        """Sends there by STARTTLS."""
        spec = ServerSpec(
            hostname=f"mx.{CALLER}",
            domains={CALLER: ["eva"]},
            next_hop=NextHop("localhost", self.choosy.ports["mx"], "starttls"),
            ca=self.authority.ca,
        )
        return self._keep("discreet", spec)

    def _secure(self, tls: Tls, port: int) -> RunningServer:
        spec = ServerSpec(
            hostname=f"mx.{PEER}",
            domains={PEER: ["eva"]},
            next_hop=NextHop("localhost", port, tls),
            ca=self.authority.ca,
        )
        return self._keep(tls, spec)

    @cached_property
    def starttls(self) -> RunningServer:
        """Sends to us by STARTTLS, or not at all."""
        return self._secure("starttls", self.house.ports["mx"])

    @cached_property
    def implicit(self) -> RunningServer:
        """Sends to us by TLS from the first octet: on submission's port, for port 25 has none."""
        return self._secure("implicit", self.house.ports["submissions"])

    def slow_spec(self, *, deferring: bool) -> ServerSpec:
        """One that has no time for eva, or has it again."""
        return ServerSpec(
            hostname=f"mx.{SLOW}",
            domains={SLOW: ["eva"]},
            answers={f"eva@{SLOW}": "450 4.2.1 Not now"} if deferring else {},
            smtp_port=self._ports["slow"],
        )

    def troubled(self, name: str, reply: str = "", *, forbidden: str = "") -> ServerSpec:
        """One that answers eva's recipients with that reply, or refuses her some attachments."""
        return ServerSpec(
            hostname=f"mx.{name}",
            domains={name: ["eva"]},
            answers={f"eva@{name}": reply} if reply else {},
            forbidden=forbidden,
            smtp_port=self._ports[name],
        )

    @cached_property
    def smarthost(self) -> RunningServer:
        """Demands a login of us."""
        spec = ServerSpec(
            hostname=f"mx.{SMART}",
            domains={SMART: ["eva"]},
            certificate=self.certificate,
            credentials=LOGIN,
            submission_port=self._ports["smart"],
        )
        return self._keep("smart", spec)

    def same(self, sent: bytes, received: bytes) -> None:
        """Fails unless `received` is `sent`, but for what this server is known to change."""
        assert_same(sent, received, may_refold=self.server.refolds)

    def why_not(self, direction: Direction, feature: Feature) -> str:
        """Why this server cannot, as declared; "" if it can."""
        return self.server.cannot.get((direction, feature), "")

    def offers(self, keyword: str) -> bool:
        """Whether the server offers us an extension where everything is on."""
        with smtplib.SMTP(self.base.host, self.base.smtp_port, timeout=MAIL_TIMEOUT_S) as client:
            client.ehlo("client.example")
            return client.has_extn(keyword)


def with_text(peer: RunningServer, recipient: str, text: bytes) -> list[bytes]:
    """Waits for messages in a mailbox of the server that have the text."""
    return wait_for(
        f"{text!r} for {recipient}",
        lambda: [message for message in peer.received(recipient) if text in message],
    )
