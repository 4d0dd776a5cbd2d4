"""The foreign server is the client, and we do not take the message, or not yet.

What we answered is read from the wire. It stands in the bounce that the foreign server writes, or
in its queue and its log while it waits; and our own side says the same to the account's owner.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.matrix.choosy import (
    BUSY,
    FULL,
    FULL_FOR_GOOD,
    GONE,
    GREY,
    LISTED,
    NO_FILMS,
    NOBODY,
    OPEN,
    RATE,
    RATE_AT_ONCE,
    SECRET,
    SMALL,
    SMALL_MAX,
    WHY_LISTED,
)
from tests.matrix.conftest import Cell, Remark
from tests.matrix.messages import FILM, film
from tests.matrix.stand import CALLER, Stand, with_text
from tests.matrix.stand import LISTED as LISTED_DOMAIN
from tests.support.peers.letters import letter
from tests.support.peers.process import DidNotHappen, wait_for
from tests.support.peers.server import Direction, Feature

from estafeta.explain.reading import read_report
from estafeta.explain.verdicts import verdicts

DIRECTION = Direction.SENDS

EVA = f"eva@{CALLER}"
FLUSH_S = 1.0
QUEUE_S = 2.0
SHADY = f"eva@{LISTED_DOMAIN}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What we are to say: "550 5.1.1", the cause in brackets, and what the words are to name."""

    begins: str
    cause: str
    names: str = ""

    def found(self, lines: Sequence[str]) -> str:
        """The words of the first such line, "" if there is none."""
        for line in lines:
            if line.startswith(self.begins) and f"[{self.cause}]" in line and self.names in line:
                return line.removeprefix(self.begins).strip()
        return ""


def flat(text: str | bytes) -> str:
    """Without white space: each server folds what it quotes in its own way."""
    return "".join((text.decode("utf-8", "replace") if isinstance(text, bytes) else text).split())


def nothing() -> None:
    """What is done meanwhile."""


def unhurried(flush: Callable[[], None]) -> Callable[[], None]:
    """Once a second at most: there are servers that give up after some tries, however quick."""
    last = 0.0

    def now_and_then() -> None:
        nonlocal last
        if time.monotonic() >= last + FLUSH_S:
            last = time.monotonic()
            flush()

    return now_and_then


def listening(
    stand: Stand, wanted: Answer, meanwhile: Callable[[], object] = nothing
) -> Callable[[], str]:
    """Waits for such an answer to whoever comes from now on; gives its words."""
    before = Counter(stand.door.refusals())

    def look() -> str:
        found = wanted.found(list(Counter(stand.door.refusals()) - before))
        if not found:
            meanwhile()
        return found

    def wait() -> str:
        return wait_for(f"{wanted} from us", look, log=stand.choosy.log)

    return wait


def told_the_owner(stand: Stand, account: str, wanted: Answer, sender: str = EVA) -> None:
    """Their list of who tried to reach them says it in the same words."""

    def look() -> bool:
        rows = [row for row in stand.choosy.knocks(account) if row["cause"] == wanted.cause]
        return any(
            row["sender"] == sender and wanted.begins in row["reply"] and row["times"] > 0
            for row in rows
        )

    wait_for(f"{wanted.cause} in the journal of {account}", look)


def arrived(stand: Stand, account: str, wanted: Answer) -> bool:
    """Whether the owner's list says that what was put off came in."""
    return any(
        row["arrived"] for row in stand.choosy.knocks(account) if row["cause"] == wanted.cause
    )


def refused(
    stand: Stand, mark: str, message: bytes, recipient: str, wanted: Answer, sender: str = EVA
) -> None:
    """The message comes back, and says what we said."""
    peer, words = stand.caller, listening(stand, wanted)
    peer.submit(message, sender, [recipient])
    said = words()
    [bounce] = with_text(peer, sender, f"<{mark}@letters.example>".encode())
    assert flat(said) in flat(bounce), said
    # a server that has no line of its own for it in the report says it in its words
    judged = {verdict.cause for _, verdict in verdicts(read_report(bounce))}
    assert judged == {wanted.cause}
    wait_for("its queue empty", lambda: not peer.queue())
    assert stand.choosy.fates(mark) == {}


def waiting(
    stand: Stand, mark: str, message: bytes, recipient: str, wanted: Answer, remark: Remark
) -> None:
    """The message stays in its queue, and that or its log says what we said."""
    peer = stand.caller
    # who has a connection left from before may find it closed, and come again later by itself
    words = listening(stand, wanted, unhurried(peer.flush))
    peer.submit(message, EVA, [recipient])
    said = flat(words())
    wait_for("our words in its log", lambda: said in flat(peer.log() + peer.queue()), log=peer.log)
    assert recipient in peer.queue()
    try:
        wait_for("our words in its queue", lambda: said in flat(peer.queue()), QUEUE_S)
    except DidNotHappen:
        remark("its log says why, its queue does not")
    assert stand.choosy.fates(mark) == {}


def comes_later(stand: Stand, mark: str, message: bytes, recipient: str) -> None:
    """What waited is delivered once it may be, whole and once."""
    peer, choosy = stand.caller, stand.choosy
    flush = unhurried(peer.flush)

    def flushed() -> bool:
        flush()
        return bool(choosy.fates(mark))

    wait_for("delivered later", flushed, log=peer.log)
    assert choosy.wait_fates(mark, [recipient]) == {recipient: "stored"}
    [copy] = choosy.marked(recipient, mark)
    stand.same(message, copy)
    wait_for("its queue empty", lambda: not peer.queue())


def test_unknown(stand: Stand, cell: Cell) -> None:
    with cell(Feature.WE_KNOW_NOBODY):
        wanted = Answer("550 5.1.1", "unknown-user", NOBODY)
        refused(stand, "c-nobody", letter(EVA, NOBODY, "c-nobody"), NOBODY, wanted)
        assert '"recipient refused"' in stand.choosy.log()


