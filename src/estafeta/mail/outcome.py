"""Outcome: what became of one recipient in one attempt, and the reply that says so.

Deliveries do not raise: every transport (local mailbox, SMTP, LMTP) ends in one `Outcome` for each
recipient. Codes are those of RFC 5321 §4.2 and RFC 3463.
"""

from __future__ import annotations

import msgspec


class Reply(msgspec.Struct, frozen=True):
    """One SMTP reply (RFC 5321 §4.2).

    code: three digits. status: enhanced code "x.y.z" (RFC 3463), "" where the reply has none
    (greeting, 354). text: without code and status; "\\n" separates the lines of a long reply.
    """

    code: int
    status: str
    text: str

    @property
    def positive(self) -> bool:
        return self.code < 400

    @property
    def temporary(self) -> bool:
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    def encode(self) -> bytes:
        """The bytes for the wire, every line with code and status (RFC 2034 §4)."""
        status = f"{self.status} " if self.status else ""
        if "\n" not in self.text:
            return f"{self.code} {status}{self.text}\r\n".encode("utf-8", "surrogateescape")
        lines = self.text.split("\n")
        last = len(lines) - 1
        return "".join(
            f"{self.code}{' ' if n == last else '-'}{status}{line}\r\n"
            for n, line in enumerate(lines)
        ).encode("utf-8", "surrogateescape")

    def __str__(self) -> str:
        status = f"{self.status} " if self.status else ""
        return f"{self.code} {status}{self.text}".replace("\n", " ")


class Delivered(msgspec.Struct, frozen=True, tag="delivered"):
    """The next keeper took responsibility. host: its name, address, port; "" for us.

    reports: it took over the wishes about reports too (RFC 3461 §5.2.2).
    """

    reply: Reply
    host: str = ""
    reports: bool = False


class Deferred(msgspec.Struct, frozen=True, tag="deferred"):
    """Not yet; to be tried again. cause: code of the catalogue in `explain`.

    retry_after: seconds the other side asked for, if it did.
    """

    reply: Reply
    cause: str
    host: str = ""
    retry_after: float | None = None


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Never; it returns to the sender. cause: code of the catalogue in `explain`."""

    reply: Reply
    cause: str
    host: str = ""


class Looped(msgspec.Struct, frozen=True, tag="looped"):
    """The message comes back to where it was; permanent, and nobody's refusal (5.4.6)."""

    reply: Reply
    cause: str = "loop"
    host: str = ""


Outcome = Delivered | Deferred | Refused | Looped
