"""Story: what the store knows of one message, read in one snapshot, for `journey` to tell."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from estafeta.mail.dates import parse_date
from estafeta.mail.message import text_field
from estafeta.office.journey import Story
from estafeta.office.limits import TRACE_MESSAGES_MAX
from estafeta.queue.suspended import Suspension, standing
from estafeta.store import accounts, ledger, mailboxes, tracker
from estafeta.store.bodies import Bodies, BodyMissing, bring
from estafeta.store.engine import Store, StoreError, Tx
from estafeta.store.journey import journey
from estafeta.store.rows import Acceptance, Stored

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
        suspensions=_suspensions(tx, {row.destination for row in known.queue}),
        tracker=_tracker(tx, acceptance),
        copies=_copies(tx, acceptance),
    )


def _tracker(tx: Tx, acceptance: Acceptance) -> str:
    account = acceptance.account
    return tracker.keyword_of(tx, account, acceptance.message_id) if account is not None else ""


def _copies(tx: Tx, acceptance: Acceptance) -> tuple[str, ...]:
    """Mailboxes of its sender's copies; told of once, where the message itself is."""
    if acceptance.account is None or acceptance.parent is not None:
        return ()
    found = tracker.copies(tx, acceptance.account, acceptance.message_id)
    return tuple(dict.fromkeys(copy.mailbox_name for copy in found))


def _suspensions(tx: Tx, destinations: Collection[str]) -> dict[str, Suspension]:
    """Of these destinations."""
    if not destinations:
        return {}
    said = standing(tx)
    found = {name: said.suspends(name) for name in destinations}
    return {name: each for name, each in found.items() if each is not None}


def with_children(tx: Tx, bodies: Bodies, found: list[int]) -> list[Story]:
    """Their stories, each followed by those of what came of it (bounces, targets of an alias)."""
    known: dict[int, Story] = {}
    waiting = list(found)
    while waiting and len(known) < TRACE_MESSAGES_MAX:
        id = waiting.pop(0)
        if id not in known:
            known[id] = read_story(tx, bodies, id)
            waiting[:0] = [child.id for child in known[id].known.children]
    told: list[Story] = []
    below = [id for id, story in known.items() if story.known.acceptance.parent not in known]
    while below:
        story = known.pop(below.pop(0))
        told.append(story)
        below[:0] = [child.id for child in story.known.children if child.id in known]
    return told


def for_sender(found: list[Story], account: int) -> list[Story]:
    """Without what stands behind an alias and what came of that, and without other people's
    mailboxes. found: each behind what it came of."""
    behind: set[int] = set()
    shown: list[Story] = []
    for story in found:
        acceptance = story.known.acceptance
        if acceptance.origin == "alias" or acceptance.parent in behind:
            behind.add(acceptance.id)
            continue
        own = {key: place for key, place in story.places.items() if key[0] == account}
        shown.append(msgspec.structs.replace(story, places=own, account=account))
    return shown


def _header(tx: Tx, bodies: Bodies, body: int) -> tuple[str, int | None]:
    """From and Date; nothing where the body is gone, which is the audit's matter, or elsewhere."""
    try:
        found = bodies.content(tx, body)
        if found.distant is not None:
            return "", None
        return _names(found.read(0, HEADER_OCTETS))
    except (BodyMissing, OSError):
        return "", None


async def completed(story: Story, store: Store, bodies: Bodies) -> Story:
    """With what stands in a body that lies elsewhere; as it is where that cannot be reached."""
    body = story.known.acceptance.body
    try:
        found = await store.read(lambda tx: bodies.content(tx, body))
        if found.distant is None:
            return story
        await bring(found, HEADER_OCTETS)
    except StoreError:
        return story
    author, written = _names(found.read(0, HEADER_OCTETS))
    return msgspec.structs.replace(story, author=author, written=written)


def _names(start: bytes) -> tuple[str, int | None]:
    """From and Date of a message that begins so."""
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
