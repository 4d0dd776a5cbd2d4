"""mailbox: the commands on mailboxes (RFC 3501 §6.3), NAMESPACE (RFC 2342), QUOTA (RFC 9208)."""

from __future__ import annotations

from array import array

from estafeta.read.imap import forms, queries
from estafeta.read.imap.patterns import SEPARATOR, levels, matcher
from estafeta.read.imap.session import Refusal, Session
from estafeta.read.imap.view import Shared, View
from estafeta.store import mailboxes, messages
from estafeta.store.engine import Tx
from estafeta.store.messages import Changes
from estafeta.store.rows import Mailbox
from estafeta.wire.imap import commands as a
from estafeta.wire.imap import responses
from estafeta.wire.imap.commands import State

_ROLES = {
    "archive": b"\\Archive",
    "drafts": b"\\Drafts",
    "junk": b"\\Junk",
    "sent": b"\\Sent",
    "trash": b"\\Trash",
}


def _found(tx: Tx, account: int, name: str) -> Mailbox:
    box = mailboxes.mailbox_by_name(tx, account, name)
    if box is None:
        raise Refusal("there is no such mailbox", "NONEXISTENT")
    return box


# SELECT, EXAMINE ----------------------------------------------------------------------------------


async def select(s: Session, c: a.Select) -> None:
    """RFC 3501 §6.3.1, §6.3.2. The mailbox before is left even if this one cannot be entered."""
    await s.deselect()
    box = await s.store.read(lambda tx: _found(tx, s.owner, c.mailbox))
    registry = s.house.registry
    key = (s.owner, box.id)
    shared = registry.enter(key)
    try:
        view, box, unseen = await _enter(s, shared, box, read_only=c.read_only)
        await s.claim_recent(view, box.recent, box.uidnext)
    except BaseException:
        registry.leave(key, shared)
        raise
    s.view = view
    s.machine.state = State.SELECTED
    _tell(s, view, box, view.number(unseen) if unseen else 0)
    s.machine.ok(c.tag, "selected", "READ-ONLY" if c.read_only else "READ-WRITE")


async def _enter(
    s: Session, shared: Shared, box: Mailbox, *, read_only: bool
) -> tuple[View, Mailbox, int]:
    """(view, the row it is of, uid of the first unseen message or 0)."""
    view = View(box, shared, read_only=read_only)
    known, count, since = shared.uids, len(shared.uids), shared.modseq

    def look(tx: Tx) -> tuple[Mailbox, array[int] | Changes, int]:
        now = mailboxes.mailbox(tx, box.account, box.id)
        if now is None:
            raise Refusal("there is no such mailbox", "NONEXISTENT")
        unseen = queries.first_unseen(tx, box.account, box.id) if now.unseen else 0
        if since and since >= now.floor:
            return now, messages.changes_since(tx, box.account, box.id, since), unseen
        return now, messages.uids(tx, box.account, box.id), unseen

    now, found, unseen = await s.store.read(look)
    if isinstance(found, Changes):
        view.resume(known, count, found)
    else:
        view.fill(found, now.modseq)
    return view, now, unseen


def _tell(s: Session, view: View, box: Mailbox, unseen: int) -> None:
    say = s.machine.untagged
    say(b"FLAGS (%b %b)" % (forms.SYSTEM_FLAGS, forms.OUR_KEYWORDS))
    permanent = b"" if view.read_only else forms.SYSTEM_FLAGS + b" \\*"
    say(b"OK [PERMANENTFLAGS (%b)] kept" % permanent)
    say(b"%d EXISTS" % view.count)
    say(b"%d RECENT" % view.recent_count())
    if unseen:
        say(b"OK [UNSEEN %d] the first unseen" % unseen)
    say(b"OK [UIDVALIDITY %d] valid" % box.uidvalidity)
    say(b"OK [UIDNEXT %d] to come" % box.uidnext)


# Their lives --------------------------------------------------------------------------------------


async def create(s: Session, c: a.Create) -> None:
    """RFC 3501 §6.3.3; a special use by RFC 6154 §3."""
    await s.write(lambda tx: mailboxes.create(tx, s.owner, c.mailbox, c.role))
    s.machine.ok(c.tag, "created")


async def delete(s: Session, c: a.Delete) -> None:
    """RFC 3501 §6.3.4. Large mailboxes are erased in slices, after the answer's commit."""
    if s.view is not None and s.view.name == c.mailbox:
        await s.deselect()
    box = await s.write(lambda tx: mailboxes.delete(tx, s.owner, c.mailbox))
    while not await s.write(lambda tx: mailboxes.erase_slice(tx, s.owner, box.id)):
        pass
    s.machine.ok(c.tag, "deleted")


async def rename(s: Session, c: a.Rename) -> None:
    """RFC 3501 §6.3.5."""
    await s.write(lambda tx: mailboxes.rename(tx, s.owner, c.mailbox, c.to))
    s.machine.ok(c.tag, "renamed")


