"""search: SEARCH over one view (RFC 3501 §6.4.4).

Promises: cheap keys first, what they exclude is not looked at again; flags, sizes and dates never
touch wide rows; bodies are read and decoded in steps, off the loop where there is much.
"""

from __future__ import annotations

import asyncio
import datetime
import re
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from estafeta.mail.message import section
from estafeta.read.imap import forms, texts
from estafeta.read.imap.fetch import contents_of
from estafeta.read.imap.view import View
from estafeta.read.limits import BODIES_OCTETS_AT_ONCE, ROWS_AT_ONCE
from estafeta.store import messages
from estafeta.store.bodies import Bodies, bring_each
from estafeta.store.engine import Store
from estafeta.store.messages import MessageRow
from estafeta.wire.imap import commands as k
from estafeta.wire.imap.commands import Key
from estafeta.world.seams import Cpu

Rows = list[MessageRow]

_DAY_MS = 86_400_000
_ENVELOPE_FIELDS = frozenset({b"from", b"to", b"cc", b"bcc"})
_WORDS = re.compile(rb"[a-z0-9]+")
_SENT = re.compile(r"(?:[A-Za-z]{3,9},?\s*)?(\d{1,2})[\s-]+([A-Za-z]{3})[a-z]*[\s-]+(\d{2,4})")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_EPOCH = datetime.date(1970, 1, 1)


