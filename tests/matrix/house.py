"""house: the estafeta that the foreign servers talk to, and what it knows of a message.

One installation with people of its own, doors for every kind of TLS, and static routes to each
instance of the foreign server. Its answers to "where is my mail?" are read from its store with the
code that `estafeta trace` uses.
"""

from __future__ import annotations

import imaplib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.live import PASSWORD, Estafeta
from tests.support.peers.authority import Authority
from tests.support.peers.process import wait_for
from tests.support.peers.server import MAIL_TIMEOUT_S, NOTHING_ASKED, Dsn, submit_by_smtp

from estafeta.office.commands.common import in_store
from estafeta.office.config import Config
from estafeta.office.journey import Journey, tell
from estafeta.office.limits import TRACE_MESSAGES_MAX
from estafeta.office.story import with_children
from estafeta.sim.installation import cheap_password
from estafeta.store import accounts
from estafeta.store.bodies import Bodies
from estafeta.store.engine import Store, Tx
from estafeta.store.ids import Ids
from estafeta.store.journey import find
from estafeta.world.seams import World

DOMAIN = "estafeta.example"
LETTERS = "letters.example"  # right side of the Message-IDs that `letter` makes
MANY = 50
ANA = f"ana@{DOMAIN}"
FULL = f"full@{DOMAIN}"
ENYE = f"ñandú@{DOMAIN}"
NOBODY = f"nadie@{DOMAIN}"
CROWD = tuple(f"u{n:02}@{DOMAIN}" for n in range(MANY))

# Octets that the mailbox of FULL may hold: below any message.
SMALL_QUOTA = 10

PEOPLE = {ANA: 0, FULL: SMALL_QUOTA, ENYE: 0, **dict.fromkeys(CROWD, 0)}
SETTINGS: Mapping[str, Sequence[str]] = {
    "queue": ['retry = ["1s"]', 'repeat = "1s"'],
    "smtp": ['relay_networks = ["127.0.0.0/8"]'],
}


@dataclass(frozen=True, slots=True)
class Way:
    """A static route: domain -> port, as `[[relay.routes]]` has it. more: further lines."""

    domain: str
    port: int
    tls: str = "none"
    more: Sequence[str] = ()


