"""Notices: the messages we make ourselves about another message (RFC 3464, 3461 §5.2).

A bounce names the address the sender wrote, never the target of an alias; all recipients that
failed together are in one. Its words come from `explain`, its form from `mail.report`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass
