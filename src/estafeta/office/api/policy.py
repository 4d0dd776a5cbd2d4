"""Policy: what may come in, said by administrators for any scope, and by the owner of an account
for it as far as that is theirs to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import msgspec

from estafeta.deliver.policy.book import read_rules
from estafeta.deliver.policy.change import NotYours, Scope, change, planned, said, scope_of
from estafeta.deliver.policy.check import RulesError
from estafeta.deliver.policy.replay import Replayed, replay
from estafeta.deliver.policy.rules import FIELDS, HeaderRule, LetIn, Rules, effective
from estafeta.office.api.bodies import Trial, Unset
from estafeta.office.api.call import Call, the_address, the_destination
from estafeta.office.api.errors import ApiError, Code
from estafeta.office.api.limits import TRIAL_SECONDS_MAX
from estafeta.office.api.route import WITH_BODY, Route
from estafeta.office.assemble import Installation
from estafeta.store import accounts, policies
from estafeta.store.accounts import AccountsError
from estafeta.store.engine import Tx
from estafeta.store.ledger import DAY_MS

T = TypeVar("T")

INSTALLATION = "installation"
"""The scope of all, in a path."""


class Said(msgspec.Struct, frozen=True):
    """What one scope says itself. scope: "" is the installation. at: ms since 1970."""

    scope: str
    said: dict[str, Any]
    by: str
    at: int


class Changed(msgspec.Struct, frozen=True):
    """Who said it last. at: ms since 1970."""

    by: str
    at: int


class Held(msgspec.Struct, frozen=True):
    """What holds, every field said."""

    blocked_types: tuple[str, ...]
    inside_archives: bool
    encrypted_archives: str
    size_max: int
    depth_max: int
    parts_max: int
    headers: tuple[HeaderRule, ...]
    tls: bool
    greylist: bool
    quota_full: str
    lists: bool
    help: str
    let_in: tuple[LetIn, ...]
    locked: tuple[str, ...]


class Policy(msgspec.Struct, frozen=True):
    """said: by the scope itself. effective: what holds there. said_by: who says so, of each field;
    "" for the program. changed: null where nothing was ever said."""

    scope: str
    said: dict[str, Any]
    effective: Held
    said_by: dict[str, str]
    changed: Changed | None


class PolicyDesk:
    """Over one installation."""

    def __init__(self, whole: Installation) -> None:
        self._whole = whole
        self._trying = asyncio.Lock()

    async def list_policies(self, _call: Call) -> list[Said]:
        found = await self._whole.store.read(policies.policies)
        return [Said(p.scope, _as_json(read_rules(p.rules)), p.who, p.at) for p in found]

    async def show_policy(self, call: Call) -> Policy:
        return await self._whole.store.read(lambda tx: _policy(tx, _scope(tx, call)))

    async def say_policy(self, call: Call) -> Policy:
        return await self._change(call, call.read(Rules), ())

    async def unset_policy(self, call: Call) -> Policy:
        body = call.read(Unset)
        if body.all == bool(body.fields):
            raise ApiError("invalid", "the body: fields or all was expected, one of them")
        return await self._change(call, Rules(), FIELDS if body.all else tuple(body.fields))

    async def try_policy(self, call: Call) -> Replayed:
        body = call.read(Trial)
        if body.say == Rules() and not body.unset:
            raise ApiError("invalid", "the body: say or unset was expected")
        whole = self._whole

        def plan(tx: Tx) -> tuple[Scope, Rules]:
            scope = _scope(tx, call)
            before = said(tx, scope.name)
            return scope, planned(
                tx,
                scope,
                before,
                body.say,
                unset=body.unset,
                owner=not call.bearer.is_admin,
            )

        if self._trying.locked():
            raise ApiError(
                "too-many-requests", "another policy is being tried", {"Retry-After": "5"}
            )
        async with self._trying:
            scope, rules = await self._said_wrong(whole.store.read(plan))
            since = self._now() - body.days * DAY_MS
            try:
                async with asyncio.timeout(TRIAL_SECONDS_MAX):
                    return await replay(
                        whole.store, whole.bodies, whole.world, scope, rules, since=since
                    )
            except TimeoutError:
                raise ApiError(
                    "timeout",
                    f"so much mail is not tried within {TRIAL_SECONDS_MAX:g} s: ask for fewer days",
                ) from None

    async def _change(self, call: Call, changes: Rules, unset: tuple[str, ...]) -> Policy:
        owner = not call.bearer.is_admin

        def unit(tx: Tx) -> Policy:
            scope = _scope(tx, call)
            names = _fields(scope, tx, unset, owner)
            change(tx, scope, changes, unset=names, who=call.who, now=self._now(), owner=owner)
            return _policy(tx, scope)

        return await self._said_wrong(self._whole.store.run(unit))

    @staticmethod
    async def _said_wrong(work: Awaitable[T]) -> T:
        """Raises ApiError for what cannot be said."""
        try:
            return await work
        except NotYours as wrong:
            raise ApiError("forbidden", str(wrong)) from wrong
        except RulesError as wrong:
            raise ApiError("invalid", str(wrong)) from wrong

    def _now(self) -> int:
        return int(self._whole.world.clock.now() * 1000)


def _scope(tx: Tx, call: Call) -> Scope:
    """Of the path. Raises ApiError: there is none, or it is nobody's of this token."""
    text, none = call.path["scope"], ApiError("not-found", "there is no such scope")
    if text == INSTALLATION:
        wanted = {}
    elif "@" in text:
        wanted = {"account": accounts.key(the_address(text, "the path"))}
    else:
        wanted = {"domain": the_destination(text, "the path")}
    own = call.bearer.account
    if own is not None:
        found = accounts.account_by_id(tx, own)
        if found is None or wanted.get("account") != found.address:
            raise none
    try:
        return scope_of(tx, **wanted)
    except AccountsError:
        raise none from None