class Search:
    """One search. `run` gives the uids, ascending."""

    def __init__(self, store: Store, bodies: Bodies, cpu: Cpu, view: View) -> None:
        self._store = store
        self._bodies = bodies
        self._cpu = cpu
        self._view = view

    async def run(self, key: Key) -> list[int]:
        if isinstance(key, k.All) and not self._view.vanished:
            return list(self._view.uids[: self._view.count])
        rows = await self._rows(self._bounds(key))
        return [row.uid for row in await self._match(key, rows)]

    def _bounds(self, key: Key) -> array[int]:
        """The uids worth looking at: a set that the search is bound to narrows them at once."""
        view = self._view
        keys = key.keys if isinstance(key, k.And) else (key,)
        for part in keys:
            if isinstance(part, k.Sequence):
                return view.select(self._spans(part))
        return view.uids[: view.count]

    def _spans(self, key: k.Sequence) -> list[tuple[int, int]]:
        """A number beyond the last message fits none, and is no error: it is a condition."""
        view = self._view
        spans = view.spans(key.numbers, uid=key.uid)
        if spans is not None:
            return spans
        inside = tuple(
            (low, min(high, view.count))
            for low, high in (
                sorted((a or view.count, b or view.count)) for a, b in key.numbers.ranges
            )
            if low <= view.count
        )
        return view.spans(k.SequenceSet(inside), uid=False) or []

    async def _rows(self, uids: array[int]) -> Rows:
        view = self._view
        rows: Rows = []
        # One slice of the mailbox at a time, so that no snapshot is held for long.
        for start in range(0, len(uids), _ROWS_SLICE):
            piece = uids[start : start + _ROWS_SLICE]
            low, high = piece[0], piece[-1]
            found = await self._store.read(
                lambda tx, a=low, b=high: messages.rows(tx, view.account, view.id, a, b)  # type: ignore[misc]
            )
            if len(found) > len(piece) or high - low >= len(piece):
                wanted = set(piece)
                found = [row for row in found if row.uid in wanted]
            rows.extend(found)
        return rows

    async def _match(self, key: Key, rows: Rows) -> Rows:
        """Those of `rows` that the key fits."""
        if not rows:
            return rows
        if isinstance(key, k.And):
            for part in sorted(key.keys, key=_cost):
                rows = await self._match(part, rows)
            return rows
        if isinstance(key, k.Or):
            first, second = sorted((key.left, key.right), key=_cost)
            left = {row.uid for row in await self._match(first, rows)}
            rest = [row for row in rows if row.uid not in left]
            right = {row.uid for row in await self._match(second, rest)}
            return [row for row in rows if row.uid in left or row.uid in right]
        if isinstance(key, k.Not):
            excluded = {row.uid for row in await self._match(key.key, rows)}
            return [row for row in rows if row.uid not in excluded]
        if isinstance(key, k.Header):
            return await self._header(key, rows)
        if isinstance(key, k.Text):
            return await self._text(key, rows)
        if isinstance(key, k.Date) and key.sent:
            return await self._sent(key, rows)
        return self._narrow(key, rows)

    # Rows alone -------------------------------------------------------------------------------

    def _narrow(self, key: Key, rows: Rows) -> Rows:
        match key:
            case k.All():
                return rows
            case k.Sequence():
                chosen = set(self._view.select(self._spans(key)))
                return [row for row in rows if row.uid in chosen]
            case k.HasFlag(flag=flag, keyword=False, wanted=wanted):
                if flag == "recent":
                    recent = self._view.is_recent
                    return [row for row in rows if recent(row.uid) == wanted]
                bit = forms.bit(flag)
                fits = bit if wanted else 0
                return [row for row in rows if row.flags & bit == fits]
            case k.HasFlag(flag=flag, wanted=wanted):
                name = flag.lower()
                return [row for row in rows if (name in row.keywords.lower().split()) == wanted]
            case k.Size(octets=octets, larger=larger):
                if larger:
                    return [row for row in rows if row.size > octets]
                return [row for row in rows if row.size < octets]
            case k.Date(day=day, relation=relation):
                low, high = _range(day, relation)
                return [row for row in rows if low <= row.received // _DAY_MS < high]
        raise AssertionError(key)

    # Wide rows --------------------------------------------------------------------------------

    async def _column(self, rows: Rows, column: str) -> dict[int, Any]:
        view = self._view
        uids = [row.uid for row in rows]
        return await self._store.read(
            lambda tx: dict(messages.texts_for(tx, view.account, view.id, uids, (column,)))
        )

    async def _sent(self, key: k.Date, rows: Rows) -> Rows:
        low, high = _range(key.day, key.relation)
        found: Rows = []
        for piece in _pieces(rows):
            envelopes = await self._column(piece, "envelope")
            for row in piece:
                envelope = envelopes.get(row.uid)
                day = sent_day(envelope) if envelope else None
                # Without a date that can be read, the day it came is the best known.
                if low <= (row.received // _DAY_MS if day is None else day) < high:
                    found.append(row)
        return found

    async def _header(self, key: k.Header, rows: Rows) -> Rows:
        needle = texts.folded(key.value)
        if key.name == b"subject" and needle:
            return await self._subject(needle, rows)
        found: Rows = []
        for piece in _pieces(rows):
            if needle and key.name in _ENVELOPE_FIELDS:
                envelopes = await self._column(piece, "envelope")
                may = _may_hold(needle)
                piece = [r for r in piece if r.uid in envelopes and may(envelopes[r.uid])]
            headers = await self._headers(piece)
            found.extend(
                row
                for row in piece
                if row.uid in headers and texts.header_says(headers[row.uid], key.name, needle)
            )
        return found

    async def _subject(self, needle: str, rows: Rows) -> Rows:
        found: Rows = []
        for piece in _pieces(rows):
            subjects = await self._column(piece, "subject")
            for row in piece:
                subject = subjects.get(row.uid)
                if subject and needle in texts.folded(subject):
                    found.append(row)
        return found

    async def _headers(self, rows: Rows) -> dict[int, bytes]:
        if not rows:
            return {}
        found = await self._store.read(lambda tx: contents_of(tx, self._bodies, self._view, rows))
        places = {uid: _header_place(parts) for uid, (_, _, parts) in found.items()}
        await bring_each((found[uid][1], end) for uid, (_, end) in places.items())
        return {
            uid: prefix + content.read(*places[uid]) for uid, (prefix, content, _) in found.items()
        }

    # Bodies -----------------------------------------------------------------------------------

    async def _text(self, key: k.Text, rows: Rows) -> Rows:
        needle = texts.folded(key.value)
        if not needle:
            return rows
        found: Rows = []
        start = 0
        while start < len(rows):
            end, octets = start, 0
            while end < len(rows) and (
                end == start or octets + rows[end].size <= BODIES_OCTETS_AT_ONCE
            ):
                octets += rows[end].size
                end += 1
            piece = rows[start:end]
            start = end
            whole = await self._store.read(
                lambda tx, p=piece: contents_of(tx, self._bodies, self._view, p)  # type: ignore[misc]
            )
            piece = [row for row in piece if row.uid in whole]
            await bring_each((content, None) for _, content, _ in whole.values())
            bodies = [whole[row.uid][0] + whole[row.uid][1].read() for row in piece]
            says = await self._cpu.run(
                texts.which_say,
                b"".join(bodies),
                tuple(map(len, bodies)),
                needle,
                key.headers,
            )
            found.extend(row for row, yes in zip(piece, says, strict=True) if yes)
            await asyncio.sleep(0)
        return found


_ROWS_SLICE = ROWS_AT_ONCE * 10


def _pieces(rows: Rows) -> Sequence[Rows]:
    return [rows[at : at + ROWS_AT_ONCE] for at in range(0, len(rows), ROWS_AT_ONCE)]


def _cost(key: Key) -> int:
    """0 rows, 1 columns, 2 headers, 3 bodies."""
    if isinstance(key, k.And):
        return max(map(_cost, key.keys))
    if isinstance(key, k.Or):
        return max(_cost(key.left), _cost(key.right))
    if isinstance(key, k.Not):
        return _cost(key.key)
    if isinstance(key, k.Text):
        return 3
    if isinstance(key, k.Header):
        return 1 if key.name == b"subject" else 2
    return 1 if isinstance(key, k.Date) and key.sent else 0


def _range(day: int, relation: str) -> tuple[int, int]:
    """[first, end) in days."""
    if relation == "<":
        return -1_000_000, day
    if relation == "=":
        return day, day + 1
    return day, 10_000_000


def sent_day(envelope: bytes) -> int | None:
    """Days since 1970 of the Date field's own day, its zone left aside (RFC 3501 §6.4.4)."""
    date = envelope[1:80]
    if date.startswith(b"{"):
        date = date.partition(b"\r\n")[2]
    match = _SENT.match(date.decode("latin-1").lstrip('" '))
    if match is None:
        return None
    year = int(match.group(3))
    if year < 100:  # RFC 5322 §4.3
        year += 2000 if year < 50 else 1900
    elif year < 1000:
        year += 1900
    try:
        day = datetime.date(year, _MONTHS.index(match.group(2).lower()) + 1, int(match.group(1)))
    except ValueError:
        return None
    return (day - _EPOCH).days


def _may_hold(needle: str) -> Callable[[bytes], bool]:
    """Whether an ENVELOPE may come of a field that holds the needle: all words of the needle are
    in it, or it holds encoded words or octets that are not ASCII."""
    words = _WORDS.findall(needle.encode("utf-8")) if needle.isascii() else []

    def may(envelope: bytes) -> bool:
        if b"=?" in envelope or not envelope.isascii():
            return True
        lower = envelope.lower()
        return all(word in lower for word in words)

    return may


def _header_place(parts: bytes) -> tuple[int, int]:
    place = section(parts, "HEADER")
    assert place is not None
    return place
