"""Internet: brings the demo's places up: certificates, settings, accounts, DNS, two processes.

Each installation is what anybody would run: `estafeta serve` with a file of its own; the files stay
in the demo's folder to be read. A folder that was used before keeps its people and their mail.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from estafeta.sim.demo.places import (
    DNS_ADDRESS,
    PASSWORD,
    PLACES,
    SUDOMINIO,
    Person,
    Place,
    Ports,
)
from estafeta.sim.demo.receptions import (
    DOMAIN_RULES,
    GREYLIST_SECONDS,
    HUERTA,
    HUERTA_LANGUAGE,
    PERSONS,
    RATE_AT_ONCE,
    RATE_SECONDS,
    SERVER,
)
from estafeta.sim.demo.scripted import Scripted
from estafeta.sim.demo.stores import Wish, opened
from estafeta.sim.demo.troubles import (
    DELAY_SECONDS,
    RETRY_SECONDS,
    SCRIPTED,
    WAIT_SECONDS_MAX,
    address_of,
)
from estafeta.sim.dns import DnsServer, serve
from estafeta.store import accounts, bearers, credentials, policies
from estafeta.store.engine import Tx
from estafeta.store.open import open_store
from estafeta.world.certificates import Authority, write_private
from estafeta.world.seams import Endpoint, World
from estafeta.world.tls import server_config

READY_SECONDS = 60.0
STOP_SECONDS = 15.0
LOG_LINES_SHOWN = 3

OUTCOMES = ("deferred", "refused", "delivered")
MORE = "\n# And for now:\n"


class DemoError(Exception):
    """The demo could not be set up; the text says what failed."""


@dataclass(frozen=True, slots=True)
class Installed:
    """One installation: its place, its settings, its log."""

    place: Place
    config: Path
    log: Path


class Internet:
    """Enter it, and everything runs; leave it, and everything has stopped.

    dns: the server that both installations ask; its `log` is what it was asked. authority: PEM of
    the authority that signed their certificates, for clients to trust. wish: where mail is kept.
    tokens: by which people of HUERTA ask the API of their server.
    """

    def __init__(self, folder: Path, ports: Ports, world: World, wish: Wish, workers: int) -> None:
        self.folder = folder.absolute()
        self.ports = ports
        self.world = world
        self._wish = wish
        self._workers = workers
        self.authority = self.folder / "authority.pem"
        self.installed = {
            place.domain: Installed(
                place,
                self.folder / place.domain / "estafeta.toml",
                self.folder / place.domain / "log",
            )
            for place in PLACES
        }
        self.dns = DnsServer(_zones())
        self.scripted: dict[str, Scripted] = {}
        self.tokens = {one.address: bearers.new_token(world.dice) for one in PERSONS}
        self._logged_before: dict[str, int] = {}  # octets of logs that are of other runs
        self._processes: dict[str, asyncio.subprocess.Process] = {}
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

    async def command(self, place: Place, *words: str) -> str:
        """Runs an estafeta command for one installation; returns what it printed.

        Raises DemoError.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "estafeta", *words),
            *("--config", str(self.installed[place.domain].config)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            output, errors = await process.communicate()
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise DemoError(f"estafeta {' '.join(words)}: {errors.decode().strip()}")
        return output.decode()

    async def restart(self, place: Place, more: str = "") -> None:
        """Stops an installation in order and starts it again, these lines added to its settings.

        Raises DemoError.
        """
        installed = self.installed[place.domain]
        usual = installed.config.read_text().partition(MORE)[0]
        await _stop(self._processes[place.domain])
        installed.config.write_text(f"{usual}{MORE}{more}" if more else usual)
        await self._serve(place)

    def refusals(self, recipient: str) -> list[str]:
        """What the installation of a recipient's domain has refused it with, by its own log."""
        lines = self._logged(recipient.rpartition("@")[2], '"recipient refused"')
        return [str(line["reply"]) for line in lines if line["recipient"] == recipient]

    def outcomes(self, place: Place, queue_id: str) -> list[tuple[str, str]]:
        """How the attempts at a message of one recipient ended, by the log of the installation that
        sends it: "deferred", "refused" or "delivered", and what it was answered."""
        lines = self._logged(place.domain, f'"queue_id":"{queue_id}"') if queue_id else []
        return [(line["event"], line["reply"]) for line in lines if line["event"] in OUTCOMES]

    def _logged(self, domain: str, text: str) -> list[dict[str, Any]]:
        """Lines of this run that have the text."""
        log = self.installed[domain].log.read_bytes()[self._logged_before.get(domain, 0) :]
        return [json.loads(line) for line in log.splitlines() if text.encode() in line]

    async def _start(self) -> None:
        server = await serve(self.world.net, Endpoint(DNS_ADDRESS, self.ports.dns), self.dns)
        self._stack.push_async_callback(server.close)
        authority = Authority("estafeta demo", self.world.clock.now())
        authority.write(self.authority)
        await self._serve_scripted(authority)
        stores = await self._stack.enter_async_context(opened(self._wish, self.folder))
        urls: dict[Place, str] = {}
        for place in PLACES:
            data = self.installed[place.domain].config.parent / "data"
            urls[place] = await stores.url(place, data)
            self._write_files(place, authority, urls[place])
        async with asyncio.TaskGroup() as together:
            for place, url in urls.items():
                together.create_task(self._bring_up(place, url))

    async def _serve_scripted(self, authority: Authority) -> None:
        for trouble in SCRIPTED:
            assert trouble.manner is not None
            host = f"mx.{trouble.domain}"
            tls = server_config([authority.issue([host], self.folder / "others" / trouble.domain)])
            server = self.scripted[trouble.domain] = Scripted(host, trouble.manner, tls)
            at = Endpoint(address_of(trouble), self.ports.smtp)
            listener = await server.listen(self.world.net, at)
            self._stack.push_async_callback(listener.close)

    def _write_files(self, place: Place, authority: Authority, store: str) -> None:
        installed = self.installed[place.domain]
        folder = installed.config.parent
        names = [place.host, place.domain, place.address]
        certificate, key = authority.issue(names, folder)
        installed.config.write_text(
            settings(place, self.ports, folder, store, certificate, key, self._workers)
        )
        for person in place.people:
            write_private(
                self.mutt_file(person), mutt_settings(person, place, self.ports, self.authority)
            )

    def mutt_file(self, person: Person) -> Path:
        """Settings for mutt to read that person's mail."""
        return self.folder / f"{person.given_name.lower()}.muttrc"

    async def _bring_up(self, place: Place, url: str) -> None:
        await self._people(place, url)
        await self._serve(place)

    async def _people(self, place: Place, url: str) -> None:
        """Where they are not there, does what `estafeta domain add`, `account add` and `alias add`
        do, in this process: five commands each start Python again."""
        store = await open_store(url, self.world)
        try:
            if await store.read(lambda tx: accounts.domain(tx, place.domain)) is None:
                await store.run(self._population(place))
            if place is SERVER:
                await store.run(self._receptions())
        finally:
            await store.close()

    def _population(self, place: Place) -> Callable[[Tx], None]:
        """A unit for a store that has nobody yet; making the passwords takes a while."""
        now = int(self.world.clock.now() * 1000)
        passwords = [credentials.make_password(PASSWORD, self.world.dice) for _ in place.people]

        def unit(tx: Tx) -> None:
            accounts.add_domain(tx, place.domain, now, language=place.language)
            for person, password in zip(place.people, passwords, strict=True):
                accounts.add_account(
                    tx,
                    person.address,
                    now,
                    name=person.name,
                    password=password,
                    quota=person.quota,
                )
            # RFC 5321 §4.5.1: somebody reads what is written to it; reports name it.
            accounts.add_alias(tx, f"postmaster@{place.domain}", place.people[0].address)

        return unit

    def _receptions(self) -> Callable[[Tx], None]:
        """A unit that makes the people of HUERTA, each with their reason not to take a letter; what
        came of it in another run is forgotten."""
        now = int(self.world.clock.now() * 1000)
        password = credentials.make_password(PASSWORD, self.world.dice)

        def unit(tx: Tx) -> None:
            if accounts.domain(tx, HUERTA) is None:
                accounts.add_domain(tx, HUERTA, now, language=HUERTA_LANGUAGE)
            rules = {HUERTA: DOMAIN_RULES}
            given = {bearer.name for bearer in bearers.bearers(tx)}
            for one in PERSONS:
                made = accounts.account(tx, one.address) or accounts.add_account(
                    tx, one.address, now, name=one.person, password=password
                )
                accounts.set_account(tx, made.id, quota=one.quota, disabled=one.disabled)
                if one.address in given:
                    bearers.remove(tx, one.address)
                token = self.tokens[one.address]
                bearers.add(tx, one.address, token, account=made.id, now=now)
                if one.rules:
                    rules[one.address] = one.rules
            for scope, said in rules.items():
                policies.put(tx, scope, json.dumps(said), "demo", now)
            for forgotten in ("DELETE FROM greylist", "DELETE FROM knock", "DELETE FROM admission"):
                tx.run(forgotten)

        return unit

    async def _serve(self, place: Place) -> None:
        installed = self.installed[place.domain]
        read_end, write_end = os.pipe()
        try:
            with installed.log.open("ab") as log:
                self._logged_before.setdefault(place.domain, log.tell())
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "estafeta", "serve"),
                    *("--config", str(installed.config), "--ready-fd", str(write_end)),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=log,
                    pass_fds=(write_end,),
                    # Ctrl-C is for the demo: it stops the installations in order.
                    start_new_session=True,
                    # Each believes the demo's authority where others believe the system's.
                    env={**os.environ, "SSL_CERT_FILE": str(self.authority)},
                )
        finally:
            os.close(write_end)
        self._processes[place.domain] = process
        self._stack.push_async_callback(_stop, process)
        if not await _ready(read_end):
            raise DemoError(f"{place.domain} did not start: {_last_words(installed.log)}")


