"""Stopped: accounts that send nothing because they wrote to too many, and letting them go."""

from __future__ import annotations

import msgspec

from estafeta.office.api.bodies import Nothing
from estafeta.office.api.call import Call
from estafeta.office.api.errors import ApiError
from estafeta.office.api.route import WITH_BODY, Route
from estafeta.office.api.whose import whose
from estafeta.office.assemble import Installation
from estafeta.queue import stopped as queue_stopped
from estafeta.queue.stopped import Let
from estafeta.store import accounts, stopped
from estafeta.store.engine import Tx


class StoppedSender(msgspec.Struct, frozen=True):
    """account: its address. at: since when, ms since 1970. limit: that it exceeded, as in the
    settings. held: recipients of its mail that wait for it."""

    account: str
    at: int
    limit: str
    held: int


class StoppedDesk:
    """Over one installation."""

    def __init__(self, whole: Installation) -> None:
        self._whole = whole

    async def list_stopped(self, _call: Call) -> list[StoppedSender]:
        return await self._whole.store.read(_all)

    async def release_account(self, call: Call) -> Let:
        call.read(Nothing)
        account = await whose(self._whole.store, call, call.path["account"])
        done = await queue_stopped.let_go(
            self._whole.store,
            account.id,
            ids=self._whole.ids,
            clock=self._whole.world.clock,
            who=call.who,
        )
        if not (done.was_stopped or done.released):
            raise ApiError("conflict", f"{account.address} is not stopped")
        return done


def _all(tx: Tx) -> list[StoppedSender]:
    found = []
    for each in stopped.standing(tx):
        account = accounts.account_by_id(tx, each.account)
        if account is not None:
            held = queue_stopped.count_held(tx, each.account)
            found.append(StoppedSender(account.address, each.at, each.why, held))
    return found


ROUTES = (
    Route(
        method="GET",
        path="/stopped",
        scope="admin",
        about="Accounts that send nothing because they wrote to more than `submission.limit` "
        "allows, the last ones first.",
        desk=StoppedDesk,
        handler=StoppedDesk.list_stopped,
        answer="a list",
        returns=list[StoppedSender],
        errors=("forbidden",),
    ),
    Route(
        method="POST",
        path="/stopped/{account}/release",
        scope="admin",
        about="Lets an account send again; what was held for that, and for nothing else, goes on.",
        desk=StoppedDesk,
        handler=StoppedDesk.release_account,
        answer="`{was_stopped, released}`",
        returns=Let,
        body=Nothing,
        errors=("forbidden", "not-found", "conflict", *WITH_BODY),
    ),
)
