"""Troubles: every way in which a message of the demo does not arrive, or not yet; as a table.

The first ones return to their writer, the others wait; of those some arrive in the end. Who makes
the trouble is a scripted server, the third installation, or the DNS.
"""

from __future__ import annotations

from dataclasses import dataclass

from estafeta.sim.demo.places import EMMA, HUGO
from estafeta.sim.demo.scripted import Manner

RETRY_SECONDS = (1, 1, 2)
"""Between the attempts, in the demo."""

TRIES = len(RETRY_SECONDS) + 1
WAIT_SECONDS_MAX = 1
"""For a server that says nothing, in the demo."""

GREYLIST_SECONDS = 2.0

DELAY_SECONDS = 3
"""After so long the writer is told that it takes longer, in the demo."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """name: of its texts. cause: code of the catalogue. status: of the report that comes back,
    "" where the message arrives in the end. tries: how often the recipient's server is to refuse
    it, or not to answer. attachment: name of a file. meant: the address that the report is to
    name as the one that was probably meant. delayed: its writer is told first that it takes longer.
    """

    name: str
    recipient: str
    cause: str
    status: str
    tries: int
    manner: Manner | None = None
    attachment: str = ""
    meant: str = ""
    delayed: bool = False

    @property
    def domain(self) -> str:
        return self.recipient.rpartition("@")[2]

    @property
    def arrives(self) -> bool:
        return not self.status


TROUBLES = (
    Trouble(
        "invalid-domain",
        "emma@coreo.example",
        "domain-not-found",
        "5.1.2",
        0,
        meant=EMMA.address,
    ),
    Trouble("unknown-user", "ines.bela@puerto.example", "unknown-user", "5.1.1", 1),
    Trouble(
        "policy",
        "eva@cine.example",
        "policy-attachment",
        "5.7.1",
        1,
        Manner("content", "552 5.7.1 attachments of type .mov are not allowed", holding=b".mov"),
        attachment="verano.mov",
    ),
    Trouble(
        "other",
        "bartleby@cerrado.example",
        "other",
        "5.0.0",
        1,
        Manner("rcpt", "554 5.0.0 I would prefer not to"),
    ),
    Trouble(
        "busy",
        "ada@ocupado.example",
        "server-busy",
        "",
        2,
        Manner("greeting", "421 4.3.2 too busy, come back later", times=2),
    ),
    Trouble(
        "greylisting",
        "leo@gris.example",
        "greylisted",
        "",
        1,
        Manner(
            "rcpt",
            f"451 4.7.1 Greylisted, please try again in {GREYLIST_SECONDS:.0f} seconds",
            seconds=GREYLIST_SECONDS,
        ),
    ),
    Trouble(
        "rate",
        "noa@ritmo.example",
        "rate-limited",
        "",
        1,
        Manner("rcpt", "450 4.7.28 too many messages from your network, slow down", times=1),
    ),
    Trouble("full", HUGO.address, "mailbox-full", "5.2.2", TRIES, delayed=True),
    Trouble("no-mx", "noe@sinservidor.example", "no-mail-host", "5.4.4", 0, delayed=True),
    Trouble(
        "black-hole",
        "tea@agujero.example",
        "connection-lost",
        "5.4.2",
        TRIES,
        Manner("silence"),
        delayed=True,
    ),
)
SCRIPTED = tuple(trouble for trouble in TROUBLES if trouble.manner is not None)

ADDRESS_FROM = 10
"""Of 127.0.0.x, for the scripted servers, one after the other."""


def address_of(trouble: Trouble) -> str:
    """Where its scripted server listens."""
    return f"127.0.0.{ADDRESS_FROM + SCRIPTED.index(trouble)}"