def _last_words(log: Path) -> str:
    """What a server said that could not start: one sentence below its log, else the log's end."""
    lines = log.read_text(errors="replace").splitlines()
    sentences = [line for line in lines if not line.startswith("{")]
    said = " ".join(sentences[-1:] or lines[-LOG_LINES_SHOWN:])
    return said.removeprefix("estafeta: ") or "it said nothing"


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _ready(read_end: int) -> bool:
    """Waits until an installation has opened every port; False: it ended before."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(read_end, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        async with asyncio.timeout(READY_SECONDS):
            return bool(await reader.read())
    except TimeoutError:
        return False
    finally:
        transport.close()


def settings(
    place: Place,
    ports: Ports,
    folder: Path,
    store: str,
    certificate: Path,
    key: Path,
    workers: int = 1,
) -> str:
    """The estafeta.toml of one place. store: its URL."""
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
    retry = ", ".join(f'"{seconds}s"' for seconds in RETRY_SECONDS)
    return f"""# One of the three installations of the demo: {place.domain}
[server]
hostname = "{place.host}"
data_dir = {_quoted(folder / "data")}
store = {_quoted(store)}
language = "{place.language}"
workers = {workers}
postmaster = "postmaster@{place.domain}"

[log]
format = "json"

[dns]
servers = ["{DNS_ADDRESS}:{ports.dns}"]

