"""limits: how hard the queue knocks at other servers, and what it remembers of them."""

from __future__ import annotations

WINDOW_BEGIN = 5
"""Deliveries at once to a domain of which nothing is known yet; each that is answered adds one."""

WINDOWS_MAX = 10_000
"""Domains whose concurrency is remembered; the one used longest ago is forgotten."""

OPENINGS_UNPROVEN_MAX = 5
"""Connections begun at once to a host that has not answered well yet; others wait for the first."""

HOSTS_REMEMBERED_MAX = 10_000
"""Hosts of which a worker remembers that they answered well, or did not just now."""

PROVEN_SECONDS = 3600.0
"""So long a host that answered well may be asked by many at once."""

FAILED_SECONDS = 5.0
"""So long a worker goes by its own word that a host failed, until the store has it."""

PROBE_SECONDS = 600.0
"""A probe of a host that backs off is waited for so long; then somebody else may try."""

BACKOFF_INTERVAL_SHARE = 0.8
"""Of the wait that the retry plan has for the same number of failures: a host's back-off is no
longer, so that a message that is alone there is tried when the plan says."""

FORGET_SECONDS = 86400.0
"""A host that nobody has waited for since is forgotten after so long."""

WISH_SECONDS_MAX = 4 * 3600.0
"""The longest wait that another server's words can bring about."""

GREYLIST_EARLY_MAX = 3
"""So many times a message is tried again earlier than planned, because a greylist said so."""

DELAYS_LEARNT_MAX = 2000
"""Domains whose greylist is remembered with the delay that passed it."""

EXPIRED_SECONDS = 60.0
"""So often those rows are looked for that became too old behind a host that backs off."""

EXPIRED_ROWS = 500
"""Rows that one such look reads."""

TOUCHED_ROWS = 100
"""Rows of the queue that one unit of an operator's touches."""

STOPPED_MESSAGES = 500
"""Messages of a stopped account that are looked through at once for what is to be held."""

TOUCHED_TOLD_MAX = 1000
"""Recipients of which an operator's command tells one by one what became of them."""

CORRECTIONS_MAX = 100
"""Recipients of one message that are corrected, or sent to again, at once."""

LISTED_MAX = 1000
"""Rows of the queue on one page of a list."""

REASON_CHARACTERS_MAX = 500
"""The reason that somebody gives for holding, cancelling or suspending."""

LATELY_MAX = 200
"""Messages kept in memory that were accepted a moment ago and found no place at once."""

LATELY_OCTETS_MAX = 64 * 1024
"""A larger one is not kept."""

LATELY_SECONDS_MAX = 5.0
"""So long whose a domain is need not be asked again."""

MEANT_MAX = 10
"""Recipients of one attempt for whom the address that was probably meant is looked up."""

MEANT_INLINE_MAX = 200
"""Correspondents and domains that are compared at once; more are, by another process."""

MEANT_SECONDS_MAX = 5.0
"""Then it is not named."""
