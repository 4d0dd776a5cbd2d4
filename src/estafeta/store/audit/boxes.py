"""Boxes: accounts, mailboxes and messages, their counters and their two rows each."""

from __future__ import annotations

from collections.abc import Sequence

from estafeta.store import mailboxes
from estafeta.store.audit.finding import Finding
from estafeta.store.engine import Tx
from estafeta.store.flags import SEEN
from estafeta.store.ids import queue_id
from estafeta.store.limits import AUDIT_SLICE
from estafeta.store.rows import Mailbox

_MESSAGES = (
    "SELECT uid, body, size FROM message WHERE account = ? AND mailbox = ? AND uid > ?"
    " ORDER BY uid LIMIT ?"
)
_TEXTS = (
    "SELECT uid, length(prefix) FROM message_text"
    " WHERE account = ? AND mailbox = ? AND uid > ? AND uid <= ? ORDER BY uid"
)
_UID_END = 1 << 32


def account_findings(tx: Tx, account: int) -> tuple[list[int], list[Finding]]:
    """(ids of its mailboxes, what is wrong with the account itself)."""
    row = tx.row("SELECT address, used, modseq FROM account WHERE id = ?", (account,))
    if row is None:
        return [], []  # removed meanwhile
    address, used, modseq = row
    boxes = mailboxes.mailboxes(tx, account)
    found = []
    octets = sum(box.bytes for box in boxes)
    if octets != used:
        found.append(
            Finding(
                "account-used",
                f"{address}: {used} octets are counted, the mailboxes come to {octets}",
                account=account,
            )
        )
    if not any(box.name == mailboxes.INBOX for box in boxes):
        found.append(Finding("no-inbox", f"{address} has no INBOX", account=account))
    found.extend(
        Finding(
            "mailbox-modseq",
            f"{address}: {box.name} has modseq {box.modseq}, the account only {modseq}",
            account=account,
            mailbox=box.id,
        )
        for box in boxes
        if box.modseq > modseq
    )
    return [box.id for box in boxes], found


def mailbox_findings(tx: Tx, account: int, id: int) -> list[Finding]:
    """What is wrong with a mailbox itself."""
    box = mailboxes.mailbox(tx, account, id)
    if box is None:
        return []  # removed meanwhile
    return _counters(tx, box, _address(tx, account))


def message_findings(
    tx: Tx, after: int, *, account: int, id: int
) -> tuple[list[Finding], int | None]:
    """What is wrong with the next messages of a mailbox, after uid `after`. See full.Step.

    A message is two rows, narrow and wide, and a body. They are brought together here and not in
    SQL: joined, they cost what the planner makes of them, by the square where it knows no counts.
    """
    box = mailboxes.mailbox(tx, account, id)
    if box is None:
        return [], None  # removed meanwhile
    address = _address(tx, account)
    messages = tx.rows(_MESSAGES, (account, id, after, AUDIT_SLICE))
    last = messages[-1][0] if len(messages) == AUDIT_SLICE else _UID_END
    texts: dict[int, int] = dict(tx.rows(_TEXTS, (account, id, after, last)))
    sizes = _body_sizes(tx, sorted({body for _, body, _ in messages}))
    found = []
    for uid, body, size in messages:
        prefix = texts.pop(uid, None)
        if prefix is None:
            what = f"{address}: message {uid} in {box.name} has lost its text row"
            found.append(_finding("message-without-text", box, what, uid))
            continue
        kind = ""
        if body not in sizes:
            kind, what = "body-missing", f"its body {queue_id(body)} is missing"
        elif size != prefix + sizes[body]:
            real = prefix + sizes[body]
            kind, what = "message-size", f"is {size} octets by its row and {real} in fact"
        if kind:
            text = f"{address}: message {uid} in {box.name}: {what}"
            found.append(_finding(kind, box, text, uid, body))
    for uid in texts:
        what = f"{address}: message {uid} in {box.name} is lost, only its text row is left"
        found.append(_finding("message-lost", box, what, uid))
    return found, None if last == _UID_END else last


