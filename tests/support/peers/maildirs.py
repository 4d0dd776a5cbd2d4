"""maildirs: servers that deliver everything to one Maildir, and what lies in it.

Each message tells its recipient in Delivered-To, which the delivery writes on top.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from .process import free_port, wait_for
from .server import MAIL_TIMEOUT_S, NOTHING_ASKED, Dsn, ServerSpec, submit_by_smtp


def delivered_to(maildir: Path, recipient: str) -> list[bytes]:
    """The messages for one recipient, in no order."""
    mark = f"\ndelivered-to: {recipient}\n".lower().encode()
    found = []
    for path in (maildir / "new").glob("*"):
        text = path.read_bytes()
        header = text.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
        if mark in b"\n" + header.lower() + b"\n":
            found.append(text)
    return found


class MaildirServer(ABC):
    """The ports of one instance, its door and its mailboxes; see `server.RunningServer`."""

    def __init__(self, spec: ServerSpec, maildir: Path) -> None:
        self.host = spec.host
        self.smtp_port = spec.smtp_port or free_port(spec.host)
        self.smtps_port: int | None = None
        self.submission_port: int | None = None
        if spec.certificate:
            self.smtps_port = spec.smtps_port or free_port(spec.host)
        if spec.credentials:
            self.submission_port = spec.submission_port or free_port(spec.host)
        self._maildir = maildir

    @property
    def ports(self) -> list[int]:
        """All that it listens on."""
        return [p for p in (self.smtp_port, self.smtps_port, self.submission_port) if p]

    def submit(
        self, message: bytes, sender: str, recipients: Sequence[str], dsn: Dsn = NOTHING_ASKED
    ) -> None:
        submit_by_smtp(self.host, self.smtp_port, message, sender, recipients, dsn)

    def received(self, recipient: str) -> list[bytes]:
        return delivered_to(self._maildir, recipient)

    def wait_received(self, recipient: str, count: int = 1) -> list[bytes]:
        def enough() -> list[bytes] | None:
            found = self.received(recipient)
            return found if len(found) >= count else None

        return wait_for(f"{count} messages for {recipient}", enough, MAIL_TIMEOUT_S, self.log)

    @abstractmethod
    def log(self) -> str: ...
