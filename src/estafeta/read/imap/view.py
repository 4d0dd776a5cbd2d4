"""view: the messages of a mailbox as one session numbers them (RFC 3501 §2.3.1.2).

Promises: 4 octets a message, shared by all sessions of the process that see the same; a session's
numbers change only when `expunge` is told to it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from weakref import WeakKeyDictionary

from estafeta.read.limits import VIEWS_KEPT
from estafeta.store.engine import Store
from estafeta.store.messages import Changes, MessageRow
from estafeta.store.rows import Mailbox
from estafeta.wire.imap.commands import SequenceSet

Key = tuple[int, int]


class Shared:
    """What the sessions of one mailbox share: its uids, and who took \\Recent.

    uids holds all that the mailbox had at `modseq`, and may hold messages that came later. The
    array only grows; where messages vanish a new one takes its place. So a session may keep the
    old one, and its own count, for as long as it must.
    """

    __slots__ = ("modseq", "recent", "sessions", "uids")

    def __init__(self) -> None:
        self.uids: array[int] = array("I")
        self.modseq = 0
        self.recent = 1
        self.sessions = 0

    def adopt(
        self, uids: array[int], count: int, new: Sequence[int], modseq: int, *, exact: bool
    ) -> array[int]:
        """An array that begins with uids[:count] and `new`: the shared one where that is so.

        exact: that is what the mailbox had at `modseq`; else it holds vanished messages besides.
        Snapshots may arrive out of order: an older one never takes the place of a newer.
        """
        total = count + len(new)
        fresh = modseq >= self.modseq
        if self.uids is uids and len(uids) == count and fresh:
            uids.extend(new)
            mine = uids
        else:
            mine = uids[:count]
            mine.extend(new)
            if self.uids[:total] == mine:
                mine = self.uids
            elif exact and fresh:
                self.uids = mine
        if exact and fresh and mine is self.uids and len(mine) == total:
            self.modseq = modseq
        return mine


class Registry:
    """The `Shared` of every mailbox somebody is in, and of the last few others."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, Shared] = OrderedDict()

    def enter(self, key: Key) -> Shared:
        shared = self._kept.get(key)
        if shared is None:
            shared = self._kept[key] = Shared()
        self._kept.move_to_end(key)
        shared.sessions += 1
        return shared

    def leave(self, key: Key, shared: Shared) -> None:
        shared.sessions -= 1
        if len(self._kept) <= VIEWS_KEPT:
            return
        for other, candidate in self._kept.items():
            if not candidate.sessions:
                del self._kept[other]
                return

    def recent(self, key: Key) -> int:
        """The first uid that no session of this process took as \\Recent."""
        shared = self._kept.get(key)
        return shared.recent if shared is not None else 1


_REGISTRIES: WeakKeyDictionary[Store, Registry] = WeakKeyDictionary()


def registry(store: Store) -> Registry:
    """The one of this store in this process: servers on several ports share it."""
    return _REGISTRIES.setdefault(store, Registry())


