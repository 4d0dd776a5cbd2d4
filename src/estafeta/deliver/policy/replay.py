"""Replay: what rules would have done with mail that is stored, before they are kept.

Promises: bounded memory, whatever is stored; nothing is written; what each message came to is
judged as port 25 would. Only what can be seen from a stored message is: its content, and whether it
came over TLS. Its recipient is taken for the account it lies in, whatever alias it came by.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import msgspec

from estafeta.deliver.policy.book import scopes_of
from estafeta.deliver.policy.change import Scope, said
from estafeta.deliver.policy.finding import Finding, Late
from estafeta.deliver.policy.inspector import Inspector
from estafeta.deliver.policy.limits import REPLAY_CASES_MAX, REPLAY_SLICE_ROWS
from estafeta.deliver.policy.rules import Effective, Rules, effective
from estafeta.mail.protocols import NoMeter
from estafeta.store import accounts, mailboxes, messages, policies
from estafeta.store.bodies import Bodies, Body, BodyMissing
from estafeta.store.engine import Store, Tx
from estafeta.store.rows import Account, Mailbox
from estafeta.world.seams import World

_OUR_OWN = ("sent", "drafts")
"""Mailboxes of these roles hold what the account itself wrote."""

Report = Callable[[int, int], None]
"""(messages behind us, messages in all)."""


class Case(msgspec.Struct, frozen=True):
    """A message that the rules judge differently. before, after: None where nothing kept it out."""

    account: str
    mailbox: str
    uid: int
    received: int
    subject: str
    before: Finding | None
    after: Finding | None


class Replayed(msgspec.Struct):
    """looked: messages of the time asked for. refused: what would have been, and was not. let_in:
    the other way round. late: not looked through in time. missing: their octets are not there.
    cases: the first `REPLAY_CASES_MAX` that differ; left_out: how many more there are.
    """

    looked: int = 0
    refused: int = 0
    let_in: int = 0
    late: int = 0
    missing: int = 0
    cases: list[Case] = []
    left_out: int = 0


async def replay(
    store: Store,
    bodies: Bodies,
    world: World,
    scope: Scope,
    rules: Rules,
    *,
    since: int,
    report: Report | None = None,
) -> Replayed:
    """What would change if `scope` said `rules`, for what it received `since` (ms since 1970)."""
    run = _Run(store, bodies, Inspector(world, NoMeter()), scope, rules, since)
    total = await store.read(run.count)
    behind = 0
    async for account in run.accounts():
        before, after = await store.read(partial(run.rules_for, account=account))
        for mailbox in await store.read(partial(mailboxes.mailboxes, account=account.id)):
            if mailbox.role not in _OUR_OWN and _differ(before, after):
                await run.mailbox(account, mailbox, before, after)
            behind += mailbox.messages
            if report is not None:
                report(behind, max(total, behind))
    return run.found


def _differ(before: Effective, after: Effective) -> bool:
    return before.content_class != after.content_class or before.tls != after.tls


class _Run:
    """One replay."""

    def __init__(
        self,
        store: Store,
        bodies: Bodies,
        inspector: Inspector,
        scope: Scope,
        rules: Rules,
        since: int,
    ) -> None:
        self._store = store
        self._bodies = bodies
        self._inspector = inspector
        self._scope = scope
        self._rules = rules
        self._since = since
        self.found = Replayed(cases=[])

    def count(self, tx: Tx) -> int:
        """Messages in all mailboxes of the scope."""
        return mailboxes.messages_of(tx, self._scope.name)

    async def accounts(self) -> AsyncIterator[Account]:
        """Those that the scope rules, in slices."""
        after = 0
        while True:
            some = await self._store.read(
                partial(
                    accounts.slice_of,
                    who=self._scope.name,
                    after=after,
                    limit=REPLAY_SLICE_ROWS,
                )
            )
            for account in some:
                yield account
            if len(some) < REPLAY_SLICE_ROWS:
                return
            after = some[-1].id

    def rules_for(self, tx: Tx, account: Account) -> tuple[Effective, Effective]:
        scopes = scopes_of(account.domain, account)
        now = [said(tx, scope) for scope in scopes]
        then = [
            self._rules if scope == self._scope.name else rules
            for scope, rules in zip(scopes, now, strict=True)
        ]
        return effective(now), effective(then)

    async def mailbox(
        self, account: Account, mailbox: Mailbox, before: Effective, after: Effective
    ) -> None:
        uid = 0
        while True:
            rows = await self._store.read(
                partial(
                    messages.rows_after,
                    account=account.id,
                    mailbox=mailbox.id,
                    uid=uid,
                    limit=REPLAY_SLICE_ROWS,
                )
            )
            for row in (each for each in rows if each.received >= self._since):
                await self._message(account, mailbox, row, before, after)
            if len(rows) < REPLAY_SLICE_ROWS:
                return
            uid = rows[-1].uid

    async def _message(
        self,
        account: Account,
        mailbox: Mailbox,
        row: messages.MessageRow,
        before: Effective,
        after: Effective,
    ) -> None:
        self.found.looked += 1

        def unit(tx: Tx) -> tuple[Body, bool] | None:
            try:
                content = messages.content(tx, self._bodies, account.id, mailbox.id, row.uid)
            except BodyMissing:
                return None
            if content is None:
                return None  # deleted meanwhile
            asked = before.tls != after.tls
            return content[1], asked and policies.came_in_clear(tx, row.body)

        found = await self._store.read(unit)
        if found is None:
            self.found.missing += 1
            return
        body, clear = found
        try:
            was = await self._judged(body, clear, before)
            would = await self._judged(body, clear, after)
        except BodyMissing:
            self.found.missing += 1
            return
        if isinstance(was, Late) or isinstance(would, Late):
            self.found.late += 1
            return
        if (was is None) == (would is None):
            return
        await self._note(account, mailbox, row, was, would)

    async def _judged(self, body: Body, clear: bool, rules: Effective) -> Finding | Late | None:
        if rules.tls and clear:
            return Finding("tls")
        return await self._inspector.look(body, rules)

    async def _note(
        self,
        account: Account,
        mailbox: Mailbox,
        row: messages.MessageRow,
        was: Finding | None,
        would: Finding | None,
    ) -> None:
        if would is not None:
            self.found.refused += 1
        else:
            self.found.let_in += 1
        if len(self.found.cases) >= REPLAY_CASES_MAX:
            self.found.left_out += 1
            return
        texts: list[tuple[Any, ...]] = await self._store.read(
            lambda tx: messages.texts_for(tx, account.id, mailbox.id, [row.uid], ["subject"])
        )
        subject = texts[0][1] if texts else ""
        self.found.cases.append(
            Case(account.address, mailbox.name, row.uid, row.received, subject, was, would)
        )
