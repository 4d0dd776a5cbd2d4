"""maildirs: what lies in a Maildir that one server delivers everything to.

Each message tells its recipient in Delivered-To, which the delivery writes on top.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .process import DidNotHappen, wait_for
from .server import MAIL_TIMEOUT_S


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


def wait_count(
    look: Callable[[], list[bytes]], what: str, count: int, log: Callable[[], str]
) -> list[bytes]:
    """What `look` gives, once it is `count` long or longer. Raises: DidNotHappen, with the log."""

    def enough() -> list[bytes] | None:
        found = look()
        return found if len(found) >= count else None

    try:
        return wait_for(f"{count} messages for {what}", enough, MAIL_TIMEOUT_S)
    except DidNotHappen as error:
        raise DidNotHappen(f"{error}\n{log()[-4000:]}") from None
