"""Limits of what is judged on port 25, each with its unit."""

from __future__ import annotations

# Journal: who tried to come in, before it is written; all of it a process
FLUSH_SECONDS = 1.0  # from an attempt to its unit
FLUSH_ROWS_MAX = 100  # in one unit: 2 ms with SQLite, 0.1 to 0.3 s with PostgreSQL
PENDING_MAX = 5000  # rows held; past it, attempts on further accounts are not noted
PENDING_ACCOUNT_MAX = 50  # rows held of one account; further attempts are counted in one
PENDING_CROWDED_MAX = 5  # the same, once half of all rows are taken
PENDING_OF_ONE_MAX = 10  # of those, of one organisation or network
PENDING_PROOF_MAX = (20, 35, 50)  # of those: by servers without a name, with one, of the sender's
AWAY_LOG_SECONDS = 60.0  # between two lines of the log while the store cannot be written
ARRIVALS_MAX = 5000  # messages that came in after all, held to be noted
KNOCK_TEXT_CHARACTERS_MAX = 400  # of each text that is kept of an attempt

# Visitors
VISITORS_MAX = 10_000  # clients whose name is remembered, a process
VISITOR_SECONDS = 600.0  # for which a client's name counts, or that it has none
VISITOR_TROUBLE_SECONDS = 60.0  # for which it has none because the DNS did not answer
IPV6_SITE_BITS = 48  # what a customer may have: counted together in what greylisting writes down
FOLDED_CACHED_MAX = 4096  # reverse-paths whose form without what changes is remembered

# Greylisting
GREYLIST_KNOWN_MAX = 50_000  # senders that need not wait, in memory, a process
GREYLIST_KNOWN_SECONDS = 600.0  # until the store is asked whether it still says so
GREYLIST_APART_MS = 60_000  # what comes again within so much of each other is one message
# What one process writes down in a day; further strangers of that network (of IPv6: /48) are one,
# whatever their senders and recipients.
GREYLIST_NETWORK_ROWS_MAX = 1000
GREYLIST_ROWS_MAX = 200_000  # and of all networks; further strangers are let in
GREYLIST_NETWORKS_MAX = 20_000  # for which that is counted; those counted first are forgotten

# Lists
LIST_ANSWERS_MAX = 10_000  # verdicts that are remembered, a process
LIST_ANSWER_SECONDS = 60.0  # for so long; the cache of the resolver knows how long an answer holds
LIST_FAILURES_MAX = 3  # in a row, after which a list is not asked for a while
LIST_REST_SECONDS = 60.0  # that while; one question then finds out whether it answers again
LIST_LOG_SECONDS = 900.0  # between two lines of the log about one list that does not answer
LIST_REASON_CHARACTERS_MAX = 200  # of the text that a list gives for an entry

# Reception
JOURNALS_OF_ONE_MAX = 10  # accounts behind one alias in whose journals an attempt is noted
# Different policies over what a message holds in one transaction, where each recipient gets an
# answer; elsewhere there is one.
POLICY_CLASSES_MAX = 8
# Octets that a message leaves free in a mailbox: where fewer, it is looked at once more after the
# message; where more, only by the unit that places it.
QUOTA_LOOK_OCTETS = 64 * 1024 * 1024
NAMING_MAX = 1000  # refusals that wait for a client's name to be noted; others are noted without
PUT_OFF_MAX = 10_000  # senders that were put off, remembered to note that they came in after all
