"""ours: estafeta as the other sides are measured: one `estafeta serve` with everything on.

TLS is off and two networks are trusted, since smtp-source speaks neither TLS nor AUTH; the peers
are measured the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.live import PASSWORD, Estafeta
from tests.support.peers.packages import fetch
from tests.support.peers.process import LOOPBACK, wait_for

from bench.load import Sink, send
from bench.measure import Load, Run, Stopwatch
from bench.visible import log_in, wait_visible
from estafeta.store.open import open_store
from estafeta.world.real import real_world

DOMAIN = "bench.example"
DRAIN_TIMEOUT_S = 120.0

TRUST = {
    "smtp": (
        f'plaintext_auth_networks = ["{LOOPBACK}/32"]',
        f'relay_networks = ["{LOOPBACK}/32"]',
    ),
}


class EstafetaInbound:
    """Port 25 to mailbox."""

    name = "estafeta"

    def __init__(self, folder: Path, trace: Sequence[str] = (), turns: int = 2) -> None:
        self.peers = fetch()
        accounts = [f"turn{turn}@{DOMAIN}" for turn in range(turns)]
        self._server = Estafeta(folder, accounts=accounts, settings=TRUST, trace=trace)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()

    @property
    def sessions(self) -> list[int]:
        return [self._server.session]

    def run(self, load: Load, messages: int, turn: int) -> Run:
        recipient = f"turn{turn}@{DOMAIN}"
        client = log_in(self._server.host, self._server.ports["imap"], recipient, PASSWORD)
        watch = Stopwatch(self.sessions)
        send(self.peers, (self._server.host, self._server.ports["mx"]), recipient, load, messages)
        accepted = watch.elapsed_s()
        wait_visible(client, messages)
        run = watch.run(messages, accepted)
        client.logout()
        return run

    def facts(self) -> dict[str, int | str]:
        return facts(self._server)


class EstafetaRelay:
    """Submission to the next server, which is smtp-sink."""

    name = "estafeta"

    def __init__(self, folder: Path, trace: Sequence[str] = ()) -> None:
        self.peers = fetch()
        self._sink = Sink(self.peers, folder)
        self._server = Estafeta(
            folder / "e",
            accounts=[f"turn@{DOMAIN}"],
            routes={"*": (self._sink.host, self._sink.port)},
            settings=TRUST,
            trace=trace,
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._sink)
            stack.enter_context(self._server)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def sessions(self) -> list[int]:
        return [self._server.session]

    def run(self, load: Load, messages: int, turn: int) -> Run:
        before = self._sink.count()
        watch = Stopwatch(self.sessions, [self._sink.session])
        address = (self._server.host, self._server.ports["submission"])
        send(self.peers, address, f"turn{turn}@elsewhere.example", load, messages)
        accepted = watch.elapsed_s()
        wait_for(
            f"{messages} messages at the sink",
            lambda: self._sink.count() - before >= messages,
            DRAIN_TIMEOUT_S,
        )
        return watch.run(messages, accepted)

    def facts(self) -> dict[str, int | str]:
        return facts(self._server)


def facts(server: Estafeta) -> dict[str, int | str]:
    """What a writing connection to the store, opened as the server opens it, reads back as its
    PRAGMAs; and that the ledger balances after all that load. Raises: DidNotHappen, if not."""
    path = server.folder / "data/estafeta.db"

    async def ask() -> dict[str, int | str]:
        store = await open_store(f"sqlite://{path}", real_world(path.parent))
        try:
            return store.pragmas()
        finally:
            await store.close()

    read_back = asyncio.run(ask())
    server.command("audit")
    return {**read_back, "audit": "balances"}
