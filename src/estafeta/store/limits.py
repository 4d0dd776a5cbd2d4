"""Limits of the store, each with its unit (architecture, promise 8)."""

from __future__ import annotations

# Units of work
BATCH_UNITS_MAX = 128  # units in one transaction
BATCH_SECONDS_MAX = 0.005  # no further unit joins a batch that has held the loop this long
# Measured with 20 SMTP sessions: 15 units a commit instead of 7, and 50 us CPU less a message.
GATHER_SECONDS_MAX = 0.004  # a batch is put off no longer while the loop is busy
QUIET_TURN_SECONDS = 0.00002  # a turn of the loop shorter than this had nothing else to do

# SQLite files
# At creation. Measured: 4, 8 and 16 KiB deliver 4 KiB messages at the same rate, but write 21, 33
# and 46 KiB of WAL for each; 100 KiB messages cost 15 % more CPU than with 8 KiB.
PAGE_OCTETS = 4096
FREE_PAGES_KEPT = 2048  # of pages left behind by what was erased; more are given back
SHRINK_SLICE = 256  # pages given back in one unit
WRITER_CACHE_KIB = 32 * 1024
READER_CACHE_KIB = 16 * 1024
STATEMENTS_CACHED = 128  # a connection; each look for one goes through all of them
CHECKPOINT_AFTER_OCTETS = 16 * 1024 * 1024  # of WAL since the last one
WAL_OCTETS_MAX = 64 * 1024 * 1024  # past this, writing pauses until the WAL can start again
LOCK_WAIT_MS_MAX = 30_000  # for another process to end its transaction
LOCK_POLL_SECONDS = 0.0002  # by the one process whose turn is next
FOREIGN_COMMIT_POLL_SECONDS = 0.02
FOREIGN_COMMIT_PAUSE_SECONDS_MAX = 0.5  # between two looks, however long one takes
FOREIGN_COMMIT_SHARE_MAX = 0.1  # of the time, for finding out what others' commits changed
ACCOUNTS_COMPARED_AT_ONCE = 500

# PostgreSQL
SERVER_VERSION_MIN = 13
WRITERS = 3  # connections that write, a process: more share a COMMIT where there are fewer
READERS = 4  # connections that read, a process
POSTGRES_BATCH_UNITS_MAX = 32  # units in one transaction
STATEMENTS_AHEAD_MAX = 100  # sent without waiting for their answers
STATEMENTS_PREPARED = 250  # a connection
AGAIN_MAX = 10  # times a transaction is begun that others stand in the way of
AGAIN_SECONDS = 0.002  # before the first of them; each further one waits so much longer
LOST_MAX = 2  # connections that a unit is begun on
CONNECT_SECONDS_MAX = 10
SILENCE_MS_MAX = 20_000  # of a server that acknowledges nothing
STATEMENT_MS_MAX = 120_000
BELL_AGAIN_SECONDS = 1.0  # until hints are listened for again
BELL_OCTETS_MAX = 7000  # of hints in one NOTIFY (PostgreSQL takes 7999)

# Bodies
INLINE_BODY_OCTETS_MAX = 256 * 1024  # larger ones are a file or an object each
BODY_PIECE_OCTETS = 64 * 1024  # read at once of a body
BODY_MADE_MS_MAX = 12 * 3600 * 1000  # from the first octet of a file to its unit
GARBAGE_AGE_MS = 24 * 3600 * 1000  # younger ones may belong to a unit that is still on its way
GARBAGE_SLICE = 500  # bodies looked at in one unit

# Bodies in an object store
# Never to be changed: from it follows which object holds an octet of a body stored long ago.
OBJECT_OCTETS_MAX = 4 * 1024 * 1024  # larger bodies are cut into several objects
OBJECT_NAMES_TRIED_MAX = 3  # for one body, where a name is taken
OBJECTS_LISTED = 1000  # names asked for in one request
BODY_TRANSFER_SECONDS_MAX = 240.0  # to or from the object store; clients wait 600 (RFC 5321)
OWN_SECONDS_MAX = 10.0  # to see at the start whether the object store can be used
TRANSFERS_AT_ONCE = 8  # whole bodies on their way; each holds its parts in memory
PARTS_AT_ONCE = 2  # objects of one body on their way
HEAD_OCTETS_MAX = 64 * 1024  # fetched alone, where no more than a header is wanted
HEADS_AT_ONCE = 32
BODY_CACHE_OCTETS = 1024 * 1024 * 1024  # on disk, a process
CACHED_BODIES_MAX = 256  # each is an open file

