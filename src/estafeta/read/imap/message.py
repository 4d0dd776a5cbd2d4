"""message: the commands on messages of the selected mailbox (RFC 3501 §6.4), MOVE (RFC 6851)."""

from __future__ import annotations

from array import array
from typing import Literal

from estafeta.read.imap import fetch, forms, queries
from estafeta.read.imap.search import Search
from estafeta.read.imap.session import Refusal, Session
from estafeta.read.imap.view import View, batches
from estafeta.read.limits import CHANGES_AT_ONCE
from estafeta.store import flags as bits
from estafeta.store import mailboxes, messages
from estafeta.store.engine import Tx
from estafeta.store.messages import Copied, MessageRow
from estafeta.wire.imap import commands as a
from estafeta.wire.imap.commands import SequenceSet
from estafeta.wire.imap.responses import number_set

_ISSUED = "EXPUNGEISSUED"


def _uids(view: View, numbers: SequenceSet, *, uid: bool) -> array[int]:
    spans = view.spans(numbers, uid=uid)
    if spans is None:
        raise Refusal("there are not so many messages", bad=True)
    return view.select(spans)


async def fetch_messages(s: Session, c: a.Fetch) -> None:
    """FETCH and UID FETCH."""
    view = s.selected
    uids = _uids(view, c.numbers, uid=c.uid)
    plan = fetch.Plan.of(c.items, uid=c.uid)
    whole = await fetch.fetch(s.store, s.house.bodies, view, plan, uids, s.send)
    await s.sync(expunge=c.uid)
    s.machine.ok(c.tag, "done", "" if whole else _ISSUED)


async def store(s: Session, c: a.StoreFlags) -> None:
    """STORE and UID STORE."""
    view = s.writable()
    uids = _uids(view, c.numbers, uid=c.uid)
    flags, keywords = forms.to_store(c.flags)
    whole = True
    for batch in batches(uids, CHANGES_AT_ONCE):
        modseq, rows = await s.write(
            lambda tx, b=batch: _store(tx, view, b, c.mode, flags, keywords, c.silent)  # type: ignore[misc]
        )
        view.own.add(modseq)
        if c.silent:
            continue
        if len(rows) < len(batch):
            whole = False
        await s.send(fetch.flag_lines(view, rows, uid=c.uid))
    await s.sync(expunge=c.uid)
    s.machine.ok(c.tag, "done", "" if whole else _ISSUED)


def _store(
    tx: Tx,
    view: View,
    uids: array[int],
    mode: Literal["set", "add", "remove"],
    flags: int,
    keywords: frozenset[str],
    silent: bool,
) -> tuple[int, list[MessageRow]]:
    """(modseq of the change, rows to be told: all that were named)."""
    result = messages.store_flags(
        tx, view.account, view.id, uids, mode=mode, flags=flags, keywords=keywords, echo=not silent
    )
    if silent or len(result.changed) == len(uids):
        return result.modseq, result.changed
    return result.modseq, messages.rows_for(tx, view.account, view.id, uids)


