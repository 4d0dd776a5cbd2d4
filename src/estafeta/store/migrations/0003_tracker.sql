-- Copies of what somebody sent, each bearing as a keyword what became of it (store/tracker.py).

ALTER TABLE account ADD COLUMN save_sent INTEGER NOT NULL DEFAULT 0;  -- 1: we file what it submits

CREATE TABLE sent_copy (
  account    INTEGER NOT NULL,
  mailbox    INTEGER NOT NULL,
  uid        INTEGER NOT NULL,
  message_id TEXT NOT NULL,               -- as in acceptance, in its brackets
  filed      INTEGER NOT NULL DEFAULT 0,  -- when we filed it ourselves, 0: its owner did
  PRIMARY KEY (account, mailbox, uid)
) WITHOUT ROWID;
-- `filed` makes it hold all that is asked of it: else SQLite would rather walk all of an account.
CREATE INDEX sent_copy_message ON sent_copy (account, message_id, filed);

-- What a report from outside says of a recipient that was relayed, where a token of ours proves it.
-- The fate stays as it is; the copies tell it.
CREATE TABLE proven (
  acceptance INTEGER NOT NULL,
  n          INTEGER NOT NULL,
  failed     INTEGER NOT NULL,            -- 1: it came to nobody; 0: it arrived after all
  PRIMARY KEY (acceptance, n)
) WITHOUT ROWID;

-- All that came of a message somebody submitted, aliases followed. Takes over from the index of
-- those unconfirmed, so that a submission is no dearer.
CREATE INDEX acceptance_submitted ON acceptance (account, message_id) WHERE account IS NOT NULL;
DROP INDEX acceptance_unconfirmed;
