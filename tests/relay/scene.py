"""The scene of relay tests: one relay, one route, scripted servers in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.smtp_peer import Peer
from tests.support.streams import MemoryNet, memory_world

from estafeta.mail.envelope import Envelope, Recipient
from estafeta.mail.outcome import Delivered, Outcome
from estafeta.mail.protocols import Bytes
from estafeta.relay import Job, Relay, RelaySettings, Report
from estafeta.resolve import Host, Route, RouteFailure
from estafeta.sim.loop import run
from estafeta.world.seams import Endpoint

MESSAGE = b"From: a@a.example\r\nSubject: hi\r\n\r\n.dot\r\n..\r\nbody\r\n"
FIRST = Endpoint("198.51.100.1", 25)
SECOND = Endpoint("198.51.100.2", 25)
SIX = Endpoint("2001:db8::1", 25)


class OneRoute:
    """A router that knows one route."""

    def __init__(self, route: Route | RouteFailure) -> None:
        self.answer = route

    async def route(self, domain: str) -> Route | RouteFailure:
        return self.answer


class Scene:
    def __init__(self, route: Route | RouteFailure, **settings: Any) -> None:
        self.net = MemoryNet()
        self.router = OneRoute(route)
        settings.setdefault("hello_name", "us.example")
        self.relay = Relay(
            memory_world(self.net),
            self.router,  # type: ignore[arg-type]
            RelaySettings(**settings),
        )

    def peer(self, at: Endpoint = FIRST, **says: object) -> Peer:
        peer = Peer(**says)  # type: ignore[arg-type]
        self.net.servers[at] = peer  # type: ignore[assignment]
        return peer

    async def send(self, *recipients: str, content: bytes = MESSAGE, **envelope: Any) -> Report:
        names = recipients or ("b@b.example",)
        job = Job(
            "b.example",
            Envelope("a@a.example", tuple(Recipient(name) for name in names), **envelope),
            Bytes(content),
        )
        return await self.relay.attempt(job)


ONE = Route((Host("mx.b.example", 10, (FIRST,)),))
TWO = Route((Host("mx1.b.example", 10, (FIRST,)), Host("mx2.b.example", 20, (SECOND,))))
TWO_ADDRESSES = Route((Host("mx.b.example", 10, (SIX, FIRST)),))


def play(
    act: Callable[[Scene], Awaitable[None]], route: Route | RouteFailure = ONE, **settings: Any
) -> None:
    async def main() -> None:
        scene = Scene(route, **settings)
        await act(scene)
        await scene.relay.close()

    run(main())


def short(outcome: Outcome) -> tuple[str, int, str, str]:
    cause = "" if isinstance(outcome, Delivered) else outcome.cause
    return type(outcome).__name__, outcome.reply.code, outcome.reply.status, cause


def kinds(report: Report) -> list[str]:
    return [type(outcome).__name__ for outcome in report.outcomes]


def texts(report: Report) -> str:
    return "\n".join(f"{note.kind}: {note.text}" for note in report.notes)
