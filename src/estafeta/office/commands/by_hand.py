"""By hand: what commands that touch the queue share: who does it, whose messages, the hand."""

from __future__ import annotations

import os
import pwd
from collections.abc import Awaitable, Callable
from typing import TypeVar

from estafeta.mail.address import AddressError, canonical
from estafeta.office.commands.common import ConfigOption, in_store, the_address, the_domain
from estafeta.office.config import Config
from estafeta.office.errors import CommandError, UsageMistake
from estafeta.office.logs import set_up_logs
from estafeta.queue.hand import HandError
from estafeta.queue.handling import Hand
from estafeta.queue.limits import REASON_CHARACTERS_MAX
from estafeta.queue.suspended import ALL
from estafeta.store import accounts
from estafeta.store.engine import Store, Tx
from estafeta.world.seams import World

T = TypeVar("T")

Work = Callable[[Hand, int | None], Awaitable[T]]
"""hand, account -> what came of it. account: whose messages; None: everybody's."""


def with_hand(config: ConfigOption, mine: str | None, work: Work[T]) -> T:
    """Runs `work` over the store. Raises CommandError where it cannot be done."""
    # Every room at once is dear to import; commands that only look do without.
    from estafeta.mail.protocols import NoMeter
    from estafeta.office.assemble import Installation, Outside
    from estafeta.world.seams import Endpoint

    async def with_store(store: Store, world: World, loaded: Config) -> T:
        set_up_logs(loaded.log.format, "warning")  # what is done is told by the command itself
        account = await store.read(lambda tx: the_account(tx, mine))
        nobody = Outside((Endpoint("127.0.0.1", 53),))  # nothing is asked of the DNS here
        return await work(Installation(loaded, world, store, nobody, NoMeter()).hand, account)

    try:
        return in_store(config, with_store)
    except HandError as why_not:
        raise CommandError(str(why_not)) from why_not


def operator() -> str:
    """Who types, as it stands in the journey."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = f"user {number}"
    return f"{name} (command line)"


def the_account(tx: Tx, mine: str | None) -> int | None:
    """Whose messages are meant; None: everybody's. Raises CommandError."""
    if mine is None:
        return None
    address = the_address(mine)
    found = accounts.account(tx, address)
    if found is None:
        raise CommandError(f"there is no account {address} here")
    return found.id


def the_recipient(text: str) -> str:
    """An address as envelopes have it: canonical, the local part as written."""
    try:
        address = canonical(text)
    except AddressError as wrong:
        raise UsageMistake(f'"{text}" is not an address: {wrong}') from wrong
    if "@" not in address:
        raise UsageMistake(f'"{text}" is not an address: a domain after @ was expected')
    return address


def the_destination(text: str) -> str:
    """A domain, an address literal, or `*` for all."""
    return text if text == ALL else the_domain(text)


def the_reason(text: str) -> str:
    reason = " ".join(text.split())
    if len(reason) > REASON_CHARACTERS_MAX:
        raise UsageMistake(f"a reason of at most {REASON_CHARACTERS_MAX} characters was expected")
    return reason
