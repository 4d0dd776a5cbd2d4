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
        self._held = b""
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
        # The search begins where an end split between two chunks would begin.
        start = max(0, len(self._held) - 3)
        self._held = self._held + data if self._held else data
        if self._held.startswith(b"\r\n"):
            self._pass(b"", self._held)  # a message without any field
            return
        end = self._held.find(_HEADER_END, start)
        if end >= 0:
            self._pass(self._held[: end + 2], self._held[end + 2 :])
        elif len(self._held) > HEADER_OCTETS_MAX:
            self._refuse(replies.TOO_COMPLEX)

    def finish(self) -> None:
        """At the end of the data: a message may be header only (RFC 5322 §2.1)."""
        if self.problem is None and not self._open:
            self._pass(self._held, b"")

    @property
    def digest(self) -> bytes | None:
        """SHA-256 of the octets as they came, its first 16, where it was asked for."""
        return self._digest.digest()[:16] if self._digest is not None else None

    def _pass(self, header: bytes, rest: bytes) -> None:
        kept = self._on_header(header)
        self._held = b""
        if isinstance(kept, Reply):
            self._refuse(kept)
            return
        self._open = True
        self._writer.write(kept + rest)

    def _refuse(self, reply: Reply) -> None:
        self.problem = reply
        self._held = b""
