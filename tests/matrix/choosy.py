"""choosy: an estafeta that does not take everything, from those whose manner it is to take all.

Each of its accounts has one reason to refuse or to put off; which, is told by its policy, its quota
and the lists in a DNS of its own. Nobody is exempt, so that clients on loopback count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.matrix.house import House
from tests.support.peers.authority import Authority
from tests.support.peers.names import Records
from tests.support.peers.process import LOOPBACK

from estafeta.store import accounts, policies
from estafeta.store.engine import Tx

CHOOSY = "choosy.example"
NOBODY = f"nadie@{CHOOSY}"
GONE = f"baja@{CHOOSY}"
FULL = f"llena@{CHOOSY}"
FULL_FOR_GOOD = f"colmada@{CHOOSY}"
NO_FILMS = f"cine@{CHOOSY}"
SMALL = f"justa@{CHOOSY}"
GREY = f"gris@{CHOOSY}"
RATE = f"ritmo@{CHOOSY}"
BUSY = f"ocupada@{CHOOSY}"
LISTED = f"lista@{CHOOSY}"
SECRET = f"segura@{CHOOSY}"
OPEN = f"abierta@{CHOOSY}"

# Octets that a mailbox may hold which any message fills.
QUOTA = 10
PEOPLE = {
    **dict.fromkeys((GONE, NO_FILMS, SMALL, GREY, RATE, BUSY, LISTED, SECRET, OPEN), 0),
    **dict.fromkeys((FULL, FULL_FOR_GOOD), QUOTA),
}

SMALL_MAX = 4000
POLICIES: Mapping[str, Mapping[str, object]] = {
    FULL_FOR_GOOD: {"quota_full": "reject"},
    NO_FILMS: {"blocked_types": [".mov"]},
    SMALL: {"size_max": SMALL_MAX},
    GREY: {"greylist": True},
    LISTED: {"lists": True},
    SECRET: {"tls": True},
}

GREYLIST_S = 3
RATE_AT_ONCE = 2
LIST = "domains.list.example"
WHY_LISTED = "sends what nobody asked for"
SETTINGS: Mapping[str, Sequence[str]] = {
    "rates": ["exempt_networks = []", f'account = "{RATE_AT_ONCE}/10s"'],
    "greylist": [f'delay = "{GREYLIST_S}s"'],
    "lists": [f'dns = [{{ zone = "{LIST}", kind = "domain" }}]'],
}

# More than any disk has left.
ALL_DISK = "[busy]\ndisk_free_min = 1000000000000000000\n"


def records(listed: str, client: str) -> Records:
    """What its DNS knows. listed: a domain of reverse-paths. client: whose name loopback bears."""
    reverse = ".".join(reversed(LOOPBACK.split(".")))
    return {
        f"{listed}.{LIST}": {"A": ["127.0.0.2"], "TXT": [f'"{WHY_LISTED}"']},
        f"{reverse}.in-addr.arpa": {"PTR": [f"{client}."]},
        client: {"A": [LOOPBACK]},
    }


class Choosy(House):
    """dns: where its records are asked for."""

    def __init__(self, folder: Path, authority: Authority, dns: str) -> None:
        super().__init__(
            *(folder, authority, ()), domain=CHOOSY, people=PEOPLE, settings=SETTINGS, dns=[dns]
        )
        self._usual = self.config.read_text()

    def arrange(self, tx: Tx) -> None:
        gone = accounts.account(tx, GONE)
        assert gone is not None
        accounts.set_account(tx, gone.id, disabled=True)
        for address, rules in POLICIES.items():
            policies.put(tx, address, json.dumps(rules), "matrix", 0)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """For so long its disk is said to be too full for more."""
        self._again(self._usual + ALL_DISK)
        try:
            yield
        finally:
            self._again(self._usual)

    def _again(self, settings: str) -> None:
        self.stop()
        self.config.write_text(settings)
        self.start()

    def knocks(self, address: str) -> list[dict[str, Any]]:
        """Who tried to reach an account, as its owner is told."""
        found: list[dict[str, Any]] = json.loads(self.command("tried", "list", address, "--json"))
        return found