async def copy(s: Session, c: a.Copy) -> None:
    """COPY (RFC 3501 §6.4.7), MOVE (RFC 6851), with COPYUID (RFC 4315)."""
    view = s.writable() if c.move else s.selected
    uids = _uids(view, c.numbers, uid=c.uid)
    if not uids:
        await s.sync(expunge=True)
        s.machine.ok(c.tag, "there was nothing to do")
        return

    def unit(tx: Tx) -> Copied:
        box = mailboxes.mailbox_by_name(tx, s.owner, c.mailbox)
        if box is None:
            raise Refusal("there is no such mailbox, create it first", "TRYCREATE")
        if c.move:
            return messages.move(tx, s.owner, view.id, uids, box.id)
        used, quota = messages.quota(tx, s.owner)
        if quota:
            rows = messages.rows_for(tx, s.owner, view.id, uids)
            if used + sum(row.size for row in rows) > quota:
                raise Refusal("the account has no room for the copies", "OVERQUOTA")
        return messages.copy(tx, s.owner, view.id, uids, box.id)

    # All or nothing (RFC 3501 §6.4.7): one unit.
    copied = await s.write(unit)
    pairs = copied.uids
    code = ""
    if pairs:
        source = number_set(old for old, _ in pairs).decode("ascii")
        target = number_set(new for _, new in pairs).decode("ascii")
        code = f"COPYUID {copied.uidvalidity} {source} {target}"
    whole = len(pairs) == len(uids)
    if c.move:
        # RFC 6851 §4.3: COPYUID in an untagged OK, before the EXPUNGEs.
        if code:
            s.machine.ok(b"*", "moved", code)
        await s.sync(expunge=True)
        s.machine.ok(c.tag, "done", "" if whole else _ISSUED)
        return
    await s.sync(expunge=True)
    if whole or pairs:
        s.machine.ok(c.tag, "done", code)
    else:
        s.machine.no(c.tag, "the messages are expunged", _ISSUED)


async def expunge(s: Session, c: a.Expunge) -> None:
    """EXPUNGE, and UID EXPUNGE (RFC 4315)."""
    view = s.writable()
    await _expunge(s, view, c.uids)
    await s.sync(expunge=True)
    s.machine.ok(c.tag, "done")


async def _expunge(s: Session, view: View, numbers: SequenceSet | None) -> None:
    uids = view.uids[: view.count] if numbers is None else _uids(view, numbers, uid=True)
    if not uids:
        return
    low, high = uids[0], uids[-1]
    marked = await s.store.read(lambda tx: queries.deleted(tx, view.account, view.id, low, high))
    if numbers is not None:
        wanted = set(uids)
        marked = array("I", (uid for uid in marked if uid in wanted))
    for batch in batches(marked, CHANGES_AT_ONCE):

        def unit(tx: Tx, batch: array[int] = batch) -> None:
            # Another session may have taken \\Deleted back since.
            rows = messages.rows_for(tx, view.account, view.id, batch)
            still = [row.uid for row in rows if row.flags & bits.DELETED]
            messages.expunge(tx, view.account, view.id, still)

        await s.write(unit)


async def close(s: Session, c: a.Close) -> None:
    """RFC 3501 §6.4.2: expunges without a word, unless read-only."""
    view = s.selected
    if not view.read_only:
        await _expunge(s, view, None)
    await s.deselect()
    s.machine.ok(c.tag, "closed")


async def unselect(s: Session, c: a.Unselect) -> None:
    """RFC 3691."""
    await s.deselect()
    s.machine.ok(c.tag, "left")


async def search(s: Session, c: a.Search) -> None:
    """SEARCH and UID SEARCH; with RETURN an ESEARCH response (RFC 4731)."""
    view = s.selected
    uids = await Search(s.store, s.house.bodies, s.house.world.cpu, view).run(c.key)
    found = uids if c.uid else view.numbers(uids)
    if c.wanted is None:
        await s.send(b"* SEARCH%b\r\n" % b"".join(map(b" %d".__mod__, found)))
    else:
        _esearch(s, c, found)
    await s.sync(expunge=c.uid)
    s.machine.ok(c.tag, "done")


def _esearch(s: Session, c: a.Search, found: list[int]) -> None:
    assert c.wanted is not None
    parts = [b'ESEARCH (TAG "%b")' % c.tag]
    if c.uid:
        parts.append(b"UID")
    # RFC 4731 §3.1: without a match MIN, MAX and ALL are left out, COUNT is 0.
    if found and "MIN" in c.wanted:
        parts.append(b"MIN %d" % found[0])
    if found and "MAX" in c.wanted:
        parts.append(b"MAX %d" % found[-1])
    if found and "ALL" in c.wanted:
        parts.append(b"ALL %b" % number_set(found))
    if "COUNT" in c.wanted:
        parts.append(b"COUNT %d" % len(found))
    s.machine.untagged(b" ".join(parts))
