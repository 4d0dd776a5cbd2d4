"""Prose: recipients and reasons in a text that a mail server wrote for people.

How it reads: the text ends where the returned message begins; lines that begin with an address, or
name one behind a label, are *heads*; what follows a head belongs to it; reasons that stand apart
belong to all. Of several things said of one recipient the one that says most counts. The ways of
speaking are data (`forms.toml`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from estafeta.explain.reading.forms import ADDRESS, Forms, forms
from estafeta.explain.reading.limits import (
    LINE_CHARACTERS_MAX,
    LINES_MAX,
    REASONS_MAX,
    RECIPIENTS_MAX,
    SENTENCES_CHARACTERS_MAX,
    WORDS_CHARACTERS_MAX,
)
from estafeta.explain.reading.reply import Said, plain, precise, said, verb

_BULLET = re.compile(r"[ \t]*(?:(?:[-*•>|·]+|\d+[.)])[ \t]+|[*•](?=\S))*")
_HEAD = re.compile(
    rf"[\"'<]*({ADDRESS})[\"'>]*(?:[ \t]*<(?:mailto:)?[^>\s]*>)?[ \t]*"
    r"(\.\.\.|:|;|,|-+|=|\(|\Z)?[ \t]*(.*)\Z"
)
_NAMED_HEAD = re.compile(rf"[^<>@\n]{{1,100}}<(mailto:)?({ADDRESS})>[ \t]*(:)?[ \t]*(.*)\Z")
_TAIL = re.compile(rf"([^<>@]{{4,200}}?):\s+[\"'<]*({ADDRESS})[\"'>]*[.]?\Z")
_OFFICE = re.compile(r"(?:postmaster|mailer-daemon|abuse|support|helpdesk)@", re.IGNORECASE)
_ON_DATE = re.compile(r"on (?:\w{3},? |\d)")
_ASKED = re.compile(
    r"(?:[ \t]*(?i:sent[ \t]*)?(?:>>>|<<<(?=[ ]*(?:RCPT|MAIL|DATA|EHLO|HELO)\b))"
    r"|[^<>]{0,60}[ \t]-->)[ \t]*([A-Za-z]{4}\b.*)\Z"
)
_ANSWERED = re.compile(
    r"(?:[ \t]*(?i:received[ \t]*)?(?:<<<|>>>(?=[ ]*\d))|[^<>]{0,60}[ \t]<--)[ \t]*(.*)\Z"
)
_ADDRESS = re.compile(ADDRESS)
_EXPANDED = re.compile(
    rf"\(?(?:expanded|generated)[ \t]+(?:from|by):?[ \t]+[\"'<]*({ADDRESS})[\"'>]*\)?:?",
    re.IGNORECASE,
)
_SEQUENCE = re.compile(r"50[34] .*(?:RCPT|recipient|DATA|valid)", re.IGNORECASE)
_REPLY_LINE = re.compile(
    r"[ \t]{0,80}[<\[('\"#]{0,4}(?:[45][0-7]\d[ -]|#?[45]\.\d{1,3}\.\d{1,3}\b)"
)
_FIELD_LINE = re.compile(
    r"(?:received|return-path|delivered-to|message-id|mime-version|from|to|cc|subject|date|sender"
    r"|reply-to|content-\w[\w-]*|dkim-signature|x-[\w-]+):",
    re.IGNORECASE,
)
_TRACE_LINE = re.compile(
    r"(?:received|return-path|message-id|dkim-signature|x-original-to|delivered-to|mime-version):",
    re.IGNORECASE,
)


class Named(msgspec.Struct):
    """A recipient that a text names. expanded: the address that became this one, or ""."""

    address: str
    words: list[str] = msgspec.field(default_factory=list)
    expanded: str = ""

    def names(self) -> tuple[str, str]:
        """Its addresses in lower case."""
        return self.address.lower(), self.expanded.lower()


class Prose(msgspec.Struct):
    """What a text says: recipients with their own words, reasons for all, the rest.

    asked: (address or "", reply) of a transcript. header: lines of the returned message.
    """

    named: list[Named] = msgspec.field(default_factory=list)
    reasons: list[Said] = msgspec.field(default_factory=list)
    asked: list[tuple[str, Said]] = msgspec.field(default_factory=list)
    lines: list[str] = msgspec.field(default_factory=list)
    header: str = ""

    def answers(self, *addresses: str) -> list[Said]:
        """The replies of a transcript to commands about these addresses; "" is no address."""
        wanted = {address.lower() for address in addresses}
        return [reply for to, reply in self.asked if to.lower() in wanted]

    def of(self, address: str) -> Named | None:
        """What is said of an address."""
        wanted = address.lower()
        if not wanted:
            return None
        return next((n for n in self.named if wanted in n.names()), None)


def read_prose(text: str, unlikely: frozenset[str] = frozenset()) -> Prose:
    """unlikely: addresses, in lower case, that name a recipient only where no other does."""
    known = forms()
    lines, header = _own_lines(text, known)
    prose = Prose(lines=lines, header=header)
    _transcript(prose)
    _reasons(prose, known)
    _heads(prose, known)
    likely = [named for named in prose.named if _likely(named.address, unlikely)]
    prose.named = (
        likely
        or [Named(address) for address, reply in prose.asked if reply.command == "RCPT" and address]
        or _by_sentence(prose, known, unlikely)
        or prose.named
        or _by_sentence(prose, known, frozenset())
    )
    del prose.named[RECIPIENTS_MAX:]
    return prose


def _own_lines(text: str, known: Forms) -> tuple[list[str], str]:
    """The lines of the report itself, and the text of the returned message."""
    lines = [line[:LINE_CHARACTERS_MAX].rstrip() for line in text.split("\n")[:LINES_MAX]]
    for number, line in enumerate(lines):
        if known.returned.match(line) or _begins_header(lines, number):
            kept = lines[:number]
            if any(kept) or not _ADDRESS.search(line):
                return kept, "\n".join(lines[number:])
    return lines, ""


def _begins_header(lines: list[str], number: int) -> bool:
    """Whether a header of a message begins at this line: several fields, one of them a trace."""
    if not _FIELD_LINE.match(lines[number]):
        return False
    found = trace = 0
    for line in lines[number : number + 40]:
        if not line:
            break
        if _FIELD_LINE.match(line):
            found += 1
            trace += _TRACE_LINE.match(line) is not None
        elif not line.startswith((" ", "\t")):
            break
    return found >= 3 and trace >= 1


def _transcript(prose: Prose) -> None:
    """Commands and replies that a text shows as they went over the wire."""
    command, replies = "", [""]
    for line in prose.lines:
        asked = _ASKED.match(line)
        answered = _ANSWERED.match(line) if asked is None else None
        if asked is not None and (asked[1][:1].isupper() or "@" in asked[1]):
            command, replies = asked[1], [""]
        elif answered is not None and (answered[1][:1] in "245"):
            replies.append(answered[1])
            _answer(prose, command, "\n".join(replies).strip())
    del prose.asked[RECIPIENTS_MAX:]


def _answer(prose: Prose, command: str, words: str) -> None:
    if words[:1] not in "45" or _SEQUENCE.match(words):
        return
    asked = verb(command[:4])
    found = _ADDRESS.search(command if asked == "RCPT" else words)
    address = found[0] if found is not None else ""
    if prose.asked and prose.asked[-1][0] == address and prose.asked[-1][1].command == asked:
        prose.asked.pop()  # the lines of one reply
    prose.asked.append((address, msgspec.structs.replace(said(words), command=asked)))


def _reasons(prose: Prose, known: Forms) -> None:
    """Reasons that stand apart from the recipients, the better ones first."""
    found: list[tuple[int, str]] = []
    for number, line in enumerate(prose.lines):
        if len(found) >= REASONS_MAX:
            break
        for rank, pattern in enumerate(known.reason):
            match = pattern.match(line)
            if match is not None:
                words = _section(prose.lines, number, line[match.end() :], known)
                if words and not known.empty.fullmatch(plain(words)):
                    found.append((rank, words))
                break
    prose.reasons = [said(words) for _, words in sorted(found, key=lambda each: each[0])]


def _section(lines: list[str], number: int, first: str, known: Forms) -> str:
    """The words behind a line that opens a reason, up to the first empty line after some."""
    words = [first.strip()] if first.strip() else []
    for line in lines[number + 1 : number + 60]:
        if not line.strip():
            if words:
                break
            continue
        if words and (known.labels.match(line) or any(form.match(line) for form in known.reason)):
            break
        if line.lstrip().startswith(("-----", "_____", "=====")):
            break
        words.append(line.strip())
    return "\n".join(words)[:WORDS_CHARACTERS_MAX]


def _heads(prose: Prose, known: Forms) -> None:
    """Lines that begin with a recipient, and what follows each."""
    lines = prose.lines
    number = 0
    weaker: list[Named] = []
    while number < len(lines):
        line = lines[number]
        number += 1
        if (
            not line.strip()
            or _ASKED.match(line)
            or (_ANSWERED.match(line) and "@" not in line[:40])
        ):
            continue
        bullet = _BULLET.match(line)
        body = line[bullet.end() :] if bullet is not None else line
        head = _head(body)
        if head is None:
            label = known.labels.match(body)
            if label is not None:
                _add(
                    weaker if body[:2].lower() == "to" else prose.named,
                    label[1],
                    _block(lines, number, line, known),
                )
            elif (tail := _TAIL.match(body)) and not _FIELD_LINE.match(body):
                _add(weaker, tail[2], tail[1])
            continue
        address, first = head
        rest = _block(lines, number, line, known)
        number += rest.count("\n") + 1 if rest else 0
        _add(prose.named, address, f"{first}\n{rest}".strip())
    if not any(named.address for named in prose.named):
        prose.named = weaker


def _head(body: str) -> tuple[str, str] | None:
    """(address, words behind it) of a line that names a recipient."""
    match = _HEAD.match(body)
    if match is not None:
        address, separator, words = match[1], match[2] or "", match[3]
        if separator == "(":
            words = words[:-1] if words.endswith(")") else words
        elif (not separator and _ON_DATE.match(words)) or (
            not separator and words.startswith("<") and _ADDRESS.search(words)
        ):
            words = ""
        return address, words
    match = _NAMED_HEAD.match(body) if _REPLY_LINE.match(body) is None else None
    if match is not None and (match[3] or (match[1] and not match[4])):
        return match[2], match[4]
    return None


def _block(lines: list[str], number: int, head: str, known: Forms) -> str:
    """The lines that belong to the head just before `number`."""
    depth = _depth(head)
    words: list[str] = []
    for line in lines[number : number + 80]:
        if not line.strip() or (_depth(line) <= depth and _names(line)):
            break
        words.append(line.strip())
    return "\n".join(words)[:WORDS_CHARACTERS_MAX]


def _names(line: str) -> bool:
    """Whether a line begins with an address: the next head."""
    return _HEAD.match(line.strip().lstrip("-*>• ")) is not None or _ASKED.match(line) is not None


def _depth(line: str) -> int:
    return len(line.expandtabs()) - len(line.expandtabs().lstrip())


def _add(named: list[Named], address: str, words: str) -> None:
    address = address.rstrip(".")
    wanted = address.lower()
    expanded = _EXPANDED.search(words)
    found = next((each for each in named if each.address.lower() == wanted), None)
    if found is None:
        found = Named(address)
        named.append(found)
    if expanded is not None:
        found.expanded = expanded[1]
        words = words.replace(expanded[0], "", 1).strip()
    if words and len(found.words) < REASONS_MAX:
        found.words.append(words)


def _likely(address: str, unlikely: frozenset[str]) -> bool:
    return address.lower() not in unlikely and _OFFICE.match(address) is None


def _by_sentence(prose: Prose, known: Forms, unlikely: frozenset[str]) -> list[Named]:
    """Recipients that are named within sentences."""
    text = "\n".join(prose.lines)[:SENTENCES_CHARACTERS_MAX]
    for pattern in known.sentences:
        found: list[Named] = []
        for match in pattern.finditer(text):
            address = next(group for group in match.groups() if group).rstrip(".")
            if _likely(address, unlikely):
                _add(found, address, "")
        if found:
            return found
    return []


def best(candidates: Iterable[Said]) -> Said:
    """The reply that says most; the first of equals."""
    chosen, weight = Said(), -1
    for reply in candidates:
        heavy = reply.weight - (3 if vague(reply) else 0)
        if heavy > weight:
            chosen, weight = reply, heavy
    return chosen


def vague(reply: Said) -> bool:
    """Whether a reply tells nothing of the reason."""
    text = _ADDRESS.sub("", reply.text).strip(" <>:.;,-()")
    if len(text) < 3 or not any(character.isalpha() for character in text):
        return True
    return not precise(reply.status) and forms().empty.fullmatch(text) is not None
