"""Operations: what each route of the API does, to the messages of whose token was shown."""

from __future__ import annotations

import ipaddress
from functools import partial

import msgspec

from estafeta.explain.causes import causes
from estafeta.explain.words import pick_language
from estafeta.mail.address import AddressError, canonical_domain
from estafeta.office.api.bodies import (
    Corrections,
    Named,
    NamedWithReason,
    Several,
    SeveralWithReason,
    Where,
    Why,
)
from estafeta.office.api.call import Call, preferred, the_address, the_destination
from estafeta.office.api.errors import ApiError
from estafeta.office.assemble import Installation
from estafeta.office.journey import Journey, Story, tell
from estafeta.office.story import completed, for_sender, with_children
from estafeta.queue import hand
from estafeta.queue.hand import Act, Cancel, Chosen, Hold, Release, Retry
from estafeta.queue.handling import Corrected, Done
from estafeta.queue.limits import LISTED_MAX
from estafeta.queue.listing import STATES, Filter, Page, page
from estafeta.queue.suspended import Drain, Suspension
from estafeta.store.engine import Tx
from estafeta.store.ids import queue_id

AGE_SECONDS_MAX = 10 * 365 * 86_400
PAGE_ROWS = 100  # where nothing else is asked for


class Destinations(msgspec.Struct, frozen=True):
    """Domains to which nothing is sent, and those whose mail goes to another host."""

    suspended: list[Suspension]
    drained: list[Drain]