def _fields(scope: Scope, tx: Tx, unset: tuple[str, ...], owner: bool) -> tuple[str, ...]:
    """Of all fields, those of which something is said: of the others nobody need be asked."""
    if unset != FIELDS or not owner:
        return unset
    rules = said(tx, scope.name)
    return tuple(name for name in FIELDS if getattr(rules, name) is not None)


def _policy(tx: Tx, scope: Scope) -> Policy:
    names = (*scope.wider, scope.name)
    rules = [said(tx, name) for name in names]
    held = effective(rules)
    last = policies.policy(tx, scope.name)
    by = {
        field: next(
            (
                Scope(name).shown
                for name, each in zip(reversed(names), reversed(rules), strict=True)
                if getattr(each, field) is not None
            ),
            "",
        )
        for field in FIELDS
    }
    return Policy(
        scope.name,
        _as_json(rules[-1]),
        Held(**{field: getattr(held, field) for field in FIELDS}),
        by,
        None if last is None else Changed(last.who, last.at),
    )


def _as_json(rules: Rules) -> dict[str, Any]:
    """Without what it does not say."""
    return {k: v for k, v in msgspec.structs.asdict(rules).items() if v is not None}


_OF_SCOPE: tuple[Code, ...] = ("forbidden", "not-found", "conflict", *WITH_BODY)

ROUTES = (
    Route(
        method="GET",
        path="/policy",
        scope="admin",
        about="Scopes that say something of what may come in, the installation first.",
        desk=PolicyDesk,
        handler=PolicyDesk.list_policies,
        answer="a list",
        returns=list[Said],
        errors=("forbidden",),
    ),
    Route(
        method="GET",
        path="/policy/{scope}",
        scope="account",
        about="What may come in there, and who says so.",
        desk=PolicyDesk,
        handler=PolicyDesk.show_policy,
        answer="`{scope, said, effective, said_by, changed}`",
        returns=Policy,
        errors=("not-found",),
    ),
    Route(
        method="PUT",
        path="/policy/{scope}",
        scope="account",
        about="Says something there; of fields that are not in the body, what was said stays. It "
        "counts within a second. A token for an account may say of it what its owner may, and "
        "nothing that a wider scope has locked.",
        desk=PolicyDesk,
        handler=PolicyDesk.say_policy,
        answer="as it is from now on",
        returns=Policy,
        body=Rules,
        errors=_OF_SCOPE,
    ),
    Route(
        method="POST",
        path="/policy/{scope}/unset",
        scope="account",
        about="Says nothing there any more of some fields, or of all: what the wider scope says "
        "holds.",
        desk=PolicyDesk,
        handler=PolicyDesk.unset_policy,
        answer="as it is from now on",
        returns=Policy,
        body=Unset,
        errors=_OF_SCOPE,
    ),
    Route(
        method="POST",
        path="/policy/{scope}/test",
        scope="account",
        about="Tries on stored mail what a change would do: what would have been refused, and what "
        "would not be any more. Nothing is kept. One at a time.",
        desk=PolicyDesk,
        handler=PolicyDesk.try_policy,
        answer="how many differ, and the first of them",
        returns=Replayed,
        body=Trial,
        errors=_OF_SCOPE,
    ),
)