class House(Estafeta):
    """A running estafeta. ways: where mail for others goes; there is no other way out. retries:
    domain -> after how many its mail is returned; elsewhere it is tried on and on. domain: ours.
    people: addresses of it -> what their mailboxes may hold, in octets, 0 for no limit. settings,
    dns: as of `Estafeta`."""

    def __init__(
        self,
        folder: Path,
        authority: Authority,
        ways: Sequence[Way],
        retries: Mapping[str, int] | None = None,
        *,
        domain: str = DOMAIN,
        people: Mapping[str, int] = PEOPLE,
        settings: Mapping[str, Sequence[str]] = SETTINGS,
        dns: Sequence[str] = (),
    ) -> None:
        self.domain = domain
        super().__init__(
            folder,
            hostname=f"mx.{domain}",
            certificate=authority.issue("localhost", "127.0.0.1", f"mx.{domain}"),
            ca=authority.ca,
            settings=settings,
            dns=dns,
        )
        parts: list[str] = []
        for way in ways:
            lines = [f'domain = "{way.domain}"', f'hosts = ["{self.host}"]', f"port = {way.port}"]
            lines += [f'tls = "{way.tls}"', *way.more]
            parts.append("\n[[relay.routes]]\n" + "\n".join(lines) + "\n")
        self._retries = dict(retries or {})
        for domain, count in self._retries.items():
            parts.append(f'\n[[queue.domains]]\ndomain = "{domain}"\nretries_max = {count}\n')
        with self.config.open("a") as file:
            file.writelines(parts)
        self._settle(people)

    def _environment(self) -> dict[str, str]:
        # implicit TLS is verified: by what OpenSSL takes for the system's authorities
        return {**super()._environment(), "SSL_CERT_FILE": str(self.ca)}

    def _settle(self, people: Mapping[str, int]) -> None:
        """Accounts written straight into the store: fifty commands would take half a minute."""
        (self.folder / "data").mkdir()

        def unit(tx: Tx) -> None:
            accounts.add_domain(tx, self.domain, 0)
            for address, quota in people.items():
                accounts.add_account(tx, address, 0, password=cheap_password(), quota=quota)
            self.arrange(tx)

        async def work(store: Store, world: World, config: Config) -> None:
            await store.run(unit)

        in_store(self.config, work)

    def arrange(self, tx: Tx) -> None:
        """What else is to stand in the store before the first start."""

    # -- what our own people do -----------------------------------------------------------------

    def submit(
        self,
        message: bytes,
        sender: str,
        recipients: Sequence[str],
        dsn: Dsn = NOTHING_ASKED,
    ) -> None:
        """One of our people hands a message in."""
        port = self.ports["submission"]
        submit_by_smtp(self.host, port, message, sender, recipients, dsn)

    def imap(self, address: str, password: str = PASSWORD) -> imaplib.IMAP4:
        """A client that has logged in, also where the name is not ASCII."""
        context = ssl.create_default_context(cafile=str(self.ca))
        client = imaplib.IMAP4_SSL(
            "localhost", self.ports["imaps"], ssl_context=context, timeout=MAIL_TIMEOUT_S
        )
        client.authenticate("PLAIN", lambda _: f"\0{address}\0{password}".encode())
        return client

    def letters_with(self, address: str, text: str) -> list[bytes]:
        """The messages of somebody's INBOX that have an ASCII text anywhere."""
        client = self.imap(address)
        try:
            client.select("INBOX", readonly=True)
            numbers = client.search(None, "TEXT", f'"{text}"')[1][0].split()
            if not numbers:
                return []
            _, parts = client.fetch(b",".join(numbers).decode(), "(BODY.PEEK[])")
            return [part[1] for part in parts if isinstance(part, tuple)]
        finally:
            client.logout()

    def wait_letters_with(self, address: str, text: str) -> list[bytes]:
        """The same, once there is one. Raises: DidNotHappen."""
        return wait_for(
            f"{text} for {address}",
            lambda: self.letters_with(address, text),
            MAIL_TIMEOUT_S,
            self.log,
        )

    def retries(self, domain: str) -> int:
        """After how many the domain's mail is returned."""
        return self._retries[domain]

    # -- what it knows --------------------------------------------------------------------------

    def journeys(self, mark: str) -> list[Journey]:
        """Those of all acceptances of a `letter` and of what came of them, the oldest first."""

        async def work(store: Store, world: World, config: Config) -> list[Journey]:
            bodies = Bodies(world.disk, Ids(world.clock, world.dice))

            def unit(tx: Tx) -> list[Journey]:
                found = find(tx, f"<{mark}@{LETTERS}>", TRACE_MESSAGES_MAX)
                return [tell(story, "en") for story in with_children(tx, bodies, found)]

            return await store.read(unit)

        return in_store(self.config, work)

    def fates(self, mark: str) -> dict[str, str]:
        """Recipient -> fate in the ledger, or "open", of a `letter`."""
        return {
            way.recipient: way.fate
            for journey in self.journeys(mark)
            if not journey.parent
            for way in journey.recipients
        }

    def wait_fates(self, mark: str, recipients: Sequence[str]) -> dict[str, str]:
        """The fates of these recipients, once all have one. Raises: DidNotHappen."""

        def look() -> dict[str, str] | None:
            fates = self.fates(mark)
            ended = all(fates.get(recipient, "open") != "open" for recipient in recipients)
            return fates if ended else None

        return wait_for(f"fates of {mark}", look, MAIL_TIMEOUT_S, self.log)

    def wait_waiting(self, mark: str, recipient: str) -> str:
        """What the trace says of a recipient, once it was deferred. Raises: DidNotHappen."""

        def look() -> str:
            for journey in self.journeys(mark):
                for way in journey.recipients:
                    if way.recipient == recipient and way.fate == "open" and way.cause:
                        return " ".join(line for step in way.steps for line in step.lines)
            return ""

        return wait_for(f"{mark} deferred for {recipient}", look, MAIL_TIMEOUT_S, self.log)

    def said(self, mark: str) -> str:
        """All lines of the traces of a `letter`."""
        lines: list[str] = []
        for journey in self.journeys(mark):
            ways = [step for way in journey.recipients for step in way.steps]
            lines += [line for step in (*journey.steps, *ways) for line in step.lines]
        return "\n".join(lines)
