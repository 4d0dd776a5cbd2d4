"""Two machines that can reach each other, over each net there is: for the contract of streams."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from estafeta.sim import loop as sim_loop
from estafeta.sim.net import Internet, SimNet
from estafeta.sim.tls import SimCertificate, SimClientTls, sim_server_tls
from estafeta.world.certificates import Authority
from estafeta.world.net import RealNet
from estafeta.world.seams import Endpoint, Net, Stream, TlsConfig
from estafeta.world.tls import client_config, server_config


@dataclass
class Pair:
    """here connects, there listens at `host`; the streams of both ends of one connection."""

    here: Net
    there: Net
    here_host: str
    host: str
    server_tls: TlsConfig
    client_tls: TlsConfig
    stranger_tls: TlsConfig  # a client that trusts another authority
    asking_tls: TlsConfig  # a server that asks for a certificate
    people_tls: TlsConfig  # a client that has one, for ana@sudominio.example
    forged_tls: TlsConfig  # a client whose one is another authority's
    names: tuple[str, str]
    holding: asyncio.Event = field(default_factory=asyncio.Event)

    async def connected(self) -> tuple[Stream, Stream]:
        """(client's stream, server's stream); the server's handler stays until `finish`."""
        arrived: asyncio.Queue[Stream] = asyncio.Queue()

        async def handler(stream: Stream) -> None:
            await arrived.put(stream)
            await self.holding.wait()

        listener = await self.there.listen(Endpoint(self.host, 0), handler)
        client = await self.here.connect(listener.endpoint)
        server = await arrived.get()
        await listener.close()
        return client, server

    async def secured(self) -> tuple[Stream, Stream]:
        client, server = await self.connected()
        await asyncio.gather(
            client.start_tls(self.client_tls, server_name=self.names[0]),
            server.start_tls(self.server_tls),
        )
        return client, server


Scenario = Callable[[Pair], Coroutine[Any, Any, None]]
Run = Callable[[Scenario], None]


def real_pair(folder: Path) -> Pair:
    authority = Authority("test authority", time.time())
    other = Authority("another authority", time.time())
    names = ("mx.sudominio.example", "mx.correo.example")
    certificates = [authority.issue([name], folder) for name in names]
    ca = authority.write(folder / "ca.pem")
    ana = "ana@sudominio.example"
    mine, forged = authority.issue([ana], folder), other.issue([ana], folder / "other")
    return Pair(
        here=RealNet(),
        there=RealNet(),
        here_host="127.0.0.1",
        host="127.0.0.1",
        server_tls=server_config(certificates),
        client_tls=client_config(verify=True, ca=ca),
        stranger_tls=client_config(verify=True, ca=other.write(folder / "other.pem")),
        asking_tls=server_config(certificates, client_ca=ca),
        people_tls=client_config(verify=True, ca=ca, own=mine),
        forged_tls=client_config(verify=True, ca=ca, own=forged),
        names=names,
    )


def real_run(folder: Path, factory: Callable[[], asyncio.AbstractEventLoop]) -> Run:
    def run(scenario: Scenario) -> None:
        async def main() -> None:
            pair = real_pair(folder)
            try:
                async with asyncio.timeout(20):
                    await scenario(pair)
            finally:
                pair.holding.set()
                await asyncio.sleep(0)

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    return run


def sim_pair(seed: int) -> Pair:
    internet = Internet(random.Random(seed))
    names = ("mx.sudominio.example", "mx.correo.example")
    return Pair(
        here=SimNet(internet, ["192.0.2.1", "2001:db8::1"]),
        there=SimNet(internet, ["192.0.2.2", "2001:db8::2"]),
        here_host="192.0.2.1",
        host="192.0.2.2",
        server_tls=sim_server_tls(*names),
        client_tls=SimClientTls(verify=True),
        stranger_tls=SimClientTls(verify=True, authorities=frozenset({"another"})),
        asking_tls=sim_server_tls(*names, client_authorities=["sim"]),
        people_tls=SimClientTls(verify=True, own=SimCertificate(("ana@sudominio.example",))),
        forged_tls=SimClientTls(
            verify=True, own=SimCertificate(("ana@sudominio.example",), "another")
        ),
        names=names,
    )


def sim_run(seed: int) -> Run:
    def run(scenario: Scenario) -> None:
        async def main() -> None:
            pair = sim_pair(seed)
            await scenario(pair)

        sim_loop.run(main(), horizon=86400.0)

    return run