class View:
    """A selected mailbox. count: messages the client knows of; modseq: changes up to it are known.

    vanished: expunged, and the client not told yet; own: modseqs of changes by this session, of
    which it need not be told. recent: ranges of uids that are \\Recent here.
    """

    __slots__ = (
        "account",
        "count",
        "id",
        "modseq",
        "name",
        "own",
        "read_only",
        "recent",
        "shared",
        "uids",
        "vanished",
    )

    def __init__(self, box: Mailbox, shared: Shared, *, read_only: bool) -> None:
        self.account = box.account
        self.id = box.id
        self.name = box.name
        self.read_only = read_only
        self.shared = shared
        self.uids = shared.uids
        self.count = 0
        self.modseq = 0
        self.vanished: set[int] = set()
        self.own: set[int] = set()
        self.recent: list[tuple[int, int]] = []

    @property
    def key(self) -> Key:
        return self.account, self.id

    # Filling ----------------------------------------------------------------------------------

    def fill(self, uids: array[int], modseq: int) -> None:
        """All uids, at SELECT."""
        self.count = len(uids)
        self.uids = self.shared.adopt(uids, self.count, (), modseq, exact=True)
        self.modseq = modseq

    def resume(self, uids: array[int], count: int, changes: Changes) -> None:
        """As `fill`, from what the process knew before and what has changed since."""
        gone = set(changes.expunged)
        kept = uids if not gone else array("I", (u for u in uids[:count] if u not in gone))
        known = count if not gone else len(kept)
        last = uids[count - 1] if count else 0
        new = sorted(row.uid for row in changes.changed if row.uid > last)
        self.uids = self.shared.adopt(kept, known, new, changes.modseq, exact=True)
        self.count = known + len(new)
        self.modseq = changes.modseq

    def claim_recent(self, first: int, uidnext: int) -> None:
        """Messages with first <= uid < uidnext are \\Recent here; read-only, for others too."""
        if not self.read_only:
            self.shared.recent = max(self.shared.recent, uidnext)
        if first >= uidnext:
            return
        if self.recent and self.recent[-1][1] >= first - 1:
            self.recent[-1] = (self.recent[-1][0], uidnext - 1)
        else:
            self.recent.append((first, uidnext - 1))

    def recent_count(self) -> int:
        return sum(
            bisect_right(self.uids, high, 0, self.count)
            - bisect_left(self.uids, low, 0, self.count)
            for low, high in self.recent
        )

    def is_recent(self, uid: int) -> bool:
        return any(low <= uid <= high for low, high in self.recent)

    # Following --------------------------------------------------------------------------------

    def follow(self, changes: Changes) -> tuple[list[int], list[MessageRow]]:
        """Takes in what changed: (uids that are new, rows whose flags the client must be told).

        What vanished is kept in `vanished` until `expunge`.
        """
        last = self.uids[self.count - 1] if self.count else 0
        for uid in changes.expunged:
            if self.number(uid):
                self.vanished.add(uid)
        new = []
        told = []
        own = self.own
        for row in changes.changed:
            if row.uid > last:
                new.append(row.uid)
            elif row.modseq not in own and self.number(row.uid):
                told.append(row)
        own.clear()
        new.sort()
        told.sort(key=lambda row: row.uid)
        self.modseq = changes.modseq
        if new or not self.vanished:
            exact = not self.vanished
            self.uids = self.shared.adopt(self.uids, self.count, new, self.modseq, exact=exact)
            self.count += len(new)
        return new, told

    def expunge(self) -> list[int]:
        """The numbers of what vanished, the highest first: so each is right when it is told."""
        if not self.vanished:
            return []
        numbers = sorted((self.number(uid) for uid in self.vanished), reverse=True)
        gone = self.vanished
        kept = array("I", (uid for uid in self.uids[: self.count] if uid not in gone))
        self.count = len(kept)
        self.uids = self.shared.adopt(kept, self.count, (), self.modseq, exact=True)
        self.vanished = set()
        return numbers

    # Numbers ----------------------------------------------------------------------------------

    def number(self, uid: int) -> int:
        """The message sequence number, or 0."""
        at = bisect_left(self.uids, uid, 0, self.count)
        return at + 1 if at < self.count and self.uids[at] == uid else 0

    def numbers(self, uids: Sequence[int]) -> list[int]:
        """The sequence numbers of ascending uids, all of them known here."""
        if not uids:
            return []
        first = self.number(uids[0])
        if self.number(uids[-1]) - first == len(uids) - 1:
            return list(range(first, first + len(uids)))
        return [self.number(uid) for uid in uids]

    def spans(self, numbers: SequenceSet, *, uid: bool) -> list[tuple[int, int]] | None:
        """The set as merged [start, end) places in `uids`; None: a sequence number beyond the last.

        RFC 3501 §9 seq-range: the order within a range is free, "*" is the highest in use. Unknown
        uids are no error (§6.4.8).
        """
        count = self.count
        places = []
        for low, high in numbers.ranges:
            if uid:
                highest = self.uids[count - 1] if count else 0
                first, last = low or highest, high or highest
                if first > last:
                    first, last = last, first
                places.append(
                    (
                        bisect_left(self.uids, first, 0, count),
                        bisect_right(self.uids, last, 0, count),
                    )
                )
                continue
            first, last = low or count, high or count
            if first > last:
                first, last = last, first
            if last > count or not count:
                # "*" is a number in use; without messages, and in 5:* of three, it names none.
                if low and high:
                    return None
                last = count
            places.append((max(first, 1) - 1, last))
        places.sort()
        merged: list[tuple[int, int]] = []
        for start, end in places:
            if start >= end:
                continue
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def select(self, spans: Iterable[tuple[int, int]]) -> array[int]:
        """The uids of the spans, ascending."""
        chosen = array("I")
        for start, end in spans:
            chosen.extend(self.uids[start:end])
        return chosen


def batches(uids: array[int], size: int) -> Iterator[array[int]]:
    for start in range(0, len(uids), size):
        yield uids[start : start + size]
