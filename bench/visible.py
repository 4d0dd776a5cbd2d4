"""visible: how many messages a mail client sees, by IMAP STATUS (RFC 9051 §6.3.11)."""

from __future__ import annotations

import imaplib
import re
import time

from tests.support.peers.process import DidNotHappen

VISIBLE_TIMEOUT_S = 120.0
POLL_S = 0.02

_MESSAGES = re.compile(rb"MESSAGES (\d+)")


def log_in(host: str, port: int, user: str, password: str) -> imaplib.IMAP4:
    """A client that has logged in."""
    client = imaplib.IMAP4(host, port, timeout=VISIBLE_TIMEOUT_S)
    client.login(user, password)
    return client


def count(client: imaplib.IMAP4) -> int:
    """Messages in INBOX."""
    _, data = client.status("INBOX", "(MESSAGES)")
    found = _MESSAGES.search(data[0] or b"")
    assert found, data
    return int(found[1])


def wait_visible(client: imaplib.IMAP4, messages: int) -> None:
    """Returns when INBOX has that many messages. Raises: DidNotHappen, if not in time."""
    end = time.monotonic() + VISIBLE_TIMEOUT_S
    while (seen := count(client)) < messages:
        if time.monotonic() > end:
            raise DidNotHappen(f"only {seen} of {messages} messages became visible")
        time.sleep(POLL_S)
    if seen != messages:
        raise DidNotHappen(f"{seen} messages became visible, {messages} were sent")
