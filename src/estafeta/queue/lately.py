"""Lately: what was accepted a moment ago and found no place at once, kept as it was.

Promises: who leases its rows soon after need not read the message back from the store; what is kept
is bounded in number, octets and age, and may be missing: the store has it all. None of it changes
there while a row of it waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile

import msgspec

from estafeta.mail.envelope import Recipient
from estafeta.mail.protocols import Content
from estafeta.queue.limits import (
    LATELY_MAX,
    LATELY_OCTETS_MAX,
    LATELY_SECONDS_MAX,
)
from estafeta.store.rows import Acceptance


class Kept(msgspec.Struct, frozen=True):
    """at: seconds of the loop. recipients: all of the acceptance."""

    at: float
    acceptance: Acceptance
    recipients: Sequence[Recipient]
    content: Content


class Lately:
    """time: seconds, rising."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._kept: dict[int, Kept] = {}  # the oldest first

    def keep(
        self, acceptance: Acceptance, recipients: Sequence[Recipient], content: Content
    ) -> None:
        """Where there is room: what is leased next is what has waited longest."""
        kept, now = self._kept, self._time()
        if content.size > LATELY_OCTETS_MAX:
            return
        if len(kept) >= LATELY_MAX:
            self._forget(now - LATELY_SECONDS_MAX)
        if len(kept) < LATELY_MAX:
            kept[acceptance.id] = Kept(now, acceptance, recipients, content)

    def find(self, acceptance: int) -> Kept | None:
        """None also where it is too old to be sure whose its domains are."""
        kept = self._kept.get(acceptance)
        if kept is None or self._time() - kept.at > LATELY_SECONDS_MAX:
            return None
        return kept

    def drop(self, acceptance: int) -> None:
        """It is being worked on: nobody will ask again soon."""
        self._kept.pop(acceptance, None)

    def _forget(self, before: float) -> None:
        """What is so old that nobody may use it any more; others have sent it, perhaps."""
        for id in [id for id, each in takewhile(lambda x: x[1].at < before, self._kept.items())]:
            del self._kept[id]
