"""Handling: what operators and senders want done to the queue, from their words to units.

Whose messages are meant is an argument of everything: `account` is whose, None is everybody's. What
belongs to somebody else does not exist.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

import msgspec
import structlog

from estafeta.mail.address import AddressError, canonical, is_ascii
from estafeta.mail.envelope import Recipient
from estafeta.queue import correct, hand, suspended
from estafeta.queue.contract import Acceptor, Prepared
from estafeta.queue.correct import Correction, is_failed, may_be_corrected
from estafeta.queue.hand import (
    Act,
    Chosen,
    Conflict,
    HandError,
    Retry,
    Touched,
    Unknown,
)
from estafeta.queue.limits import CORRECTIONS_MAX, TOUCHED_TOLD_MAX
from estafeta.queue.suspended import Drain, Suspension
from estafeta.store import ledger
from estafeta.store.bodies import Bodies, Body, BodyMissing, bring
from estafeta.store.engine import Store, StoreUncertain, Tx
from estafeta.store.ids import Ids, queue_id
from estafeta.store.ledger import Entry
from estafeta.store.rows import Acceptance
from estafeta.world.seams import Clock

log = structlog.get_logger("hand")


class Invalid(HandError):
    """What was said has not the form it must have, or cannot be meant."""


class Done(msgspec.Struct, frozen=True):
    """What came of it. counts: rows by result. recipients: the first of them, one by one."""

    counts: dict[str, int]
    recipients: list[Touched]


class Corrected(msgspec.Struct, frozen=True):
    """child: the queue id under which the message goes to the other addresses."""

    queue_id: str
    child: str
    recipients: list[Touched]


class Hand:
    """The operations, over one store. They may be called while servers run on it."""

    def __init__(
        self, store: Store, *, ids: Ids, clock: Clock, bodies: Bodies, acceptor: Acceptor
    ) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._bodies = bodies
        self._acceptor = acceptor

    # -- rows ----------------------------------------------------------------------------------

    async def touch(self, act: Act, chosen: Chosen, who: str, *, sender: int | None = None) -> Done:
        """A unit for each slice. sender: see hand.touch. Raises Unknown, Conflict: nothing fits;
        StoreError."""
        if chosen.acceptance is not None:
            await self._see(chosen.acceptance, chosen.account)
        counts: Counter[str] = Counter()
        told: list[Touched] = []
        after: tuple[int, int] | None = hand.START
        while after is not None:
            found = await self._store.read(partial(hand.find, chosen=chosen, after=after))
            after = found.next
            if not found.keys:
                break
            touched = await self._store.run(
                partial(
                    hand.touch,
                    act=act,
                    keys=found.keys,
                    who=who,
                    now=self._now(),
                    event=self._ids.next(),
                    sender=sender,
                ),
                accounts=found.accounts,
            )
            counts.update(each.result for each in touched)
            told += touched[: TOUCHED_TOLD_MAX - len(told)]
        if not counts and chosen.acceptance is not None:
            raise Conflict(_nothing_left(chosen))
        log.info("queue touched", act=type(act).__name__.lower(), who=who, **counts)
        return Done(dict(counts), told)

    async def _see(self, acceptance: int, account: int | None) -> None:
        """Raises Unknown."""
        if not await self._store.read(
            partial(hand.may_see, acceptance=acceptance, account=account)
        ):
            raise Unknown(f"there is no message {queue_id(acceptance)}")

    # -- other addresses -----------------------------------------------------------------------

    async def correct(
        self,
        acceptance: int,
        corrections: Sequence[tuple[str, str]],
        who: str,
        *,
        account: int | None = None,
        sender: int | None = None,
    ) -> Corrected:
        """corrections: (as it was, as it should be). Raises HandError, StoreError."""
        parent, entries, content = await self._message(acceptance, account)
        if not corrections:
            raise Invalid("at least one correction was expected")
        wanted: list[Correction] = []
        for was, to in corrections:
            try:
                right = canonical(to)
            except AddressError as wrong:
                raise Invalid(f"{to!r} is not an address: {wrong}") from wrong
            entry = _meant(entries, was, acceptance)
            if entry.recipient.address == right and not is_failed(entry.fate):
                raise Invalid(f"{was} is its address already")
            wanted.append(Correction(entry.n, right))
        return await self._send_again(parent, entries, content, wanted, who, sender)

    async def resend(
        self,
        acceptance: int,
        addresses: Sequence[str],
        who: str,
        *,
        account: int | None = None,
        sender: int | None = None,
    ) -> Corrected:
        """To those that failed, at the same addresses. addresses: of which; none: of all that
        failed. Raises HandError, StoreError."""
        parent, entries, content = await self._message(acceptance, account)
        if addresses:
            chosen = [_meant(entries, address, acceptance) for address in addresses]
            for entry in chosen:
                if entry.fate is None:
                    raise Conflict(f"{entry.recipient.address} has not failed: it waits")
        else:
            chosen = [entry for entry in entries if is_failed(entry.fate)]
        if not chosen:
            raise Conflict(f"nobody of {queue_id(acceptance)} has failed")
        wanted = [Correction(entry.n, entry.recipient.address) for entry in chosen]
        return await self._send_again(parent, entries, content, wanted, who, sender)

    async def _message(self, id: int, account: int | None) -> tuple[Acceptance, list[Entry], Body]:
        def unit(tx: Tx) -> tuple[Acceptance, list[Entry], Body]:
            if not hand.may_see(tx, id, account):
                raise Unknown(f"there is no message {queue_id(id)}")
            found = ledger.acceptance(tx, id)
            try:
                return found, ledger.entries(tx, id), self._bodies.content(tx, found.body)
            except BodyMissing:
                raise Conflict(f"the text of {queue_id(id)} is not kept any more") from None

        return await self._store.read(unit)

    async def _send_again(
        self,
        parent: Acceptance,
        entries: Sequence[Entry],
        content: Body,
        wanted: Sequence[Correction],
        who: str,
        sender: int | None,
    ) -> Corrected:
        if len(wanted) > CORRECTIONS_MAX:
            raise Invalid(f"at most {CORRECTIONS_MAX} recipients at once were expected")
        if len({each.n for each in wanted}) < len(wanted):
            raise Invalid("each recipient was expected once")
        for each in wanted:
            if why := may_be_corrected(entries[each.n]):
                raise Conflict(why)
        await bring(content)
        recipients = [_instead(entries[each.n].recipient, each.to) for each in wanted]
        if not all(is_ascii(each.to) for each in wanted):
            parent = msgspec.structs.replace(parent, smtputf8=True)
        child, refused = await self._acceptor.prepare_again(
            parent, recipients, content, origin="correction"
        )
        try:
            if refused or child is None:
                n, outcome = next(iter(refused.items()))
                raise Invalid(f"{recipients[n].address}: {outcome.reply}")
            touched = await self._commit(parent, wanted, child, who, sender)
        except StoreUncertain:
            assert child is not None
            child.doubted()
            raise
        except BaseException:
            if child is not None:
                child.abandoned()
            raise
        child.committed()
        log.info(
            "recipients corrected",
            queue_id=queue_id(parent.id),
            child=queue_id(child.id),
            who=who,
            recipients=[each.address for each in recipients],
        )
        return Corrected(queue_id(parent.id), queue_id(child.id), touched)

    async def _commit(
        self,
        parent: Acceptance,
        wanted: Sequence[Correction],
        child: Prepared,
        who: str,
        sender: int | None,
    ) -> list[Touched]:
        accounts = set(child.accounts)
        if parent.account is not None:
            accounts.add(parent.account)
        return await self._store.run(
            partial(
                correct.correct,
                acceptance=parent.id,
                corrections=wanted,
                child=child,
                who=who,
                now=self._now(),
                events=[self._ids.next() for _ in wanted],
                sender=sender,
            ),
            accounts=sorted(accounts),
        )

    # -- destinations --------------------------------------------------------------------------

    async def suspend(self, destination: str, reason: str, who: str) -> None:
        said = Suspension(destination, reason, who, self._now())
        await self._store.run(partial(suspended.suspend, suspension=said))
        log.info("destination suspended", destination=destination, reason=reason, who=who)

    async def resume(self, destination: str, who: str) -> None:
        """Raises Unknown."""
        if not await self._store.run(partial(suspended.resume, destination=destination)):
            raise Unknown(f"{destination} is not suspended")
        log.info("destination resumed", destination=destination, who=who)

    async def drain(self, destination: str, host: str, port: int, who: str) -> Done:
        """What waits for it is sent there at once, what comes from now on."""
        said = Drain(destination, host, port, who, self._now())
        await self._store.run(partial(suspended.drain, wanted=said))
        log.info("destination drained", destination=destination, to=f"{host}:{port}", who=who)
        chosen = Chosen(destination="" if destination == suspended.ALL else destination)
        return await self.touch(Retry(), chosen, who)

    async def undrain(self, destination: str, who: str) -> None:
        """Raises Unknown."""
        if not await self._store.run(partial(suspended.undrain, destination=destination)):
            raise Unknown(f"mail for {destination} is not drained to another host")
        log.info("destination undrained", destination=destination, who=who)

    async def standing(self) -> suspended.Standing:
        return await self._store.read(suspended.standing)

    def _now(self) -> int:
        return int(self._clock.now() * 1000)


def _meant(entries: Sequence[Entry], address: str, acceptance: int) -> Entry:
    """The recipient of that address; of several the one that can still be corrected."""
    found = [e for e in entries if e.recipient.address.lower() == address.lower()]
    if not found:
        raise Invalid(f"{address} is no recipient of {queue_id(acceptance)}")
    return min(found, key=lambda entry: may_be_corrected(entry) != "")


def _instead(was: Recipient, address: str) -> Recipient:
    """With the same wishes. What it was called before is no use to whoever reads of it now."""
    if was.address == address:
        return was
    return Recipient(address, was.notify)


def _nothing_left(chosen: Chosen) -> str:
    assert chosen.acceptance is not None
    named = f"{' and '.join(chosen.addresses)} of " if chosen.addresses else ""
    return (
        f"{named}{queue_id(chosen.acceptance)} is not in the queue; `estafeta trace` tells what "
        "became of it"
    )
