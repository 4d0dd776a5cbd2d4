-- Servers that have no time for us, and domains that asked us to slow down (queue/backoff.py).

CREATE TABLE backoff (
  name       TEXT PRIMARY KEY,            -- a host, with its port where that is not 25; or '@' domain
  since      INTEGER NOT NULL,            -- the first failure of those in a row
  failures   INTEGER NOT NULL,
  changed    INTEGER NOT NULL,            -- the last one; an attempt that began before adds nothing
  not_before INTEGER NOT NULL,            -- of the next probe; while there is one, when it is not waited for any more
  due        INTEGER NOT NULL,            -- not_before, or when the first row that waits is due; a hint that may be early
  prober     INTEGER,                     -- first lease token of the worker that is at it
  why        TEXT NOT NULL                -- JSON of the last Outcome
) WITHOUT ROWID;
CREATE INDEX backoff_due ON backoff (due, name);

-- Which of them a destination waits for. Those that do are not among those that are looked at: a
-- million rows for a server that is down cost the rest nothing.
ALTER TABLE destination ADD COLUMN waits_for TEXT NOT NULL DEFAULT '';
CREATE INDEX destination_waiting ON destination (waits_for, due, name) WHERE waits_for <> '';
DROP INDEX destination_due;
CREATE INDEX destination_due ON destination (due, name) WHERE waits_for = '';
