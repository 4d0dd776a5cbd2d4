"""ours: estafeta as the other sides are measured: one `estafeta serve` with everything on.

TLS is off and two networks are trusted, since smtp-source speaks neither TLS nor AUTH; the peers
are measured the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from tests.support.live import PASSWORD, Estafeta
from tests.support.peers.packages import fetch
from tests.support.peers.process import LOOPBACK

from bench import policies
from bench.contest import Result
from bench.database import Database
from bench.load import Sink
from bench.measure import Load, Run
from bench.report import ratio
from bench.side import DOMAIN, Side
from estafeta.store.open import open_file
from estafeta.world.real import real_world

TRUST: dict[str, Sequence[str]] = {
    "smtp": (
        f'plaintext_auth_networks = ["{LOOPBACK}/32"]',
        f'relay_networks = ["{LOOPBACK}/32"]',
    ),
}


@dataclass(frozen=True, slots=True)
class Form:
    """One way to run it. workers: the setting; store: "sqlite" or "postgresql". policies: with
    everything on that keeps mail out (bench/policies.py)."""

    workers: int = 1
    store: str = "sqlite"
    policies: bool = False

    @property
    def name(self) -> str:
        """As the report calls it: what differs from the usual form is said."""
        more = [] if self.store == "sqlite" else [self.store]
        if self.workers > 1:
            more.append(f"{self.workers} workers")
        if self.policies:
            more.append("every policy")
        return ", ".join(["estafeta", *more])

    def databases(self) -> list[Database]:
        """What must run for it."""
        return [Database()] if self.store == "postgresql" else []

    def settings(self, databases: Sequence[Database]) -> dict[str, Sequence[str]]:
        server = [f"workers = {self.workers}"]
        server += [f'store = "{database.url}"' for database in databases]
        return TRUST | {"server": server} | (policies.SETTINGS if self.policies else {})


def beside_all_off(forms: Sequence[Form], results: Sequence[Result]) -> dict[str, float]:
    """By the name of each form that has every policy on: its rate over that of the same without."""
    by_form = dict(zip(forms, results, strict=True))
    return {
        form.name: ratio([by_form[replace(form, policies=False)], by_form[form]])
        for form in forms
        if form.policies
    }


class _Ours(Side):
    """Estafeta in one form, and what runs beside it. sink: where all it relays goes."""

    def __init__(
        self,
        folder: Path,
        trace: Sequence[str],
        form: Form,
        accounts: Sequence[str],
        sink: Sink | None = None,
    ) -> None:
        self.name = form.name
        self.countable = form.store == "sqlite"
        self._databases = form.databases()
        self._names = policies.Names() if form.policies else None
        self._server = Estafeta(
            folder,
            accounts=accounts,
            routes={"*": (sink.host, sink.port)} if sink is not None else None,
            settings=form.settings(self._databases),
            dns=[self._names.address] if self._names is not None else (),
            trace=trace,
        )
        sinks = [sink] if sink is not None else []
        super().__init__([*self._databases, *sinks, self._server])

    def __enter__(self) -> Self:
        super().__enter__()
        if self._names is not None:
            self._stack.enter_context(self._names)
            policies.arrange(self._server.config)
        return self

    def facts(self) -> dict[str, int | str]:
        """What a writing connection to the store, opened as the server opens it, reads back; and
        that the ledger balances after all that load. Raises: DidNotHappen, if not."""
        read_back: dict[str, int | str] = {}
        for database in self._databases:
            read_back |= database.settings()
        if not self._databases:
            read_back |= asyncio.run(_pragmas(self._server.folder / "data/estafeta.db"))
        if self._names is not None:
            read_back["questions about lists"] = self._names.questions()
        self._server.command("audit")
        return {**read_back, "audit": "balances"}


class EstafetaInbound(_Ours):
    """Port 25 to mailbox."""

    def __init__(
        self,
        folder: Path,
        trace: Sequence[str] = (),
        turns: int = 2,
        form: Form = Form(),
    ) -> None:
        super().__init__(folder, trace, form, [f"turn{turn}@{DOMAIN}" for turn in range(turns)])

    def run(self, load: Load, messages: int, turn: int) -> Run:
        user = f"turn{turn}@{DOMAIN}"
        host, ports = self._server.host, self._server.ports
        return self.deliver(
            load,
            messages,
            to=(host, ports["mx"]),
            imap=(host, ports["imap"]),
            user=user,
            password=PASSWORD,
            recipient=user,
        )


class EstafetaRelay(_Ours):
    """Submission to the next server, which is smtp-sink."""

    def __init__(
        self,
        folder: Path,
        trace: Sequence[str] = (),
        form: Form = Form(),
    ) -> None:
        self._sink = Sink(fetch(), folder)
        super().__init__(folder / "e", trace, form, [f"turn@{DOMAIN}"], self._sink)

    def run(self, load: Load, messages: int, turn: int) -> Run:
        to = (self._server.host, self._server.ports["submission"])
        return self.relay(load, messages, to=to, sink=self._sink, turn=turn)


async def _pragmas(path: Path) -> dict[str, int | str]:
    store = open_file(f"sqlite://{path}", real_world(path.parent))
    try:
        return store.pragmas()
    finally:
        await store.close()
