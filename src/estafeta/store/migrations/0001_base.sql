-- The store of an installation. Written once for SQLite and PostgreSQL: INTEGER is 64 bits, BLOB is
-- octets, times are milliseconds since 1970 UTC; the dialect replaces type names and drops
-- WITHOUT ROWID. Ids of acceptances, bodies and events are time-ordered (store/ids.py); those of
-- accounts and mailboxes come from `counter` and are never used again.

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

-- Who is here ---------------------------------------------------------------------------------

CREATE TABLE domain (
  name       TEXT PRIMARY KEY,            -- A-labels, lower case
  created    INTEGER NOT NULL,
  separator  TEXT NOT NULL DEFAULT '+',   -- subaddressing; '' switches it off
  catch_all  TEXT NOT NULL DEFAULT '',    -- address that takes what no account or alias does
  language   TEXT NOT NULL DEFAULT ''     -- 'es' | 'en' | '' (the installation's)
) WITHOUT ROWID;

CREATE TABLE account (
  id         INTEGER PRIMARY KEY,
  address    TEXT NOT NULL UNIQUE,        -- canonical, local part in lower case
  domain     TEXT NOT NULL,
  name       TEXT NOT NULL DEFAULT '',
  language   TEXT NOT NULL DEFAULT '',
  password   TEXT NOT NULL DEFAULT '',    -- argon2id; '' = no password login
  scram_salt BLOB, scram_iterations INTEGER, scram_stored BLOB, scram_server BLOB,
  quota      INTEGER NOT NULL DEFAULT 0,  -- octets; 0 = none
  used       INTEGER NOT NULL DEFAULT 0,  -- octets, kept by every unit that adds or removes mail
  modseq     INTEGER NOT NULL DEFAULT 1,  -- the last one given out
  disabled   INTEGER NOT NULL DEFAULT 0,
  created    INTEGER NOT NULL
);
CREATE INDEX account_domain ON account (domain);

CREATE TABLE alias (address TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY (address, target))
  WITHOUT ROWID;
-- Further addresses an account may write as.
CREATE TABLE identity (account INTEGER NOT NULL, address TEXT NOT NULL, PRIMARY KEY (account, address))
  WITHOUT ROWID;

-- Mailboxes -----------------------------------------------------------------------------------

CREATE TABLE mailbox (
  account     INTEGER NOT NULL,
  id          INTEGER NOT NULL,
  name        TEXT NOT NULL,              -- UTF-8, '/' separates levels; 'INBOX' in capitals
  role        TEXT NOT NULL DEFAULT '',   -- special use: 'sent' 'drafts' 'trash' 'junk' 'archive' ''
  uidvalidity INTEGER NOT NULL,
  uidnext     INTEGER NOT NULL DEFAULT 1,
  recent      INTEGER NOT NULL DEFAULT 1, -- first uid no session has been told of as \Recent
  modseq      INTEGER NOT NULL,           -- HIGHESTMODSEQ
  floor       INTEGER NOT NULL DEFAULT 0, -- tombstones up to this modseq are gone
  messages    INTEGER NOT NULL DEFAULT 0,
  unseen      INTEGER NOT NULL DEFAULT 0,
  bytes       INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (account, id), UNIQUE (account, name)
) WITHOUT ROWID;
-- Mailboxes that were deleted (mailbox 0: the whole account): how audit tells them from lost ones.
CREATE TABLE removed (
  account INTEGER NOT NULL, mailbox INTEGER NOT NULL, modseq INTEGER NOT NULL,
  erased INTEGER NOT NULL DEFAULT 0,      -- 1: no message of it is left
  PRIMARY KEY (account, mailbox)
) WITHOUT ROWID;
CREATE INDEX removed_unerased ON removed (account, mailbox) WHERE erased = 0;
CREATE TABLE subscription (account INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (account, name))
  WITHOUT ROWID;

-- Narrow: what listing, flags and sync touch.
CREATE TABLE message (
  account  INTEGER NOT NULL,
  mailbox  INTEGER NOT NULL,
  uid      INTEGER NOT NULL,
  modseq   INTEGER NOT NULL,              -- of the last change
  created  INTEGER NOT NULL,              -- of the arrival: rises with uid
  flags    INTEGER NOT NULL DEFAULT 0,    -- bits, store/flags.py
  keywords TEXT NOT NULL DEFAULT '',      -- sorted, separated by one blank
  size     INTEGER NOT NULL,              -- octets, prefix included
  received INTEGER NOT NULL,              -- INTERNALDATE
  body     INTEGER NOT NULL,
  PRIMARY KEY (account, mailbox, uid)
) WITHOUT ROWID;
-- What is new is found from the end by uid; only what changed after its arrival needs an index, so
-- a delivery does not pay for it.
CREATE INDEX message_changed ON message (account, mailbox, modseq) WHERE modseq > created;
CREATE INDEX message_body ON message (body);

-- Wide: what was parsed once, at delivery.
CREATE TABLE message_text (
  account    INTEGER NOT NULL,
  mailbox    INTEGER NOT NULL,
  uid        INTEGER NOT NULL,
  prefix     BLOB NOT NULL,               -- header fields of this copy alone (Return-Path, Delivered-To)
  envelope   BLOB NOT NULL,               -- IMAP ENVELOPE
  structure  BLOB NOT NULL,               -- IMAP BODYSTRUCTURE
  basic      BLOB NOT NULL,               -- IMAP BODY
  parts      BLOB NOT NULL,               -- offsets of the parts within the body
  message_id TEXT NOT NULL,
  subject    TEXT NOT NULL,
  preview    TEXT NOT NULL,
  PRIMARY KEY (account, mailbox, uid)
) WITHOUT ROWID;

CREATE TABLE expunged (
  account INTEGER NOT NULL, mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, modseq INTEGER NOT NULL,
  PRIMARY KEY (account, mailbox, modseq, uid)
) WITHOUT ROWID;

-- Bodies: narrow, so that looking for garbage does not read the data. -------------------------

CREATE TABLE body (
  id    INTEGER PRIMARY KEY,
  size  INTEGER NOT NULL,
  filed INTEGER NOT NULL DEFAULT 0        -- 1: in a file; 0: in body_data
);
CREATE TABLE body_data (id INTEGER PRIMARY KEY, data BLOB NOT NULL);

-- The ledger ----------------------------------------------------------------------------------

CREATE TABLE acceptance (
  id           INTEGER PRIMARY KEY,       -- shown to people as queue id
  at           INTEGER NOT NULL,
  parent       INTEGER,                   -- the acceptance this one came from
  origin       TEXT NOT NULL,             -- smtp lmtp submission alias bounce delay success
  account      INTEGER,                   -- who submitted it
  reverse_path TEXT NOT NULL,
  body         INTEGER NOT NULL,
  size         INTEGER NOT NULL,
  message_id   TEXT NOT NULL DEFAULT '',
  smtputf8     INTEGER NOT NULL DEFAULT 0,
  eight_bit    INTEGER NOT NULL DEFAULT 0,
  ret          TEXT NOT NULL DEFAULT '',
  envid        TEXT NOT NULL DEFAULT '',
  peer         TEXT NOT NULL DEFAULT '',  -- 'helo [address]:port' of the client
  tls          TEXT NOT NULL DEFAULT '',  -- version and cipher, '' in the clear
  recipients   INTEGER NOT NULL,
  digest       BLOB,                      -- of the bytes as submitted, while the client may not know of our 250
  unconfirmed  INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX acceptance_unconfirmed ON acceptance (account, message_id) WHERE unconfirmed = 1;
CREATE INDEX acceptance_parent ON acceptance (parent) WHERE parent IS NOT NULL;
CREATE INDEX acceptance_body ON acceptance (body);

CREATE TABLE recipient (
  acceptance INTEGER NOT NULL,
  n          INTEGER NOT NULL,            -- 0, 1, … in the order of RCPT
  address    TEXT NOT NULL,
  notify     TEXT NOT NULL DEFAULT '',    -- 'FAILURE,DELAY' …
  orcpt      TEXT NOT NULL DEFAULT '',
  -- Not IN (…): that costs a row 2 us more.
  fate       TEXT CHECK (fate = 'stored' OR fate = 'relayed' OR fate = 'returned' OR fate = 'expanded'
                         OR fate = 'dropped' OR fate = 'cancelled' OR fate = 'duplicate'),
  ended      INTEGER,
  fate_account INTEGER, fate_mailbox INTEGER, fate_uid INTEGER,  -- stored
  fate_acceptance INTEGER,                -- returned: the bounce; expanded: the child; duplicate: the first
  fate_text  TEXT NOT NULL DEFAULT '',    -- relayed: host and reply; dropped: rule; cancelled: who
  PRIMARY KEY (acceptance, n),
  CHECK ((fate IS NULL) = (ended IS NULL))
) WITHOUT ROWID;
CREATE INDEX recipient_open ON recipient (acceptance, n) WHERE fate IS NULL;

-- One fate, final once.
CREATE TRIGGER recipient_final BEFORE UPDATE OF fate ON recipient
  WHEN OLD.fate IS NOT NULL
  BEGIN SELECT RAISE(ABORT, 'a fate is final'); END;

-- The journey: each attempt, delay, hold. n is the recipient, or -1 for all.
CREATE TABLE event (
  acceptance INTEGER NOT NULL, id INTEGER NOT NULL, at INTEGER NOT NULL, n INTEGER NOT NULL,
  kind TEXT NOT NULL, detail TEXT NOT NULL,  -- JSON object
  PRIMARY KEY (acceptance, id)
) WITHOUT ROWID;

-- Counted beside the ledger, by day since 1970 UTC: what we answered 250 for.
-- In parts, or all transactions of PostgreSQL would wait for one row; the sum counts.
CREATE TABLE answered (
  day INTEGER NOT NULL, part INTEGER NOT NULL, messages INTEGER NOT NULL, recipients INTEGER NOT NULL,
  PRIMARY KEY (day, part)
) WITHOUT ROWID;
-- A day whose recipients have all ended: totals (JSON) and a hash over its rows. While it is being
-- made, in slices, sealed is NULL and upto the last acceptance in the hash.
CREATE TABLE seal (
  day INTEGER PRIMARY KEY, sealed INTEGER, upto INTEGER NOT NULL, totals TEXT NOT NULL,
  hash TEXT NOT NULL
);
-- By what a message is looked for: Message-ID in its brackets, addresses in lower case. Filled in
-- slices some time after the acceptance (counter 'trail' is the last one in it): its keys lie at
-- random, and three such indexes made a delivery a third dearer.
CREATE TABLE trail (key TEXT NOT NULL, acceptance INTEGER NOT NULL, PRIMARY KEY (key, acceptance))
  WITHOUT ROWID;

-- The queue: one row for each open recipient that is not ours to store ------------------------

CREATE TABLE queue (
  acceptance  INTEGER NOT NULL,
  n           INTEGER NOT NULL,
  destination TEXT NOT NULL,              -- domain or address literal
  due         INTEGER NOT NULL,
  attempts    INTEGER NOT NULL DEFAULT 0,
  lease       INTEGER,                    -- token that the unit of outcome must match; due = its end
  held        TEXT NOT NULL DEFAULT '',   -- why, while on hold
  last        TEXT NOT NULL DEFAULT '',   -- JSON of the last Outcome
  PRIMARY KEY (acceptance, n)
) WITHOUT ROWID;
CREATE INDEX queue_due ON queue (destination, due, acceptance, n);
-- What a dead worker held is found without looking at all that waits.
CREATE INDEX queue_lease ON queue (lease) WHERE lease IS NOT NULL;

CREATE TABLE destination (
  name TEXT PRIMARY KEY,
  due  INTEGER NOT NULL                   -- no row of it is due before; a hint that may be early
) WITHOUT ROWID;
CREATE INDEX destination_due ON destination (due, name);
