"""Internet: brings the demo's places up: certificates, settings, accounts, DNS, two processes.

Each installation is what anybody would run: `estafeta serve` with a file of its own; the files stay
in the demo's folder to be read.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from estafeta.sim.demo.places import DNS_ADDRESS, PASSWORD, PLACES, Place, Ports
from estafeta.sim.dns import DnsServer, Zones
from estafeta.world.certificates import Authority
from estafeta.world.real import real_world
from estafeta.world.seams import Endpoint

READY_SECONDS = 60.0
STOP_SECONDS = 15.0


class DemoError(Exception):
    """The demo could not be set up; the text says what failed."""


@dataclass(slots=True)
class Running:
    """One installation as a process."""

    place: Place
    config: Path
    log: Path
    process: asyncio.subprocess.Process


class Internet:
    """Enter it, and everything runs; leave it, and everything has stopped."""

    def __init__(self, folder: Path, ports: Ports) -> None:
        self.folder = folder
        self.ports = ports
        self.authority = folder / "authority.pem"
        self.running: dict[str, Running] = {}
        self.dns = DnsServer(_zones())
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        world = real_world(self.folder)
        self._stack.push_async_callback(
            (await self.dns.serve(world.net, Endpoint(DNS_ADDRESS, self.ports.dns))).close
        )
        authority = Authority("estafeta demo", world.clock.now())
        authority.write(self.authority)
        for place in PLACES:
            certificate, key = authority.issue(
                [place.host, place.domain, place.address], self.folder / place.domain
            )
            config = self.folder / place.domain / "estafeta.toml"
            config.write_text(settings(place, self.ports, certificate, key))
            await self._people(place, config)
            running = await self._stack.enter_async_context(self._serve(place, config))
            self.running[place.domain] = running

    async def _people(self, place: Place, config: Path) -> None:
        await self.command(config, "domain", "add", place.domain, "--language", place.language)
        for person in place.people:
            await self.command(
                config,
                *("account", "add", person.address, "--name", person.name),
                *("--language", place.language, "--password-stdin"),
                given=PASSWORD + "\n",
            )

    async def command(self, config: Path, *words: str, given: str = "") -> str:
        """Runs an estafeta command; returns what it printed. Raises DemoError."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "estafeta", *words, "--config", str(config)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate(given.encode())
        if process.returncode:
            raise DemoError(f"estafeta {' '.join(words)}: {errors.decode().strip()}")
        return output.decode()

    @asynccontextmanager
    async def _serve(self, place: Place, config: Path) -> AsyncIterator[Running]:
        read_end, write_end = os.pipe()
        log = config.parent / "log"
        with log.open("wb") as log_file:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "estafeta", "serve"),
                *("--config", str(config), "--ready-fd", str(write_end)),
                stdin=asyncio.subprocess.DEVNULL,
                stderr=log_file,
                pass_fds=(write_end,),
            )
        os.close(write_end)
        try:
            await _ready(read_end, process, log)
            yield Running(place, config, log, process)
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    async with asyncio.timeout(STOP_SECONDS):
                        await process.wait()
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def _ready(read_end: int, process: asyncio.subprocess.Process, log: Path) -> None:
    """Waits until the installation has opened every port."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(read_end, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        async with asyncio.timeout(READY_SECONDS):
            said = await reader.read()
    except TimeoutError:
        said = b""
    finally:
        transport.close()
    if not said:
        last = log.read_text(errors="replace").splitlines()[-3:]
        raise DemoError("an installation did not start: " + " | ".join(last))


def settings(place: Place, ports: Ports, certificate: Path, key: Path) -> str:
    """The estafeta.toml of one place."""
    doors = (
        ("mx", ports.smtp, "starttls"),
        ("submission", ports.submissions, "implicit"),
        ("submission", ports.submission, "starttls"),
        ("imap", ports.imaps, "implicit"),
        ("imap", ports.imap, "starttls"),
        ("pop3", ports.pop3s, "implicit"),
        ("pop3", ports.pop3, "starttls"),
        ("http", ports.http, "none"),
    )
    listeners = "".join(
        f'\n[[listener]]\nrole = "{role}"\naddress = "{place.address}"\nport = {port}\n'
        f'tls = "{tls}"\n'
        for role, port, tls in doors
    )
    return f"""# One of the two installations of the demo: {place.domain}
[server]
hostname = "{place.host}"
data_dir = "data"
language = "{place.language}"
postmaster = "postmaster@{place.domain}"

[log]
format = "json"

[dns]
servers = ["{DNS_ADDRESS}:{ports.dns}"]

[relay]
port = {ports.smtp}
source_ipv4 = "{place.address}"
allow_networks = ["127.0.0.0/8"]

[[tls.certificates]]
certificate = "{certificate}"
key = "{key}"
{listeners}"""


def _zones() -> Zones:
    zones: Zones = {}
    for place in PLACES:
        zones[place.domain] = {"MX": [f"10 {place.host}."]}
        zones[place.host] = {"A": [place.address]}
    return zones