def _address(tx: Tx, account: int) -> str:
    return str(tx.value("SELECT address FROM account WHERE id = ?", (account,)))


def _body_sizes(tx: Tx, ids: Sequence[int]) -> dict[int, int]:
    if not ids:
        return {}
    marks = ", ".join("?" * len(ids))
    return dict(tx.rows(f"SELECT id, size FROM body WHERE id IN ({marks})", ids))  # noqa: S608


def _counters(tx: Tx, box: Mailbox, address: str) -> list[Finding]:
    row = tx.row(
        "SELECT count(*), coalesce(sum(size), 0),"  # noqa: S608
        f" coalesce(sum(CASE WHEN flags & {SEEN} = 0 THEN 1 ELSE 0 END), 0),"
        f" coalesce(max(uid), 0), coalesce(max(modseq), 0) FROM message"
        " WHERE account = ? AND mailbox = ?",
        (box.account, box.id),
    )
    assert row is not None
    messages, octets, unseen, uid, modseq = row
    found = []
    for name, counted, real in (
        ("messages", box.messages, messages),
        ("octets", box.bytes, octets),
        ("unseen", box.unseen, unseen),
    ):
        if counted != real:
            found.append(
                _finding(
                    "mailbox-counter",
                    box,
                    f"{address}: {box.name} counts {counted} {name}, there are {real}",
                )
            )
    if uid >= box.uidnext:
        found.append(
            _finding(
                "mailbox-uidnext",
                box,
                f"{address}: {box.name} has uid {uid}, and {box.uidnext} is to come next",
            )
        )
    if modseq > box.modseq:
        found.append(
            _finding(
                "mailbox-modseq",
                box,
                f"{address}: {box.name} has a message of modseq "
                f"{modseq} and HIGHESTMODSEQ {box.modseq}",
            )
        )
    return found


def _finding(
    kind: str, box: Mailbox, text: str, uid: int | None = None, body: int | None = None
) -> Finding:
    return Finding(kind, text, account=box.account, mailbox=box.id, uid=uid, body=body)


def strays(tx: Tx) -> list[Finding]:
    """Rows that belong to no mailbox, mailboxes and tokens that belong to no account."""
    found = []
    for account, id, name in tx.rows(
        "SELECT account, id, name FROM mailbox WHERE NOT EXISTS"
        " (SELECT 1 FROM account WHERE account.id = mailbox.account)"
    ):
        text = f"mailbox {name} ({id}) belongs to account {account}, which is lost"
        found.append(Finding("account-lost", text, account=account, mailbox=id))
    for account, name in tx.rows(
        "SELECT account, name FROM bearer WHERE account IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM account WHERE account.id = bearer.account)"
    ):
        text = f"token {name} is of account {account}, which is lost"
        found.append(Finding("account-lost", text, account=account))
    for table in ("message", "message_text", "sent_copy"):
        # One probe for each mailbox, not one for each message.
        here = (-1, -1)
        while True:
            row = tx.row(
                f"SELECT account, mailbox FROM {table} WHERE (account, mailbox) > (?, ?)"  # noqa: S608
                " ORDER BY account, mailbox LIMIT 1",
                here,
            )
            if row is None:
                break
            here = (row[0], row[1])
            if mailboxes.mailbox(tx, *here) is None and not is_removed(tx, *here):
                text = f"account {here[0]} has messages in mailbox {here[1]}, which is lost"
                found.append(Finding("mailbox-lost", text, account=here[0], mailbox=here[1]))
    return list(dict.fromkeys(found))


def is_removed(tx: Tx, account: int, mailbox: int) -> bool:
    """Whether somebody deleted it, or the account with it."""
    return (
        tx.value(
            "SELECT 1 FROM removed WHERE account = ? AND mailbox IN (0, ?) LIMIT 1",
            (account, mailbox),
        )
        is not None
    )
