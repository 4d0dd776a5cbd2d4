"""Recipients: whom a report is about, and which of several words about them win.

Fields for programs name the recipients where there are any; the text for people gives the words
where the fields say little, and all where there are none.
"""

from __future__ import annotations

import re

import msgspec

from estafeta.explain.reading.forms import ADDRESS, forms
from estafeta.explain.reading.limits import RECIPIENTS_MAX, WORDS_CHARACTERS_MAX
from estafeta.explain.reading.nouns import ReportedRecipient
from estafeta.explain.reading.prose import Prose, best, vague
from estafeta.explain.reading.reply import Said, precise, said
from estafeta.explain.reading.status import Block

_ADDRESS = re.compile(ADDRESS)
_TELLING = re.compile(
    r"\b[45][0-7]\d[ -]|\b[45]\.\d{1,3}\.\d|\bbecause\b|\breason\b|n.t be found", re.IGNORECASE
)
"""A line that says why, whatever else it says."""


def of_fields(
    blocks: list[Block], prose: Prose, failed: list[str], most: int = RECIPIENTS_MAX
) -> list[ReportedRecipient]:
    """Those whom the fields for programs name, the first `most`. failed: whom the report's header
    names."""
    found: list[ReportedRecipient] = []
    named = list(prose.named)
    alone = len(blocks) == 1
    for number, block in enumerate(blocks[:most]):
        own = prose.of(block.original) or prose.of(block.final)
        if own is None and alone and len(named) == 1:
            own = named[0]
        if own is None and number < len(named) and not block.original and not block.final:
            own = named[number]
        address = _written_to(block, own.address if own is not None else "", failed)
        words = [said(each) for each in own.words] if own is not None else []
        reply = _reply_of(block, words, prose, address, alone=alone)
        found.append(_recipient(block, reply, address))
    return found


def of_text(prose: Prose, action: str, most: int = RECIPIENTS_MAX) -> list[ReportedRecipient]:
    """Those whom the text names, the first `most`."""
    found: list[ReportedRecipient] = []
    for named in prose.named[:most]:
        candidates = [*map(said, named.words), *prose.answers(named.address)]
        reply = _said_of_one(prose, candidates, alone=len(prose.named) == 1)
        block = Block(final=named.address, original=named.expanded, action=action)
        found.append(_recipient(block, reply, named.expanded or named.address))
    return found


def of_nobody(prose: Prose, addresses: list[str], action: str) -> list[ReportedRecipient]:
    """Those of a report whose text names none; addresses: what else names some."""
    reply = _said_of_one(prose, [], alone=True)
    return [
        _recipient(Block(action=action), reply, address)
        for address in addresses[:RECIPIENTS_MAX] or [""]
    ]


def _written_to(block: Block, named: str, failed: list[str]) -> str:
    for address in (block.original, block.final, named):
        if _ADDRESS.fullmatch(address):
            return address
    return failed[0] if failed else block.final or block.original


def _reply_of(
    block: Block, candidates: list[Said], prose: Prose, address: str, *, alone: bool
) -> Said:
    """The words that win: the field's, unless it says little and the text says more."""
    own = said(block.words) if block.words else Said()
    candidates += prose.answers(*filter(None, (address, block.final, block.original)))
    if not vague(own):
        return _completed(own, [*candidates, *(_said_of_all(prose) if alone else ())])
    candidates = [own, *candidates] if own.code else candidates
    other = _said_of_one(prose, candidates, alone=alone)
    if vague(other) or other.weight <= own.weight:
        other = own
    return Said(
        code=own.code or other.code,
        status=own.status if precise(own.status) else other.status or own.status,
        text=other.text or own.text,
        host=own.host or other.host,
        command=own.command or other.command,
    )


def _completed(reply: Said, told: list[Said]) -> Said:
    """With the command and the host that somebody else tells of the same reply."""
    same = [each for each in told if each.code == reply.code or not reply.code]
    return msgspec.structs.replace(
        reply,
        command=reply.command or next((each.command for each in same if each.command), ""),
        host=reply.host or next((each.host for each in same if each.host), ""),
    )


def _said_of_one(prose: Prose, candidates: list[Said], *, alone: bool) -> Said:
    """The best of what is said of one recipient; of all, where nothing better is.

    alone: whatever the text says, it says of this one.
    """
    reply = best(candidates)
    if vague(reply):
        candidates = [*candidates, *_said_of_all(prose)]
        reply = best(candidates)
    if alone and vague(reply):
        reply = best([*candidates, *(each for _, each in prose.asked)])
    if vague(reply) and not reply.code:
        reply = best([*candidates, _loose(prose)])
    if alone and not reply.code:
        reply = msgspec.structs.replace(reply, code=best(_said_of_all(prose)).code)
    return reply


def _said_of_all(prose: Prose) -> list[Said]:
    return [*prose.reasons, *prose.answers("")]


def _loose(prose: Prose) -> Said:
    """The text as a whole, where no part of it says why."""
    idle = forms().idle
    telling = [
        line.strip()
        for line in prose.lines
        if _TELLING.search(line)
        or (idle.match(line) is None and _ADDRESS.sub("", line).strip(" <>:;-*.\t"))
    ]
    return said("\n".join(telling)[:WORDS_CHARACTERS_MAX])


def _recipient(block: Block, reply: Said, address: str) -> ReportedRecipient:
    status = block.status
    if reply.status and (not precise(status) or _surer(reply)):
        status = reply.status
    return ReportedRecipient(
        code=reply.code,
        status=status,
        text=reply.text[:WORDS_CHARACTERS_MAX],
        host=block.host or reply.host,
        command=reply.command,
        action=block.action,
        address=address,
        original_recipient=block.original,
        final_recipient=block.final,
        last_attempt=block.last_attempt,
        will_retry_until=block.will_retry_until,
    )


def _surer(reply: Said) -> bool:
    """Whether a reply is one whole: code and status of one class, as the server itself gave it."""
    return bool(reply.code) and precise(reply.status) and reply.status[0] == str(reply.code)[0]
