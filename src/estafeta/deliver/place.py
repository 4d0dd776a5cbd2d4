"""Place: a copy of a message into an account's INBOX, inside the unit that accepts it."""

from __future__ import annotations

from estafeta.intake.prepared import Parcel
from estafeta.mail.outcome import Deferred, Outcome, Refused
from estafeta.store import messages
from estafeta.store.engine import Tx
from estafeta.store.mailboxes import NoSuchMailbox
from estafeta.store.rows import Stored
from estafeta.wire import replies


def place(tx: Tx, parcel: Parcel) -> Stored | Outcome:
    """Stored, or why it cannot be.

    Quota was judged at RCPT: it may be overrun once, and who is full by then waits in the queue.
    """
    try:
        placed = messages.append(
            tx,
            parcel.account,
            "INBOX",
            body=parcel.body,
            size=len(parcel.prefix) + parcel.body.size,
            prefix=parcel.prefix,
            text=parcel.text,
            received=parcel.received,
            within_quota=True,
        )
    except NoSuchMailbox:
        # The account went away between RCPT and the unit.
        return Refused(replies.UNKNOWN_USER(address=f"account {parcel.account}"), "unknown-user")
    except messages.Full:
        reply = replies.MAILBOX_FULL(address=f"account {parcel.account}")
        return Deferred(reply, "mailbox-full")
    return Stored(parcel.account, placed.mailbox, placed.uid)