class Operations:
    """Over one installation. Each takes a call and returns what becomes JSON. Raises ApiError,
    HandError, StoreError."""

    def __init__(self, whole: Installation) -> None:
        self._whole = whole

    # -- looking -------------------------------------------------------------------------------

    async def list_queue(self, call: Call) -> Page:
        age = call.number("older_than", least=0, most=AGE_SECONDS_MAX, otherwise=-1)
        now = int(self._whole.world.clock.now() * 1000)
        query = call.query
        wanted = Filter(
            sender=the_address(query["sender"], "sender") if "sender" in query else "",
            recipient=the_address(query["recipient"], "recipient") if "recipient" in query else "",
            destination=(
                the_destination(query["destination"], "destination")
                if "destination" in query
                else ""
            ),
            state=call.one_of("state", STATES, f"a state: {', '.join(STATES)} was expected"),  # type: ignore[arg-type]
            cause=call.one_of("cause", causes(), "a cause of the catalogue"),
            older_than=None if age < 0 else now - age * 1000,
            account=call.bearer.account,
        )
        return await self._page(
            wanted,
            query.get("cursor", ""),
            call.number("limit", least=1, most=LISTED_MAX, otherwise=PAGE_ROWS),
        )

    async def show_message(self, call: Call) -> Page:
        await self._see(call)
        wanted = Filter(acceptance=call.id, account=call.bearer.account)
        return await self._page(
            wanted,
            call.query.get("cursor", ""),
            call.number("limit", least=1, most=LISTED_MAX, otherwise=LISTED_MAX),
        )

    async def journey(self, call: Call) -> list[Journey]:
        await self._see(call)
        whole, account = self._whole, call.bearer.account

        def unit(tx: Tx) -> list[Story]:
            found = with_children(tx, whole.bodies, [call.id])
            return found if account is None else for_sender(found, account)

        stories = [
            await completed(story, whole.store, whole.bodies)
            for story in await whole.store.read(unit)
        ]
        language = pick_language(*preferred(call.languages), whole.config.server.language)
        return [tell(story, language) for story in stories]

    async def list_suspended(self, _call: Call) -> Destinations:
        found = await self._whole.hand.standing()
        return Destinations(list(found.suspensions.values()), list(found.drains.values()))

    # -- one message ---------------------------------------------------------------------------

    async def retry_message(self, call: Call) -> Done:
        return await self._touch(call, Retry(), call.read(Named).recipients)

    async def hold_message(self, call: Call) -> Done:
        body = call.read(NamedWithReason)
        return await self._touch(call, self._hold(call, body.reason), body.recipients)

    async def release_message(self, call: Call) -> Done:
        return await self._touch(call, Release(), call.read(Named).recipients)

    async def cancel_message(self, call: Call) -> Done:
        body = call.read(NamedWithReason)
        return await self._touch(call, Cancel(_plain(body.reason)), body.recipients)

    async def correct(self, call: Call) -> Corrected:
        body = call.read(Corrections)
        pairs = [
            (the_address(each.was, "was"), the_address(each.to, "to")) for each in body.corrections
        ]
        account = call.bearer.account
        return await self._whole.hand.correct(
            call.id, pairs, call.who, account=account, sender=account
        )

    async def resend(self, call: Call) -> Corrected:
        named = [the_address(each, "recipients") for each in call.read(Named).recipients]
        account = call.bearer.account
        return await self._whole.hand.resend(
            call.id, named, call.who, account=account, sender=account
        )

    # -- several messages ----------------------------------------------------------------------

    async def retry(self, call: Call) -> Done:
        body = call.read(Several)
        return await self._touch_several(call, Retry(), body.destination, body.all)

    async def hold(self, call: Call) -> Done:
        body = call.read(SeveralWithReason)
        act = self._hold(call, body.reason)
        return await self._touch_several(call, act, body.destination, body.all)

    async def release(self, call: Call) -> Done:
        body = call.read(Several)
        return await self._touch_several(call, Release(), body.destination, body.all)

    async def cancel(self, call: Call) -> Done:
        body = call.read(SeveralWithReason)
        act = Cancel(_plain(body.reason))
        return await self._touch_several(call, act, body.destination, body.all)

    # -- destinations --------------------------------------------------------------------------

    async def suspend(self, call: Call) -> None:
        reason = _plain(call.read(Why).reason)
        await self._whole.hand.suspend(call.destination, reason, call.who)

    async def resume(self, call: Call) -> None:
        await self._whole.hand.resume(call.destination, call.who)

    async def drain(self, call: Call) -> None:
        body = call.read(Where)
        await self._whole.hand.drain(call.destination, _host(body.host), body.port, call.who)

    async def undrain(self, call: Call) -> None:
        await self._whole.hand.undrain(call.destination, call.who)

    # -- parts ---------------------------------------------------------------------------------

    async def _see(self, call: Call) -> None:
        """Raises ApiError: somebody else's does not exist."""
        look = partial(hand.may_see, acceptance=call.id, account=call.bearer.account)
        if not await self._whole.store.read(look):
            raise ApiError("not-found", f"there is no message {queue_id(call.id)}")

    async def _page(self, wanted: Filter, cursor: str, limit: int) -> Page:
        try:
            return await self._whole.store.read(
                partial(page, wanted=wanted, cursor=cursor, limit=limit)
            )
        except ValueError as wrong:
            raise ApiError("invalid", f"cursor: {str(wrong)[:200]}") from wrong

    async def _touch(self, call: Call, act: Act, recipients: list[str]) -> Done:
        chosen = Chosen(
            acceptance=call.id,
            addresses=tuple(the_address(each, "recipients") for each in recipients),
            account=call.bearer.account,
        )
        return await self._whole.hand.touch(act, chosen, call.who, sender=chosen.account)

    async def _touch_several(self, call: Call, act: Act, destination: str, all: bool) -> Done:
        if all == bool(destination):
            raise ApiError("invalid", "the body: destination or all was expected, one of them")
        chosen = Chosen(
            destination=the_destination(destination, "destination") if destination else "",
            account=call.bearer.account,
        )
        return await self._whole.hand.touch(act, chosen, call.who, sender=chosen.account)

    @staticmethod
    def _hold(call: Call, reason: str) -> Hold:
        return Hold(_plain(reason) or f"by {call.who}")


def _plain(text: str) -> str:
    """One line, without what steers a terminal or what a database cannot keep."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _host(text: str) -> str:
    """A name or an address. Raises ApiError."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        return canonical_domain(text)
    except AddressError as wrong:
        raise ApiError("invalid", f"host: a name or an address was expected: {wrong}") from wrong
