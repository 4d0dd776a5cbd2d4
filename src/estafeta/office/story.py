"""Story: what the store knows of one message, read in one snapshot, for `journey` to tell."""

from __future__ import annotations

import msgspec

from estafeta.mail.dates import parse_date
from estafeta.mail.message import text_field
from estafeta.office.journey import Event, Story, Waiting
from estafeta.store import accounts, ledger, mailboxes
from estafeta.store.engine import Tx
from estafeta.store.ids import parse_queue_id
from estafeta.store.rows import Stored

HEADER_OCTETS = 64 * 1024
"""Of a body, the octets in which From and Date are looked for."""

EVENTS_MAX = 1000
"""The latest events of a message that are told."""


def read_story(tx: Tx, id: int) -> Story | None:
    """None where there is no such acceptance."""
    acceptance = ledger.find_acceptance(tx, id)
    if acceptance is None:
        return None
    entries = ledger.entries(tx, id)
    events = tx.rows(
        "SELECT at, n, kind, detail FROM event WHERE acceptance = ? ORDER BY id DESC LIMIT ?",
        (id, EVENTS_MAX),
    )
    waiting = tx.rows("SELECT n, due, attempts, held FROM queue WHERE acceptance = ?", (id,))
    children = tx.rows("SELECT id FROM acceptance WHERE parent = ? ORDER BY id", (id,))
    login = accounts.account_by_id(tx, acceptance.account) if acceptance.account else None
    author, written = _header(tx, acceptance.body)
    return Story(
        acceptance=acceptance,
        entries=entries,
        events=[
            Event(at, n, kind, msgspec.json.decode(detail))
            for at, n, kind, detail in reversed(events)
        ],
        waiting=[Waiting(*row) for row in waiting],
        children=[child for (child,) in children],
        author=author,
        written=written,
        login=login.address if login else "",
        places=_places(tx, entries),
    )


def find(tx: Tx, what: str, limit: int) -> list[int]:
    """Acceptances by queue id, Message-ID (with or without <>), or address of sender or recipient;
    the newest first."""
    what = what.strip()
    try:
        id = parse_queue_id(what)
    except ValueError:
        pass
    else:
        return [id] if ledger.find_acceptance(tx, id) is not None else []
    bare = what.removeprefix("<").removesuffix(">")
    found = tx.rows(
        "SELECT id FROM acceptance WHERE message_id IN (?, ?) ORDER BY id DESC LIMIT ?",
        (bare, f"<{bare}>", limit),
    )
    local, at, domain = bare.rpartition("@")
    address = f"{local}@{domain.lower()}"
    if not found and at:
        found = tx.rows(
            "SELECT acceptance FROM recipient WHERE address IN (?, ?) UNION "
            "SELECT id FROM acceptance WHERE reverse_path IN (?, ?) AND reverse_path <> '' "
            "ORDER BY 1 DESC LIMIT ?",
            (address, address.lower(), address, address.lower(), limit),
        )
    return [id for (id,) in found]


def _header(tx: Tx, body: int) -> tuple[str, int | None]:
    """From and Date, where the body is in the database."""
    start = tx.value("SELECT substr(data, 1, ?) FROM body WHERE id = ?", (HEADER_OCTETS, body))
    if not start:
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