[relay]
port = {ports.smtp}
source_ipv4 = "{place.address}"
tls = "verified"
# Mail to loopback is refused everywhere else.
allow_networks = ["127.0.0.0/8"]
wait_max = "{WAIT_SECONDS_MAX}s"

[queue]
# Elsewhere a message is tried for days.
retry = [{retry}]
retries_max = {len(RETRY_SECONDS)}
host_backoff = "1s"
host_backoff_max = "1s"

[notices]
delay_after = "{DELAY_SECONDS}s"
{_as_sender() if place is SUDOMINIO else ""}{_as_receiver() if place is SERVER else ""}
[[tls.certificates]]
certificate = {_quoted(certificate)}
key = {_quoted(key)}
{listeners}"""


def _as_sender() -> str:
    """Who waits for HUERTA is asked for as long as a demo takes."""
    return f"""
[[queue.domains]]
domain = "{HUERTA}"
retry = ["1s"]
repeat = "1s"
retries_max = 60
"""


def _as_receiver() -> str:
    """Where it is shown what is not taken, or not yet. Elsewhere these are minutes and hours."""
    return f"""
[greylist]
delay = "{GREYLIST_SECONDS}s"

[rates]
account = "{RATE_AT_ONCE}/{RATE_SECONDS}s"
# Those on loopback are strangers here, as others are elsewhere.
exempt_networks = []
"""


def mutt_settings(person: Person, place: Place, ports: Ports, authority: Path) -> bytes:
    """A muttrc: the person's mailboxes by IMAP, sending by submission, both under TLS."""
    user = person.address.replace("@", "%40")
    return f"""# mutt as {person.name}, for the demo
set realname = "{person.name}"
set from = "{person.address}"
set folder = "imaps://{user}@{place.address}:{ports.imaps}/"
set spoolfile = "+INBOX"
set record = ""
set postponed = "+Drafts"
set imap_pass = "{PASSWORD}"
set smtp_url = "smtps://{user}@{place.address}:{ports.submissions}/"
set smtp_pass = "{PASSWORD}"
set certificate_file = "{authority}"
set ssl_force_tls = yes
""".encode()


def _quoted(text: Path | str) -> str:
    """As a TOML string."""
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _zones() -> dict[str, str]:
    """What the DNS holds: for each domain an MX that names its host, and the host's address; for
    the addresses of the places their names; but one domain has neither."""
    hosts = {place.domain: place.address for place in PLACES}
    hosts |= {trouble.domain: address_of(trouble) for trouble in SCRIPTED}
    zones = {domain: f"@ MX 10 mx.{domain}.\nmx A {at}" for domain, at in hosts.items()}
    names = [f"{place.address.rpartition('.')[2]} PTR {place.host}." for place in PLACES]
    return zones | {
        HUERTA: f"@ MX 10 {SERVER.host}.",
        "0.0.127.in-addr.arpa": "\n".join(names),
        "sinservidor.example": '@ TXT "no mail here"',
    }
