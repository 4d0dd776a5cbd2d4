"""Gate: between the octets of DATA and the body that is kept stands the header.

Promises: the header is held in memory (at most HEADER_OCTETS_MAX) until it is complete, given to
the role, and written as the role returns it; everything behind it streams through unchanged. Once
something is wrong the rest is swallowed and `problem` says what to answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from estafeta.intake.limits import HEADER_OCTETS_MAX
from estafeta.mail.outcome import Reply
from estafeta.store.bodies import BodyWriter
from estafeta.wire import replies

_HEADER_END = b"\r\n\r\n"


class Gate:
    """Feeds one message into a BodyWriter. on_header: header -> header to keep, or a refusal."""

    def __init__(
        self,
        writer: BodyWriter,
        on_header: Callable[[bytes], bytes | Reply],
        *,
        digested: bool,
    ) -> None:
        self._writer = writer
        self._on_header = on_header
        self._held = bytearray()
        self._open = False
        self._digest = hashlib.sha256() if digested else None
        self.problem: Reply | None = None

    def write(self, data: bytes) -> None:
        """Raises OSError as the writer does."""
        if self.problem is not None:
            return
        if self._digest is not None:
            self._digest.update(data)
        if self._open:
            self._writer.write(data)
            return
        if not self._held:
            self._look(data, 0)  # as a rule the header comes in one piece
        else:
            # The search begins where an end split between two pieces would begin.
            start = max(0, len(self._held) - 3)
            self._held += data
            self._look(self._held, start)

    def finish(self) -> None:
        """At the end of the data: a message may be header only (RFC 5322 §2.1)."""
        if self.problem is None and not self._open:
            self._pass(self._held, len(self._held))

    @property
    def digest(self) -> bytes | None:
        """SHA-256 of the octets as they came, its first 16, where it was asked for."""
        return self._digest.digest()[:16] if self._digest is not None else None

    def _look(self, held: bytes | bytearray, start: int) -> None:
        """For the end of the header in all that is held, from `start` on."""
        if held.startswith(b"\r\n"):
            self._pass(held, 0)  # a message without any field
            return
        end = held.find(_HEADER_END, start)
        if end >= 0:
            self._pass(held, end + 2)
        elif len(held) >= HEADER_OCTETS_MAX + 2:
            self._refuse(replies.TOO_COMPLEX)
        elif held is not self._held:
            self._held += held

    def _pass(self, held: bytes | bytearray, size: int) -> None:
        """The header is the first `size` octets."""
        if size > HEADER_OCTETS_MAX:
            self._refuse(replies.TOO_COMPLEX)
            return
        kept = self._on_header(bytes(held[:size]))
        if isinstance(kept, Reply):
            self._refuse(kept)
            return
        self._open = True
        self._writer.write(kept + held[size:])
        self._held = bytearray()

    def _refuse(self, reply: Reply) -> None:
        self.problem = reply
        self._held = bytearray()
