"""Place: a copy of a message into an account's INBOX, inside the unit that accepts it."""

from __future__ import annotations

from estafeta.intake.prepared import Parcel
from estafeta.mail.outcome import Outcome, Refused
from estafeta.store import accounts, mailboxes, messages
from estafeta.store.engine import Tx
from estafeta.store.rows import Stored
from estafeta.wire import replies


def place(tx: Tx, parcel: Parcel) -> Stored | Outcome:
    """Stored, or why it cannot be. Quota was judged at RCPT and may be overrun once."""
    inbox = mailboxes.mailbox_by_name(tx, parcel.account, "INBOX")
    if inbox is None:
        # The account went away between RCPT and the unit.
        gone = accounts.account_by_id(tx, parcel.account)
        return Refused(replies.UNKNOWN_USER(address=gone.address if gone else ""), "unknown-user")
    placed = messages.append(
        tx,
        parcel.account,
        inbox.id,
        body=parcel.body,
        size=len(parcel.prefix) + parcel.body.size,
        prefix=parcel.prefix,
        text=parcel.text,
        flags=0,
        keywords="",
        received=parcel.received,
    )
    return Stored(parcel.account, inbox.id, placed.uid)
