"""fetch: FETCH (RFC 3501 §6.4.5, §7.4.2): from items to octets.

Promises: rows are read in batches, each from one snapshot that ends before anything is sent; what
is not asked for is not read; bodies are held up to BODIES_OCTETS_AT_ONCE, larger ones streamed;
narrow items of many messages are formatted by columns.
"""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from estafeta.read.imap import forms
from estafeta.read.imap.slices import octets_of, reach
from estafeta.read.imap.view import View, batches
from estafeta.read.limits import BODIES_OCTETS_AT_ONCE, OUTPUT_OCTETS, ROWS_AT_ONCE
from estafeta.store import flags as bits
from estafeta.store import messages
from estafeta.store.bodies import Bodies, Body, bring
from estafeta.store.engine import Store, Tx
from estafeta.store.messages import MessageRow
from estafeta.wire.imap.commands import Item
from estafeta.wire.imap.responses import literal

# Sends octets, and waits where the peer is slow.
Send = Callable[[bytes], Awaitable[None]]

_WIDE = {b"ENVELOPE": "envelope", b"BODYSTRUCTURE": "structure", b"BODY": "basic"}
FLAGS = Item(b"FLAGS")
UID = Item(b"UID")


@dataclass(slots=True)
class Plan:
    """What a FETCH needs. columns: of message_text; bodies: items that are sections."""

    items: tuple[Item, ...]
    columns: tuple[str, ...]
    bodies: tuple[Item, ...]
    sees: bool

    @classmethod
    def of(cls, items: tuple[Item, ...], *, uid: bool) -> Plan:
        """uid: UID FETCH, which always answers with the UID (RFC 3501 §6.4.8)."""
        if uid and UID not in items:
            items = (UID, *items)
        bodies = tuple(item for item in items if item.section is not None)
        columns = tuple(
            _WIDE[item.name] for item in items if item.section is None and item.name in _WIDE
        )
        return cls(items, columns, bodies, any(item.seen for item in items))


async def fetch(
    store: Store, bodies: Bodies, view: View, plan: Plan, uids: array[int], send: Send
) -> bool:
    """Sends one FETCH response a message; False where some of them are expunged already."""
    whole = True
    for batch in batches(uids, ROWS_AT_ONCE):
        rows, texts = await store.read(lambda tx, b=batch: _read(tx, view, plan, b))  # type: ignore[misc]
        if len(rows) < len(batch):
            whole = False
        if not rows:
            continue
        seen = await _see(store, view, rows) if plan.sees and not view.read_only else frozenset()
        if not plan.bodies:
            await send(b"".join(_lines(view, plan.items, rows, texts)))
        else:
            await _send_bodies(store, bodies, view, plan, rows, texts, seen, send)
    return whole


# By uid: (uid, *columns).
Texts = dict[int, tuple[Any, ...]]


def _read(tx: Tx, view: View, plan: Plan, uids: array[int]) -> tuple[list[MessageRow], Texts]:
    rows = _rows(tx, view, uids)
    texts: Texts = {}
    if plan.columns:
        found = messages.texts_for(tx, view.account, view.id, uids, plan.columns)
        texts = {row[0]: row for row in found}
    return rows, texts


def _rows(tx: Tx, view: View, uids: array[int]) -> list[MessageRow]:
    """Of ascending uids; those expunged meanwhile are missing."""
    if uids[-1] - uids[0] < len(uids) * 2:
        rows = messages.rows(tx, view.account, view.id, uids[0], uids[-1])
        if len(rows) == len(uids):
            return rows
        wanted = set(uids)
        return [row for row in rows if row.uid in wanted]
    return messages.rows_for(tx, view.account, view.id, uids)


async def _see(store: Store, view: View, rows: list[MessageRow]) -> frozenset[int]:
    """Sets \\Seen where it is missing; the rows are brought up to date."""
    unseen = [row.uid for row in rows if not row.flags & bits.SEEN]
    if not unseen:
        return frozenset()
    changed = await store.run(
        lambda tx: messages.store_flags(
            tx, view.account, view.id, unseen, mode="add", flags=bits.SEEN, keywords=frozenset()
        ),
        accounts=(view.account,),
    )
    view.own.add(changed.modseq)
    fresh = {row.uid: row for row in changed.changed}
    for at, row in enumerate(rows):
        rows[at] = fresh.get(row.uid, row)
    return frozenset(fresh)


# Formatting by columns ----------------------------------------------------------------------------


def _lines(
    view: View, items: Sequence[Item], rows: list[MessageRow], texts: Texts
) -> Iterator[bytes]:
    """Whole responses of narrow and wide items."""
    template, columns = _columns(view, items, rows, texts)
    return map((b"* %d FETCH (" + template + b")\r\n").__mod__, zip(*columns, strict=True))


