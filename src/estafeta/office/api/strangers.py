"""Strangers: what greylisting remembers of a sender, and what lists say of one now."""

from __future__ import annotations

from functools import partial

import msgspec

from estafeta.mail.address import AddressError, canonical_domain
from estafeta.office.api.call import Call
from estafeta.office.api.errors import ApiError
from estafeta.office.api.route import Parameter, Route
from estafeta.office.assemble import Installation
from estafeta.office.strangers import Looked, look_up, who_of
from estafeta.store import greylist


class Remembered(msgspec.Struct, frozen=True):
    """who: the organisation or network. came: messages of theirs that came again; last: when the
    last one did, ms since 1970, 0 for never. waiting, passed: senders with recipients of theirs."""

    who: str
    came: int
    last: int
    waiting: int
    passed: int


class Forgotten(msgspec.Struct, frozen=True):
    """rows: so many were removed."""

    who: str
    rows: int


class StrangersDesk:
    """Over one installation."""

    def __init__(self, whole: Installation) -> None:
        self._whole = whole

    async def show_greylist(self, call: Call) -> Remembered:
        who = _who(call.query["who"])
        found = await self._whole.store.read(partial(greylist.standing, who=who))
        return Remembered(who, found.came, found.last, found.waiting, found.passed)

    async def forget_greylist(self, call: Call) -> Forgotten:
        who = _who(call.query["who"])
        rows = await self._whole.store.run(partial(greylist.forget, who=who))
        self._whole.receiving.strangers.greylist.forget()
        return Forgotten(who, rows)

    async def look_up_lists(self, call: Call) -> Looked:
        domain = _domain(call.query["domain"]) if "domain" in call.query else ""
        strangers = self._whole.receiving.strangers
        try:
            return await look_up(strangers.visitors, strangers.lists, call.query["address"], domain)
        except ValueError:
            raise ApiError("invalid", "address: an IP address was expected") from None


def _who(text: str) -> str:
    """Raises ApiError."""
    try:
        return who_of(text)
    except ValueError as wrong:  # an AddressError is one
        raise ApiError("invalid", f"who: {text[:320]!r} is nobody: {wrong}") from wrong


def _domain(text: str) -> str:
    try:
        return canonical_domain(text)
    except AddressError as wrong:
        raise ApiError("invalid", f"domain: {text[:320]!r} is not a domain: {wrong}") from wrong


_WHO = (
    Parameter(
        "who",
        "the domain of an organisation, a network (192.0.2.0/24), or an address of it",
        needed=True,
    ),
)

ROUTES = (
    Route(
        method="GET",
        path="/greylist",
        scope="admin",
        about="What greylisting remembers of an organisation or network.",
        desk=StrangersDesk,
        handler=StrangersDesk.show_greylist,
        answer="`{who, came, last, waiting, passed}`",
        returns=Remembered,
        query=_WHO,
        errors=("forbidden",),
    ),
    Route(
        method="DELETE",
        path="/greylist",
        scope="admin",
        about="Forgets them: they are strangers again; at once for the worker that is asked, for "
        "others within ten minutes.",
        desk=StrangersDesk,
        handler=StrangersDesk.forget_greylist,
        answer="`{who, rows}`",
        returns=Forgotten,
        query=_WHO,
        errors=("forbidden",),
    ),
    Route(
        method="GET",
        path="/lists",
        scope="admin",
        about="What the lists, ours and those in the DNS, say of an address now, and of a domain "
        "in the reverse-path.",
        desk=StrangersDesk,
        handler=StrangersDesk.look_up_lists,
        answer="`{address, network, name, organisation, verdict, zone, about, reason}`",
        returns=Looked,
        query=(
            Parameter("address", "an IP address", needed=True),
            Parameter("domain", "of the reverse-path"),
        ),
        errors=("forbidden",),
    ),
)
