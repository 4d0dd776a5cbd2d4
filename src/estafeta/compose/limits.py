"""Limits: what may be asked before a message is sent, and what that may cost."""

from __future__ import annotations

RECIPIENTS_MAX = 100
"""Addresses that are looked at in one go."""

CHECKS_BURST = 300
"""Addresses that one account may have looked at, all workers together."""

CHECKS_SECONDS = 3600.0
"""In so long they are there again."""

CHECK_SECONDS_MAX = 2.0
"""Whom the DNS has said nothing of by then is told as not known."""

LOOKUPS_AT_ONCE_MAX = 50
"""Domains that all checks of one process ask the DNS for at once; others wait for their turn."""

LIKELY_INLINE_MAX = 600
"""Addresses and domains with which one is compared on the loop, in 2 ms; with more, by another
process."""

LIKELY_SECONDS_MAX = 1.0
"""Then no address is named."""