# Mailboxes
MAILBOX_NAME_OCTETS_MAX = 1000
MAILBOX_DEPTH_MAX = 32
MAILBOXES_MAX = 10_000  # an account
KEYWORD_OCTETS_MAX = 100
KEYWORDS_MAX = 64  # a message
SUBSCRIPTIONS_MAX = 10_000  # an account
SAME_COPY_MS = 300_000  # a client's APPEND of what we filed is no second message for so long
ERASE_SLICE = 1000  # messages erased in one unit
TOMBSTONES_MAX = 20_000  # kept a mailbox; older ones fold into its floor

# Credentials
LOGINS_CACHED_MAX = 10_000
LOGIN_CACHE_SECONDS = 600.0
HASHINGS_AT_ONCE = 2  # argon2id runs; each takes 32 MiB and a core

# Ledger
DETAIL_OCTETS_MAX = 8192  # JSON of one event
FATE_TEXT_CHARACTERS_MAX = 2000
TRAIL_DELAY_MS = 600_000  # an acceptance is filed by its keys when its id is this old
TRAIL_SLICE = 250  # acceptances filed in one unit
TRAIL_RECENT = 2000  # acceptances not filed yet that are looked through for somebody's newest
CORRESPONDENCE_MAX = 500  # messages of a sender in which their correspondents are looked for
CORRESPONDENTS_MAX = 2000  # named by it
OWN_DOMAINS_NAMED_MAX = 1000  # compared with a domain that does not exist
WRITTEN_RECENT = 100  # newest messages of an account in which a recipient is looked for
WRITTEN_RECIPIENTS_MAX = 100  # of one of them; whoever is one of more has not been written to
WRITTEN_TO_MAX = 100  # newest messages to and from an address in which an account's are looked for
SEAL_SLICE = 500  # acceptances hashed in one unit
SEAL_SLICES_MAX = 8  # in one unit
SEAL_DELAY_MS = 3_600_000  # after the end of a day
AUDIT_SLICE = 500  # rows looked at on one snapshot
FOUND_MAX = 100  # journeys one search lists

# Who tried to come in
KNOCK_AGE_MS = 30 * 24 * 3600 * 1000  # since the last attempt of a row
KNOCKS_MAX = 500  # rows, an account
KNOCKS_OF_ONE_MAX = 50  # of one organisation or network, an account; then one row for the rest
KNOCKS_ERASED = 1000  # rows that are too old, erased in one unit
ADMISSION_MS = 7 * 24 * 3600 * 1000  # that one may be let in
ADMISSIONS_MAX = 50  # given and not used, an account
ADMISSIONS_ERASED = 1000  # that ended long ago, erased in one unit

# Buckets
# Parts of a bucket, of which a process takes less than one without asking: W processes, on however
# many nodes, get at most W - 1 such parts more than the limit says (decision 0125).
BUCKET_SLICES = 8
BUCKET_MERGE_SECONDS = 1.0  # after a take, until the others know of it at the latest
BUCKETS_MERGED_MAX = 500  # in one unit
BUCKET_NAMES_MAX = 20_000  # known to a process; the rest is asked for
BUCKET_BURST_MAX = 1_000_000_000  # tokens
BUCKET_SKEW_MS_MAX = 60_000  # by which clocks of nodes may differ
BUCKET_AGAIN_SECONDS = 1.0  # until a store that was away is asked again
BUCKET_LOG_SECONDS = 60.0  # between two warnings that it is away
BUCKET_TIDY_SECONDS = 60.0  # between two removals of buckets that are full again

# Moving a store
MOVE_SLICE_OCTETS = 4 * 1024 * 1024  # read, written and compared at once
MOVE_SLICE_ROWS_MIN = 16  # as many of the largest bodies in the database
MOVE_SLICE_ROWS_MAX = 5000
MOVE_ERASE_ROWS = 1000  # thrown away in one unit by a move that begins anew

# Strangers
GREYLIST_SLICE = 1000  # rows of the greylist removed in one unit

# What became of an account's own messages lately
LATELY_MESSAGES_MAX = 500  # the newest ones that are looked at
LATELY_RECIPIENTS_MAX = 5000  # of these, all together
