"""append: APPEND (RFC 3501 §6.3.11) with UIDPLUS (RFC 4315) and MULTIAPPEND (RFC 3502).

Promises: what cannot be taken is refused before its octets are sent; octets go to the store's
writer as they come; all messages of one command are placed in one unit, or none; where the disk has
no room, the rest of the octets is read past and the command answered in order.
"""

from __future__ import annotations

import errno

from estafeta.mail.message import summary
from estafeta.read.imap import forms
from estafeta.read.imap.session import Goodbye, Refusal, Session
from estafeta.read.limits import MULTIAPPEND_MESSAGES_MAX, MULTIAPPEND_OCTETS_MAX
from estafeta.store import flags as bits
from estafeta.store import mailboxes, messages, sent
from estafeta.store.bodies import INLINE_MAX, BodyMissing, BodyWriter, bring, put
from estafeta.store.engine import StoreError, StoreFull, StoreReadOnly, Tx
from estafeta.store.messages import Text
from estafeta.store.sent import Filed, Given
from estafeta.wire.imap import commands as a
from estafeta.wire.imap.machine import AppendEnd, Ended, MessageData
from estafeta.wire.imap.responses import number_set


async def append(s: Session, first: a.Append) -> None:
    """Takes the messages and places them."""
    taken: list[Given] = []
    announced: a.Append = first
    octets = 0
    trouble: OSError | StoreError | None = None
    while True:
        octets += announced.size
        refused = await _refused(s, announced, octets, len(taken))
        if trouble is not None:
            code = "UNAVAILABLE" if isinstance(trouble, StoreError) else "OVERQUOTA"
            refused = "the message before could not be kept", code
        if refused is not None:
            text, code = refused
            s.machine.refuse_message(text, code)
            return
        s.machine.take_message()
        try:
            taken.append(await _take(s, announced))
        except (OSError, StoreError) as error:
            trouble = error
        event = await s.event()
        if isinstance(event, a.Append):
            announced = event
            continue
        if isinstance(event, Ended):
            raise Goodbye(event.reason or "the client closed", said=not event.reason)
        assert isinstance(event, AppendEnd)
        if event.broken:
            return
        break
    if trouble is not None:
        raise trouble if isinstance(trouble, StoreError) else _store_error(trouble)
    await _place(s, first, taken)


async def _refused(
    s: Session, announced: a.Append, octets: int, before: int
) -> tuple[str, str] | None:
    """Why the message is not to be sent: (text, code)."""
    if announced.size > s.house.settings.message_octets_max:
        return f"at most {s.house.settings.message_octets_max} octets a message", "TOOBIG"
    if before >= MULTIAPPEND_MESSAGES_MAX or (before and octets > MULTIAPPEND_OCTETS_MAX):
        return "too much for one command", "LIMIT"
    if not announced.size:
        # RFC 3502 §6.3.11 and common use: a message of no octets is none.
        return "a message has at least one octet", "CANNOT"

    def look(tx: Tx) -> tuple[bool, int, int]:
        box = mailboxes.mailbox_by_name(tx, s.owner, announced.mailbox)
        used, quota = messages.quota(tx, s.owner)
        return box is not None, used, quota

    exists, used, quota = await s.store.read(look)
    if not exists:
        return "there is no such mailbox, create it first", "TRYCREATE"
    if quota and used + octets > quota:
        return "the account has no room for it", "OVERQUOTA"
    return None


async def _take(s: Session, announced: a.Append) -> Given:
    writer = s.house.bodies.writer()
    try:
        await _receive(s, writer)
        body = await writer.finish()
    except BaseException:
        writer.discard()
        raise
    value, keywords = forms.to_store(announced.flags)
    received = announced.received
    if received is None:
        received = int(s.house.world.clock.now() * 1000)
    if body.size <= INLINE_MAX:
        made = summary(body.read())
    else:
        made = await s.house.world.cpu.run(summary, body.read())
    text = Text(
        made.envelope,
        made.bodystructure,
        made.body,
        made.index,
        made.message_id,
        made.subject,
        made.preview,
    )
    return Given(body, text, value, bits.joined(keywords), received)


async def _receive(s: Session, writer: BodyWriter) -> None:
    """Reads all of one message, whatever becomes of it. Raises OSError at its end."""
    trouble: OSError | None = None
    while True:
        event = await s.event()
        if isinstance(event, Ended):
            raise Goodbye(event.reason or "the client closed", said=not event.reason)
        assert isinstance(event, MessageData)
        if trouble is None:
            try:
                writer.write(event.data)
            except OSError as error:
                trouble = error
        if event.last:
            break
    if trouble is not None:
        raise trouble


def _store_error(trouble: OSError) -> StoreError:
    """As the store itself would have put it."""
    text = f"the message cannot be kept: {trouble.strerror}"
    if trouble.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(text)
    return StoreReadOnly(text) if trouble.errno == errno.EROFS else StoreError(text)


async def _place(s: Session, c: a.Append, taken: list[Given]) -> None:
    for message in taken:
        if not message.body.stored:
            s.house.bodies.must_be_young(message.body.id)
    total = sum(message.body.size for message in taken)
    judged: dict[int, bool] = {}  # by the uid of what we filed: whether that is this message

    def unit(tx: Tx) -> tuple[int, list[int]] | list[Filed]:
        box = mailboxes.mailbox_by_name(tx, s.owner, c.mailbox)
        if box is None:
            raise Refusal("there is no such mailbox any more", "TRYCREATE")
        if len(taken) == 1 and (filed := _filed(s, tx, box.name, taken[0])):
            same = [one for one in filed if judged.get(one.uid)]
            if same:
                _add_flags(tx, s.owner, box.id, same[0].uid, taken[0])
                return same[0].uidvalidity, [same[0].uid]
            if any(one.uid not in judged for one in filed):
                return filed
        used, quota = messages.quota(tx, s.owner)
        if quota and used + total > quota:
            raise Refusal("the account has no room for it", "OVERQUOTA")
        uids = []
        for message in taken:
            put(tx, message.body)
            uids.append(sent.append(tx, s.owner, box.id, message).uid)
        return box.uidvalidity, uids

    while isinstance(placed := await s.write(unit), list):
        for one in placed:
            if one.uid not in judged:
                judged[one.uid] = await _is_same(s, one, taken[0])
    uidvalidity, uids = placed
    await s.sync(expunge=True)
    shown = number_set(uids).decode("ascii")
    s.machine.ok(c.tag, "appended", f"APPENDUID {uidvalidity} {shown}")


# What we have filed ourselves ---------------------------------------------------------------------


def _filed(s: Session, tx: Tx, mailbox: str, given: Given) -> list[Filed]:
    now = int(s.house.world.clock.now() * 1000)
    return sent.filed_lately(tx, s.owner, mailbox, given.text.message_id, now)


async def _is_same(s: Session, filed: Filed, given: Given) -> bool:
    """Compared outside of any unit: it may be large, and lie elsewhere."""
    try:
        kept = await s.store.read(lambda tx: s.house.bodies.content(tx, filed.body))
        await bring(kept)
        await bring(given.body)
    except BodyMissing:
        return False  # expunged meanwhile
    return sent.is_same(kept, given.body)


def _add_flags(tx: Tx, account: int, mailbox: int, uid: int, given: Given) -> None:
    """The client's are added to those of the copy that is there."""
    messages.store_flags(
        tx,
        account,
        mailbox,
        [uid],
        mode="add",
        flags=given.flags,
        keywords=frozenset(bits.split(given.keywords)),
    )
