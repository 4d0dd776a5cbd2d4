"""Story: what the store knows of one message, read in one snapshot, for `journey` to tell."""

from __future__ import annotations

from estafeta.mail.dates import parse_date
from estafeta.mail.message import text_field
from estafeta.office.journey import Story
from estafeta.store import accounts, ledger, mailboxes
from estafeta.store.bodies import Bodies, BodyMissing
from estafeta.store.engine import Tx
from estafeta.store.journey import journey
from estafeta.store.rows import Stored

HEADER_OCTETS = 64 * 1024
"""Of a body, the octets in which From and Date are looked for."""


def read_story(tx: Tx, bodies: Bodies, id: int) -> Story:
    """Raises KeyError where there is no such acceptance."""
    known = journey(tx, id)
    acceptance = known.acceptance
    login = accounts.account_by_id(tx, acceptance.account) if acceptance.account else None
    author, written = _header(tx, bodies, acceptance.body)
    return Story(
        known=known,
        author=author,
        written=written,
        login=login.address if login else "",
        places=_places(tx, known.recipients),
    )


def _header(tx: Tx, bodies: Bodies, body: int) -> tuple[str, int | None]:
    """From and Date; nothing where the body is gone, which is the audit's matter."""
    try:
        start = bodies.content(tx, body).read(0, HEADER_OCTETS)
    except (BodyMissing, OSError):
        return "", None
    date = text_field(start, "date")
    seconds = parse_date(date) if date else None
    author = text_field(start, "from") or ""
    return author, None if seconds is None else int(seconds * 1000)


def _places(tx: Tx, entries: list[ledger.Entry]) -> dict[tuple[int, int], str]:
    places: dict[tuple[int, int], str] = {}
    for entry in entries:
        if not isinstance(entry.fate, Stored):
            continue
        key = (entry.fate.account, entry.fate.mailbox)
        account = accounts.account_by_id(tx, key[0])
        mailbox = mailboxes.mailbox(tx, *key)
        if key not in places and account is not None and mailbox is not None:
            places[key] = f"{account.address} {mailbox.name}"
    return places