async def subscribe(s: Session, c: a.Subscribe) -> None:
    """RFC 3501 §6.3.6, §6.3.7."""
    change = mailboxes.subscribe if c.wanted else mailboxes.unsubscribe
    await s.write(lambda tx: change(tx, s.owner, c.mailbox))
    s.machine.ok(c.tag, "done")


# Listing ------------------------------------------------------------------------------------------


async def list_mailboxes(s: Session, c: a.ListMailboxes) -> None:
    """LIST and LSUB (RFC 3501 §6.3.8, §6.3.9), CHILDREN (RFC 3348), SPECIAL-USE (RFC 6154)."""
    name = b"LSUB" if c.subscribed else b"LIST"
    if not c.pattern and not c.subscribed:
        # The hierarchy delimiter and the root of the reference.
        s.machine.untagged(b'LIST (\\Noselect) "/" ""')
        s.machine.ok(c.tag, "done")
        return
    boxes, subscribed = await s.store.read(
        lambda tx: (
            mailboxes.mailboxes(tx, s.owner),
            mailboxes.subscriptions(tx, s.owner) if c.subscribed else [],
        )
    )
    by_name = {box.name: box for box in boxes}
    parents = {parent for box in boxes for parent in levels(box.name)}
    fits = matcher(c.reference + c.pattern)
    lines = []
    if not c.subscribed:
        names = [(box.name, False) for box in boxes if fits(box.name)]
    else:
        names = _subscribed(subscribed, c.reference + c.pattern)
    for shown, only_parent in names:
        attributes = _attributes(by_name.get(shown), shown in parents, only_parent)
        lines.append(
            b'* %b (%b) "/" %b\r\n' % (name, b" ".join(attributes), responses.mailbox(shown))
        )
    s.machine.send(b"".join(lines))
    s.machine.ok(c.tag, "done")


def _subscribed(names: list[str], pattern: str) -> list[tuple[str, bool]]:
    """(name, whether only its children are subscribed to).

    RFC 3501 §6.3.9: with "%" a parent stands for subscribed children the pattern does not reach.
    """
    fits = matcher(pattern)
    found = {name: False for name in names if fits(name)}
    if pattern.endswith("%"):
        for name in names:
            for parent in levels(name):
                if parent not in found and fits(parent):
                    found[parent] = True
    return sorted(found.items())


def _attributes(box: Mailbox | None, parent: bool, only_parent: bool) -> list[bytes]:
    if only_parent or box is None:
        return [b"\\Noselect"]
    attributes = [b"\\HasChildren" if parent else b"\\HasNoChildren"]
    if box.role in _ROLES:
        attributes.append(_ROLES[box.role])
    return attributes


async def namespace(s: Session, c: a.Namespace) -> None:
    """RFC 2342: one's own mailboxes, at the root."""
    s.machine.untagged(b'NAMESPACE (("" "%b")) NIL NIL' % SEPARATOR.encode("ascii"))
    s.machine.ok(c.tag, "done")


async def status(s: Session, c: a.Status) -> None:
    """RFC 3501 §6.3.10: from the mailbox's own row."""

    def look(tx: Tx) -> tuple[Mailbox, int]:
        box = _found(tx, s.owner, c.mailbox)
        recent = 0
        if "RECENT" in c.items:
            first = max(box.recent, s.house.registry.recent((box.account, box.id)))
            if first < box.uidnext:
                recent = len(messages.rows(tx, box.account, box.id, first, box.uidnext))
        return box, recent

    box, recent = await s.store.read(look)
    values = {
        "MESSAGES": box.messages,
        "RECENT": recent,
        "UIDNEXT": box.uidnext,
        "UIDVALIDITY": box.uidvalidity,
        "UNSEEN": box.unseen,
    }
    shown = " ".join(f"{item} {values[item]}" for item in c.items).encode("ascii")
    s.machine.untagged(b"STATUS %b (%b)" % (responses.mailbox(c.mailbox), shown))
    if s.view is not None:
        await s.sync(expunge=True)
    s.machine.ok(c.tag, "done")


# QUOTA --------------------------------------------------------------------------------------------


async def get_quota(s: Session, c: a.GetQuota) -> None:
    """RFC 9208 §4.2: one root, "", for all mailboxes of the account."""
    if c.root:
        raise Refusal("there is no such quota root", "NONEXISTENT")
    await _tell_quota(s)
    s.machine.ok(c.tag, "done")


async def get_quota_root(s: Session, c: a.GetQuotaRoot) -> None:
    """RFC 9208 §4.3."""
    await s.store.read(lambda tx: _found(tx, s.owner, c.mailbox))
    s.machine.untagged(b'QUOTAROOT %b ""' % responses.mailbox(c.mailbox))
    await _tell_quota(s)
    s.machine.ok(c.tag, "done")


async def _tell_quota(s: Session) -> None:
    used, quota = await s.store.read(lambda tx: messages.quota(tx, s.owner))
    # In units of 1024 octets (RFC 9208 §5.1); no limit, no resource.
    resource = b"STORAGE %d %d" % (-(-used // 1024), quota // 1024) if quota else b""
    s.machine.untagged(b'QUOTA "" (%b)' % resource)