def _columns(
    view: View, items: Sequence[Item], rows: list[MessageRow], texts: Texts
) -> tuple[bytes, list[Sequence[int | bytes]]]:
    columns: list[Sequence[int | bytes]] = [view.numbers([row.uid for row in rows])]
    template = []
    wide = 1
    for item in items:
        if item.section is not None:
            continue
        if item.name == b"UID":
            template.append(b"UID %d")
            columns.append([row.uid for row in rows])
        elif item.name == b"FLAGS":
            template.append(b"FLAGS %b")
            columns.append(flags_column(view, rows))
        elif item.name == b"RFC822.SIZE":
            template.append(b"RFC822.SIZE %d")
            columns.append([row.size for row in rows])
        elif item.name == b"INTERNALDATE":
            template.append(b"INTERNALDATE %b")
            columns.append([forms.internal_date(row.received) for row in rows])
        else:
            template.append(item.name + b" %b")
            at = wide
            columns.append([texts[row.uid][at] if row.uid in texts else b"NIL" for row in rows])
            wide += 1
    return b" ".join(template), columns


def flags_column(view: View, rows: list[MessageRow]) -> list[bytes]:
    form = forms.flag_list
    if not view.recent:
        return [form(row.flags, row.keywords, False) for row in rows]
    return [form(row.flags, row.keywords, view.is_recent(row.uid)) for row in rows]


def flag_lines(view: View, rows: list[MessageRow], *, uid: bool) -> bytes:
    """FETCH responses that tell flags; of messages the client knows of."""
    return b"".join(_lines(view, (FLAGS, UID) if uid else (FLAGS,), rows, {}))


# Bodies -------------------------------------------------------------------------------------------


async def _send_bodies(
    store: Store,
    bodies: Bodies,
    view: View,
    plan: Plan,
    rows: list[MessageRow],
    texts: Texts,
    seen: frozenset[int],
    send: Send,
) -> None:
    items = plan.items
    if seen and FLAGS not in items:
        # RFC 3501 §6.4.5: a flag that this FETCH changed is told in its response.
        items = (*items, FLAGS)
    template, columns = _columns(view, items, rows, texts)
    begin = b"* %d FETCH (" + template
    narrow = list(map(begin.__mod__, zip(*columns, strict=True)))
    separator = b" " if template else b""
    start = 0
    while start < len(rows):
        end = _window(rows, start)
        window = rows[start:end]
        contents = await store.read(lambda tx, w=window: contents_of(tx, bodies, view, w))  # type: ignore[misc]
        out = Output(send)
        for at in range(start, end):
            found = contents.get(rows[at].uid)
            if found is None:
                continue  # expunged since its row was read
            if found[1].distant is not None:
                await bring(found[1], _reach(plan, found))
            out.add(narrow[at] + separator)
            for n, item in enumerate(plan.bodies):
                if n:
                    out.add(b" ")
                await _add_body(out, item, found)
            out.add(b")\r\n")
            if out.size >= OUTPUT_OCTETS:
                await out.flush()
        await out.flush()
        start = end


def _window(rows: list[MessageRow], start: int) -> int:
    """Where the bodies from `start` on reach BODIES_OCTETS_AT_ONCE; at least one."""
    octets = 0
    end = start
    while end < len(rows) and (end == start or octets + rows[end].size <= BODIES_OCTETS_AT_ONCE):
        octets += rows[end].size
        end += 1
    return end


def _reach(plan: Plan, found: Found) -> int:
    """How much of a body that lies elsewhere must be here."""
    _, body, parts = found
    return max(reach(body.size, parts, item.section) for item in plan.bodies if item.section)


Found = tuple[bytes, Body, bytes]


def contents_of(tx: Tx, bodies: Bodies, view: View, rows: list[MessageRow]) -> dict[int, Found]:
    """(prefix, content, table of parts) by uid; those expunged meanwhile are missing."""
    body = {row.uid: row.body for row in rows}
    return {
        uid: (prefix, bodies.content(tx, body[uid]), parts)
        for uid, prefix, parts in messages.texts_for(
            tx, view.account, view.id, body, ("prefix", "parts")
        )
    }


class Output:
    """Gathers octets, so that what is small is not sent one by one."""

    __slots__ = ("_pieces", "_send", "size")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._pieces: list[bytes] = []
        self.size = 0

    def add(self, octets: bytes) -> None:
        self._pieces.append(octets)
        self.size += len(octets)

    async def flush(self) -> None:
        if self._pieces:
            octets = b"".join(self._pieces)
            self._pieces = []
            self.size = 0
            await self._send(octets)


async def _add_body(out: Output, item: Item, found: Found) -> None:
    assert item.section is not None
    octets = octets_of(*found, item.section)
    out.add(_label(item))
    if octets is None:
        out.add(b"NIL")
        return
    if item.partial is not None:
        octets = octets.cut(*item.partial)
    if octets.size <= BODIES_OCTETS_AT_ONCE:
        out.add(literal(octets.read()))
        return
    out.add(b"{%d}\r\n" % octets.size)
    for piece in octets.stream():
        out.add(piece)
        if out.size >= OUTPUT_OCTETS:
            await out.flush()


def _label(item: Item) -> bytes:
    if item.name != b"BODY":
        return item.name + b" "
    assert item.section is not None
    origin = b"<%d>" % item.partial[0] if item.partial is not None else b""
    return b"BODY%b%b " % (item.section.written, origin)