def test_closed(stand: Stand, cell: Cell) -> None:
    with cell(Feature.WE_HAVE_CLOSED):
        wanted = Answer("550 5.2.1", "mailbox-disabled", GONE)
        refused(stand, "c-gone", letter(EVA, GONE, "c-gone"), GONE, wanted)


def test_full(stand: Stand, cell: Cell) -> None:
    with cell(Feature.WE_ARE_FULL) as remark:
        wanted = Answer("452 4.2.2", "mailbox-full", FULL)
        message = letter(EVA, FULL, "c-full")
        waiting(stand, "c-full", message, FULL, wanted, remark)
        told_the_owner(stand, FULL, wanted)
        stand.choosy.command("account", "set", FULL, "--quota", "none")
        comes_later(stand, "c-full", message, FULL)


def test_full_for_good(stand: Stand, cell: Cell) -> None:
    with cell(Feature.WE_ARE_FULL_FOR_GOOD):
        wanted = Answer("552 5.2.2", "mailbox-full", FULL_FOR_GOOD)
        message = letter(EVA, FULL_FOR_GOOD, "c-over")
        refused(stand, "c-over", message, FULL_FOR_GOOD, wanted)
        told_the_owner(stand, FULL_FOR_GOOD, wanted)


def test_forbidden(stand: Stand, cell: Cell) -> None:
    with cell(Feature.WE_FORBID):
        wanted = Answer("554 5.7.1", "policy-attachment", FILM)
        refused(stand, "c-film", film(EVA, NO_FILMS, "c-film"), NO_FILMS, wanted)
        told_the_owner(stand, NO_FILMS, wanted)


def test_too_big(stand: Stand, cell: Cell) -> None:
    with cell(Feature.WE_TAKE_NO_MORE):
        wanted = Answer("552 5.3.4", "message-too-large")
        message = letter(EVA, SMALL, "c-big", size=2 * SMALL_MAX)
        refused(stand, "c-big", message, SMALL, wanted)
        told_the_owner(stand, SMALL, wanted)


def test_greylisted(stand: Stand, cell: Cell) -> None:
    with cell(Feature.WE_GREYLIST) as remark:
        wanted = Answer("451 4.7.1", "greylisted")
        message = letter(EVA, GREY, "c-grey")
        waiting(stand, "c-grey", message, GREY, wanted, remark)
        told_the_owner(stand, GREY, wanted)
        comes_later(stand, "c-grey", message, GREY)
        wait_for("it is said that they came again", lambda: arrived(stand, GREY, wanted))


def test_limited(stand: Stand, cell: Cell) -> None:
    with cell(Feature.WE_LIMIT) as remark:
        wanted = Answer("450 4.7.1", "rate-limited")
        for n in range(RATE_AT_ONCE):
            stand.caller.submit(letter(EVA, RATE, f"c-rate-{n}"), EVA, [RATE])
            assert stand.choosy.wait_fates(f"c-rate-{n}", [RATE]) == {RATE: "stored"}
        message = letter(EVA, RATE, "c-rate")
        waiting(stand, "c-rate", message, RATE, wanted, remark)
        told_the_owner(stand, RATE, wanted)
        comes_later(stand, "c-rate", message, RATE)


def test_busy(stand: Stand, cell: Cell) -> None:
    with cell(Feature.WE_ARE_BUSY) as remark:
        wanted = Answer("421 4.3.2", "server-busy")
        message = letter(EVA, BUSY, "c-busy")
        with stand.choosy.busy():
            waiting(stand, "c-busy", message, BUSY, wanted, remark)
        comes_later(stand, "c-busy", message, BUSY)


def test_listed(stand: Stand, cell: Cell) -> None:
    with cell(Feature.WE_LOOK_UP):
        wanted = Answer("554 5.7.1", "sender-rejected", WHY_LISTED)
        refused(stand, "c-list", letter(SHADY, LISTED, "c-list"), LISTED, wanted, SHADY)
        told_the_owner(stand, LISTED, wanted, SHADY)


def test_tls(stand: Stand, cell: Cell) -> None:
    with cell(Feature.WE_WANT_TLS):
        wanted = Answer("550 5.7.10", "encryption-needed")
        refused(stand, "c-open", letter(EVA, SECRET, "c-open"), SECRET, wanted)
        told_the_owner(stand, SECRET, wanted)
        message = letter(EVA, SECRET, "c-tls")
        stand.discreet.submit(message, EVA, [SECRET])
        assert stand.choosy.wait_fates("c-tls", [SECRET]) == {SECRET: "stored"}
        [copy] = stand.choosy.marked(SECRET, "c-tls")
        stand.same(message, copy)


def test_prdr(stand: Stand, cell: Cell) -> None:
    with cell(Feature.PRDR):
        wanted = Answer("554 5.7.1", "policy-attachment", FILM)
        message = film(EVA, OPEN, "c-each")
        peer, words = stand.caller, listening(stand, wanted)
        peer.submit(message, EVA, [OPEN, NO_FILMS])
        assert stand.choosy.wait_fates("c-each", [OPEN]) == {OPEN: "stored"}
        assert "PRDR" in stand.door.transaction("c-each").mail
        assert len(stand.door.transaction("c-each").recipients) == len((OPEN, NO_FILMS))
        [bounce] = with_text(peer, EVA, b"<c-each@letters.example>")
        assert flat(words()) in flat(bounce)
        assert NO_FILMS.encode() in bounce
        [copy] = stand.choosy.marked(OPEN, "c-each")
        stand.same(message, copy)
        assert stand.choosy.fates("c-each") == {OPEN: "stored"}
