"""Config reception: what port 25 makes of strangers: greylisting, rates, lists, and being busy.

What a message may hold, and for whom others are greylisted, is said by policies in the store.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from estafeta.office.config_section import DAY, MINUTE, Section, about
from estafeta.office.config_types import Count, Duration, HostName, Network, Rate, Size


class Greylist(Section, frozen=True):
    """Asking unknown senders to come again, for the recipients whose policy wants it."""

    delay: Annotated[Duration, about("Who comes again sooner is asked again.")] = 5 * MINUTE
    window: Annotated[
        Duration, about("Who comes again later than this is unknown, as if for the first time.")
    ] = 2 * DAY
    keep: Annotated[
        Duration, about("Who came again is known for so long after the last message.")
    ] = 36 * DAY
    known_after: Annotated[
        Count,
        about(
            "After so many different messages that came again, whoever sent them (the organisation "
            "of the server, or its network) is not asked any more."
        ),
    ] = 5


class Rates(Section, frozen=True):
    """How much may come in on port 25, counted in recipients; over it: 450 4.7.1.

    A rate such as "100/1m" is a bucket: so many at once, and filled up again in that time. All
    workers and nodes share it.
    """

    network: Annotated[
        Rate, about("From one network (/24 of IPv4, /64 of IPv6). Empty: as many as go.")
    ] = ""
    sender_domain: Annotated[
        Rate, about("From the domain of one reverse-path. Empty: as many as go.")
    ] = ""
    account: Annotated[Rate, about("To one account of ours. Empty: as many as go.")] = ""
    unknown_recipients: Annotated[
        Rate,
        about(
            "Addresses that nobody here has, from one network; over it: 421 4.7.0. Who guesses "
            "addresses is slowed down by it. Empty: as many as go."
        ),
    ] = "200/1h"
    exempt_networks: Annotated[
        list[Network],
        about("Networks that are neither limited, nor greylisted, nor made to wait for answers."),
    ] = msgspec.field(default_factory=lambda: ["127.0.0.0/8", "::1/128"])


class DnsList(Section, frozen=True):
    """A list in the DNS that is asked about who sends (RFC 5782)."""

    zone: Annotated[HostName, about("Where it is asked.", example='"list.example.net"')]
    kind: Annotated[
        Literal["address", "domain"],
        about("What it lists: IP addresses of clients, or domains of reverse-paths."),
    ] = "address"
    means: Annotated[
        Literal["block", "allow"],
        about("`block`: what is on it is refused; `allow`: no other list nor greylisting counts."),
    ] = "block"
    answers: Annotated[
        list[Network],
        about(
            "Answers that count. Empty: all within 127.0.0.0/8 but those of 127.255.255.0/24, by "
            "which lists say that they do not answer.",
            example='["127.0.0.2/32"]',
        ),
    ] = msgspec.field(default_factory=list)


class Lists(Section, frozen=True):
    """Whom port 25 refuses, and whom it trusts. A list that does not answer refuses nobody."""

    dns: Annotated[list[DnsList], about("Lists in the DNS, `[[lists.dns]]`.")] = msgspec.field(
        default_factory=list
    )
    allow_networks: Annotated[
        list[Network], about("Clients that no list and no greylisting holds up.")
    ] = msgspec.field(default_factory=list)
    allow_domains: Annotated[
        list[str],
        about(
            "The same for servers whose confirmed name is one of these or below it.",
            example='["example.org"]',
        ),
    ] = msgspec.field(default_factory=list)
    block_networks: Annotated[list[Network], about("Clients that are refused: 554 5.7.1.")] = (
        msgspec.field(default_factory=list)
    )
    block_domains: Annotated[
        list[str],
        about(
            "Reverse-paths of these domains, or below them, are refused: 554 5.7.1.",
            example='["example.net"]',
        ),
    ] = msgspec.field(default_factory=list)
    wait_max: Annotated[
        Duration, about("A list, and the name of a client, is waited for so long.")
    ] = 3.0


class Busy(Section, frozen=True):
    """When new work is turned away with 421 or 451, while accepted work goes on."""

    units_max: Annotated[Count, about("Changes that wait for the store in one process.")] = 2000
    memory_max: Annotated[
        Size, about("Memory of one process that serves. 0: whatever there is.")
    ] = 0
    disk_free_min: Annotated[
        Size, about("Disk that must be free where `data_dir` is. 0: whatever is left.")
    ] = 64 * 1024 * 1024
