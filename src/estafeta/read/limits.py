"""Limits of reading: how long a client may be silent, how much is in hand for it at once."""

from __future__ import annotations

from typing import Final

# RFC 3501 §5.4: at least 30 minutes once logged in.
IDLE_SECONDS: Final = 1800.0
# RFC 1939 §3: at least 10 minutes.
POP3_IDLE_SECONDS: Final = 600.0
LOGIN_SECONDS: Final = 60.0  # of silence before login
LOGIN_SECONDS_TOTAL: Final = 300.0  # from the connection to the login, whatever is said
# A peer that takes nothing of what we send for so long is gone.
SEND_SECONDS: Final = 300.0
# How often a session compares its mailbox with the store, hint or no hint.
POLL_SECONDS: Final = 5.0
# Failed logins of one connection; each later answer comes later (seconds).
LOGIN_FAILURES_MAX: Final = 3
LOGIN_FAILURE_SECONDS: Final = 1.0
MESSAGE_OCTETS_MAX: Final = 50 * 1024 * 1024
# Messages of one MULTIAPPEND, and their octets together.
MULTIAPPEND_MESSAGES_MAX: Final = 1_000
MULTIAPPEND_OCTETS_MAX: Final = 128 * 1024 * 1024
# Output gathered before it is sent.
OUTPUT_OCTETS: Final = 65_536
# Rows read, and octets of bodies held, in one step of FETCH and SEARCH.
ROWS_AT_ONCE: Final = 1_000
BODIES_OCTETS_AT_ONCE: Final = 1024 * 1024
PIECE_OCTETS: Final = 65_536
# Messages changed in one unit by STORE, COPY, MOVE, EXPUNGE.
CHANGES_AT_ONCE: Final = 1_000
# Mailboxes whose uids stay in memory with no session in them.
VIEWS_KEPT: Final = 64
# Connections at once, for all accounts and for one.
SESSIONS_MAX: Final = 10_000
SESSIONS_MAX_PER_ACCOUNT: Final = 100
# Connections at once from one IP address whose client has not logged in.
STRANGERS_MAX_PER_ADDRESS: Final = 100
