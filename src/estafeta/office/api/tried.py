"""Tried: who tried to reach an account and did not get in, or not yet; and letting them in."""

from __future__ import annotations

import msgspec

from estafeta.deliver.letting import grant
from estafeta.deliver.policy.book import Book
from estafeta.deliver.tried import why_not
from estafeta.explain.words import pick_language
from estafeta.office.api.bodies import Nothing
from estafeta.office.api.call import Call, preferred
from estafeta.office.api.errors import ApiError
from estafeta.office.api.route import PAGE, PAGING, WITH_BODY, Route
from estafeta.office.api.whose import whose
from estafeta.office.assemble import Installation
from estafeta.office.tried import LetIn, Tried, given_by, let_in_row, tried_row
from estafeta.queue.limits import LISTED_MAX
from estafeta.store import admissions, knocks
from estafeta.store.admissions import Admission, NotLetIn
from estafeta.store.engine import Tx
from estafeta.store.ids import parse_queue_id, queue_id
from estafeta.store.knocks import Knock
from estafeta.store.rows import Account

PAGE_ROWS = 100  # where nothing else is asked for


class TriedPage(msgspec.Struct, frozen=True):
    """next: the cursor of the page behind, "" where this is the last."""

    rows: list[Tried]
    next: str


class TriedDesk:
    """Over one installation."""

    def __init__(self, whole: Installation) -> None:
        self._whole = whole

    async def list_tried(self, call: Call) -> TriedPage:
        owner = await self._owner(call)
        limit = call.number("limit", least=1, most=LISTED_MAX, otherwise=PAGE_ROWS)
        before = _before(call.query.get("cursor", ""))
        language = self._language(call, owner)

        def unit(tx: Tx) -> TriedPage:
            given = given_by(tx, owner)
            found = knocks.knocks(tx, owner.id, limit=limit + 1, before=before)
            rows = [tried_row(each, owner, given.get(each.id), language) for each in found[:limit]]
            last = found[limit - 1] if len(found) > limit else None
            return TriedPage(rows, "" if last is None else f"{last.last}.{queue_id(last.id)}")

        return await self._whole.store.read(unit)

    async def show_tried(self, call: Call) -> Tried:
        owner, number = await self._owner(call), _number(call)
        language = self._language(call, owner)

        def unit(tx: Tx) -> Tried:
            found = _knock(tx, owner, number)
            return tried_row(found, owner, given_by(tx, owner).get(found.id), language)

        return await self._whole.store.read(unit)

    async def let_in(self, call: Call) -> LetIn:
        call.read(Nothing)
        owner, number = await self._owner(call), _number(call)
        whole = self._whole

        def unit(tx: Tx) -> Admission | tuple[NotLetIn, str]:
            found = _knock(tx, owner, number)
            try:
                return grant(
                    tx,
                    Book(whole.world.clock),
                    owner,
                    number,
                    int(whole.world.clock.now() * 1000),
                    id=whole.ids.next(),
                    size_max=whole.config.smtp.size_max,
                )
            except NotLetIn as refused:
                return refused, found.cause

        made = await whole.store.run(unit, accounts=(owner.id,))
        if isinstance(made, Admission):
            return let_in_row(made)
        refused, cause = made
        raise ApiError("conflict", why_not(refused, self._language(call, owner), cause=cause))

    async def shut_out(self, call: Call) -> None:
        owner, number = await self._owner(call), _number(call)
        gone = await self._whole.store.run(
            lambda tx: admissions.revoke(tx, owner.id, number), accounts=(owner.id,)
        )
        if not gone:
            raise ApiError(
                "not-found", "nobody is let in for that row, or somebody came in already"
            )

    async def _owner(self, call: Call) -> Account:
        return await whose(self._whole.store, call, call.path["account"])

    def _language(self, call: Call, owner: Account) -> str:
        return pick_language(
            *preferred(call.languages), owner.language, self._whole.config.server.language
        )


def _number(call: Call) -> int:
    try:
        return parse_queue_id(call.path["row"])
    except ValueError:
        raise ApiError("not-found", "there is no such row") from None


def _before(cursor: str) -> tuple[int, int] | None:
    """Raises ApiError."""
    if not cursor:
        return None
    last, _, id = cursor.partition(".")
    try:
        if not (last.isascii() and last.isdigit() and len(last) <= 15):
            raise ValueError
        return int(last), parse_queue_id(id)
    except ValueError:
        raise ApiError("invalid", "cursor: that of a page was expected") from None


def _knock(tx: Tx, owner: Account, number: int) -> Knock:
    found = knocks.knock(tx, owner.id, number)
    if found is None:
        raise ApiError("not-found", "there is no such row")
    return found


_TRIED = "/accounts/{account}/tried"

ROUTES = (
    Route(
        method="GET",
        path=_TRIED,
        scope="account",
        about="Who tried to reach an account within 30 days and did not get in, or not yet; the "
        "last ones first.",
        desk=TriedDesk,
        handler=TriedDesk.list_tried,
        answer=PAGE,
        returns=TriedPage,
        query=PAGING,
        errors=("not-found",),
        in_language=True,
    ),
    Route(
        method="GET",
        path=f"{_TRIED}/{{row}}",
        scope="account",
        about="All that is known of one row.",
        desk=TriedDesk,
        handler=TriedDesk.show_tried,
        answer="the row",
        returns=Tried,
        errors=("not-found",),
        in_language=True,
    ),
    Route(
        method="POST",
        path=f"{_TRIED}/{{row}}/let-in",
        scope="account",
        about="Lets the next message of that sender in: one, within 7 days, where the policy "
        "leaves that to the owner.",
        desk=TriedDesk,
        handler=TriedDesk.let_in,
        answer="who comes in, and until when",
        returns=LetIn,
        body=Nothing,
        errors=("not-found", "conflict", *WITH_BODY),
        in_language=True,
    ),
    Route(
        method="DELETE",
        path=f"{_TRIED}/{{row}}/let-in",
        scope="account",
        about="Takes that back, where nobody has used it.",
        desk=TriedDesk,
        handler=TriedDesk.shut_out,
        answer="nothing",
        status=204,
        errors=("not-found",),
    ),
)
