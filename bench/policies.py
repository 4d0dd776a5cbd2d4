"""policies: estafeta with everything on that keeps mail out, and a client that all of it lets in.

Nobody is exempt, so that loopback counts. The client's name and two lists are asked in a DNS of our
own; its network is known to greylisting; rates are high, quotas wide; each message is looked at for
types, size and a header. What is noted of refusals is on as always, with nothing to note.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.peers.process import LOOPBACK, DidNotHappen

from estafeta.deliver.policy.book import write_rules
from estafeta.deliver.policy.rules import HeaderRule, Rules
from estafeta.intake.networks import network_of
from estafeta.office.commands.common import in_store
from estafeta.office.config import Config
from estafeta.sim.dns import DnsServer, serve
from estafeta.store import accounts, greylist, policies
from estafeta.store.engine import Store, Tx
from estafeta.world.net import RealNet
from estafeta.world.seams import Endpoint, World

CLIENTS = "clients.list.example"
SENDERS = "senders.list.example"

HIGH = "100000000/1m"
WIDE = 1 << 40

SETTINGS: dict[str, Sequence[str]] = {
    "rates": (
        "exempt_networks = []",
        *(f'{name} = "{HIGH}"' for name in ("network", "sender_domain", "account")),
    ),
    "greylist": ('delay = "1s"', "known_after = 1"),
    "lists": (
        f'dns = [{{ zone = "{CLIENTS}" }}, {{ zone = "{SENDERS}", kind = "domain" }}]',
        'block_domains = ["refused.example"]',
        'block_networks = ["192.0.2.0/24"]',
    ),
    "busy": ('memory_max = "64G"',),
}

RULES = Rules(
    blocked_types=(".mov", "video/*", "executable", "macro"),
    inside_archives=True,
    encrypted_archives="refuse",
    size_max=20 * 1024 * 1024,
    depth_max=20,
    parts_max=500,
    headers=(HeaderRule("Subject", "(?i)you have won"),),
    greylist=True,
    lists=True,
)


class Names:
    """The DNS, in a thread: nobody is on the lists, and loopback has no name."""

    def __init__(self) -> None:
        self.server = DnsServer(dict.fromkeys((CLIENTS, SENDERS, "127.in-addr.arpa"), ""))
        self.address = ""
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),), daemon=True)
        self._thread.start()
        self._ready.wait()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        serving = await serve(RealNet(), Endpoint(LOOPBACK, 0), self.server)
        self.address = str(serving.endpoint)
        self._ready.set()
        await self._end.wait()
        await serving.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def questions(self) -> int:
        """About the lists. Raises DidNotHappen, if one was never asked."""
        asked = [one.name for one in self.server.log]
        for zone in (CLIENTS, SENDERS):
            if not any(name.endswith(zone) for name in asked):
                raise DidNotHappen(f"{zone} was not asked")
        return sum(name.endswith((CLIENTS, SENDERS)) for name in asked)


def arrange(config: Path) -> None:
    """What the store is to hold: the rules, quotas, and that the client came again long ago."""

    async def work(store: Store, world: World, _: Config) -> None:
        now = int(world.clock.now() * 1000)
        terms = greylist.Terms(
            delay=1000, window=greylist.DAY_MS, keep=9 * greylist.DAY_MS, known_after=1, apart=1
        )
        key = greylist.key_of(network_of(LOOPBACK), "known@client.example", "1")

        def unit(tx: Tx) -> None:
            policies.put(tx, "", write_rules(RULES), "bench", now)
            for account in accounts.accounts(tx):
                accounts.set_account(tx, account.id, quota=WIDE)
            greylist.arrive(tx, key, now - 10_000, terms)
            assert greylist.arrive(tx, key, now, terms) is None

        await store.run(unit)

    in_store(config, work)
