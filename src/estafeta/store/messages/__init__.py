"""Messages: one copy in one mailbox.

Promises: a uid is never given out twice; each change carries a modseq of the account that is
greater than any before it; counts, sizes and HIGHESTMODSEQ of mailbox and account are kept by the
same unit, and audit proves them. Source: RFC 9051, RFC 7162.
"""

from estafeta.store.mailboxes import next_modseq
from estafeta.store.messages.change import (
    Copied,
    FlagsChanged,
    copy,
    expunge,
    fold_tombstones,
    move,
    store_flags,
)
from estafeta.store.messages.place import Full, append, quota
from estafeta.store.messages.records import Changes, MessageRow, Placed, Text, Uids
from estafeta.store.messages.select import (
    TEXT_COLUMNS,
    changes_since,
    content,
    rows,
    rows_after,
    rows_for,
    take_recent,
    texts_for,
    uids,
    uids_with_flags,
)

__all__ = [
    "TEXT_COLUMNS",
    "Changes",
    "Copied",
    "FlagsChanged",
    "Full",
    "MessageRow",
    "Placed",
    "Text",
    "Uids",
    "append",
    "changes_since",
    "content",
    "copy",
    "expunge",
    "fold_tombstones",
    "move",
    "next_modseq",
    "quota",
    "rows",
    "rows_after",
    "rows_for",
    "store_flags",
    "take_recent",
    "texts_for",
    "uids",
    "uids_with_flags",
]
