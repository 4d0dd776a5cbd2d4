"""maildrop: what POP3 sees of an account (RFC 1939 §5): INBOX as it was at login, and its units."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from estafeta.mail.message import section
from estafeta.mail.protocols import Content
from estafeta.read.limits import PIECE_OCTETS
from estafeta.store import flags as bits
from estafeta.store import mailboxes, messages
from estafeta.store.bodies import Bodies
from estafeta.store.engine import Tx
from estafeta.store.mailboxes import INBOX


class Maildrop:
    """INBOX at login: uid and size of each message; numbers are places from 1."""

    __slots__ = ("deleted", "mailbox", "retrieved", "sizes", "uids", "uidvalidity")

    def __init__(self, mailbox: int, uidvalidity: int) -> None:
        self.mailbox = mailbox
        self.uidvalidity = uidvalidity
        self.uids: array[int] = array("I")
        self.sizes: array[int] = array("Q")
        self.deleted: set[int] = set()
        self.retrieved: set[int] = set()

    def there(self, number: int) -> bool:
        return 0 < number <= len(self.uids) and number not in self.deleted

    def numbers(self) -> Iterator[int]:
        return (n for n in range(1, len(self.uids) + 1) if n not in self.deleted)

    def unique_id(self, number: int) -> str:
        """RFC 1939 §7 UIDL: lasting, because a uid is never used again under its UIDVALIDITY."""
        return f"{self.uidvalidity}.{self.uids[number - 1]}"

    def totals(self) -> tuple[int, int]:
        """(messages, octets) without the deleted ones."""
        gone = sum(self.sizes[n - 1] for n in self.deleted)
        return len(self.uids) - len(self.deleted), sum(self.sizes) - gone

    def described(self) -> str:
        count, octets = self.totals()
        return f"{count} messages, {octets} octets"


def open_maildrop(tx: Tx, account: int) -> Maildrop | None:
    box = mailboxes.mailbox_by_name(tx, account, INBOX)
    if box is None:
        return None
    drop = Maildrop(box.id, box.uidvalidity)
    for row in messages.rows(tx, account, box.id, 1, box.uidnext):
        drop.uids.append(row.uid)
        drop.sizes.append(row.size)
    return drop


def message(
    tx: Tx, bodies: Bodies, account: int, mailbox: int, uid: int
) -> tuple[bytes, Content, bytes] | None:
    found = messages.content(tx, bodies, account, mailbox, uid)
    texts = messages.texts_for(tx, account, mailbox, [uid], ("parts",))
    if found is None or not texts:
        return None
    return found[0], found[1], texts[0][1]


def update(tx: Tx, account: int, drop: Maildrop) -> None:
    seen = sorted(drop.uids[n - 1] for n in drop.retrieved - drop.deleted)
    if seen:
        messages.store_flags(tx, account, drop.mailbox, seen, mode="add", flags=bits.SEEN)
    gone = sorted(drop.uids[n - 1] for n in drop.deleted)
    if gone:
        messages.expunge(tx, account, drop.mailbox, gone)


def top(content: Content, parts: bytes, lines: int) -> Iterator[bytes]:
    """The header, its empty line and so many lines of the body."""
    place = section(parts, "HEADER")
    end = place[1] if place is not None else 0
    yield content.read(0, end)
    while lines and end < content.size:
        piece = content.read(end, end + PIECE_OCTETS)
        end += len(piece)
        count = piece.count(b"\n")
        if count >= lines:
            at = -1
            for _ in range(lines):
                at = piece.find(b"\n", at + 1)
            yield piece[: at + 1]
            return
        lines -= count
        yield piece
