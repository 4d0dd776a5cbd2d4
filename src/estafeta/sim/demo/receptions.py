"""Receptions: every reason for which an installation of the demo does not take a message, or not
yet; as a table. Each of its people has one: by a policy, a quota, a limit or the server's state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from estafeta.sim.demo.places import CORREO

HUERTA = "huerta.example"
"""The domain for which this is so, beside its own, at the server of CORREO."""

HUERTA_LANGUAGE = "es"

GREYLIST_SECONDS = 2
RATE_AT_ONCE = 3
RATE_SECONDS = 6
"""Of the server: so many to one account at once, and filled up again in that time. No other letter
of the demo comes near it."""

SIZE_MAX = 3_000
"""Octets, for the one who takes only small letters."""

LARGE_OCTETS = 8_000

DOMAIN_RULES: Mapping[str, object] = {
    "greylist": True,
    "let_in": ["greylist", "rate", "type", "size"],
}
"""What the policy of the domain says; people's own may say otherwise."""


@dataclass(frozen=True, slots=True)
class Reception:
    """name: of its texts. person: of HUERTA's people, "" for nobody. begins: code and status of the
    answer. cause: code of the catalogue. arrives: in the end, when it is tried again. names: what
    the answer is to name.

    rules: of the person's own policy. quota: of the mailbox, in octets. disabled: the account is.
    busy: the server is. letters: how many are sent; the last of them is not taken at first.
    attachment, size: of the letter. told: the person finds it in the list of who tried. let_in:
    and lets the sender in from there.
    """

    name: str
    person: str
    begins: str
    cause: str
    arrives: bool = False
    names: str = ""
    rules: Mapping[str, object] = field(default_factory=dict)
    quota: int = 0
    disabled: bool = False
    busy: bool = False
    letters: int = 1
    attachment: str = ""
    size: int = 0
    told: bool = True
    let_in: bool = False

    @property
    def address(self) -> str:
        return f"{self.person or 'nadie'}@{HUERTA}".lower()


AT_ONCE: Mapping[str, object] = {"greylist": False}

RECEPTIONS = (
    Reception("unknown-user", "", "550 5.1.1", "unknown-user", told=False),
    Reception(
        "disabled",
        "Amparo",
        "550 5.2.1",
        "mailbox-disabled",
        rules=AT_ONCE,
        disabled=True,
        told=False,
    ),
    Reception("full", "Lola", "452 4.2.2", "mailbox-full", arrives=True, rules=AT_ONCE, quota=1),
    Reception(
        "full-for-good",
        "Paco",
        "552 5.2.2",
        "mailbox-full",
        rules={**AT_ONCE, "quota_full": "reject"},
        quota=1,
    ),
    Reception(
        "film",
        "Nuria",
        "554 5.7.1",
        "policy-attachment",
        names="verano.mov",
        rules={**AT_ONCE, "blocked_types": [".mov"]},
        attachment="verano.mov",
        let_in=True,
    ),
    Reception(
        "too-big",
        "Blas",
        "552 5.3.4",
        "message-too-large",
        rules={**AT_ONCE, "size_max": SIZE_MAX},
        size=LARGE_OCTETS,
        let_in=True,
    ),
    Reception("greylisting", "Vera", "451 4.7.1", "greylisted", arrives=True),
    Reception(
        "rate",
        "Rita",
        "450 4.7.1",
        "rate-limited",
        arrives=True,
        rules=AT_ONCE,
        letters=RATE_AT_ONCE + 1,
    ),
    Reception(
        "busy",
        "Pilar",
        "421 4.3.2",
        "server-busy",
        arrives=True,
        rules=AT_ONCE,
        busy=True,
        told=False,
    ),
)

SERVER = CORREO
PERSONS = tuple(one for one in RECEPTIONS if one.person)
