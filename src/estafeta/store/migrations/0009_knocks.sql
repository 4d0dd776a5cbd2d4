-- Who tried to reach an account and did not get in, or not yet (store/knocks.py), and whom its owner
-- lets in once (store/admissions.py).

CREATE TABLE knock (
  account   INTEGER NOT NULL,
  id        INTEGER NOT NULL,             -- time-ordered, store/ids.py
  who       TEXT NOT NULL,                -- organisation of the server, or its network; '*' for many
  sender    TEXT NOT NULL,                -- reverse-path, folded, '' for none; '*' for many
  cause     TEXT NOT NULL,                -- code of explain/causes.toml
  named     TEXT NOT NULL,                -- the address that was asked for, of the last time
  proof     INTEGER NOT NULL,             -- 2: the server is the sender's; 1: it has a name; 0: neither
  first     INTEGER NOT NULL,
  began     INTEGER NOT NULL,             -- the first one since it last came in
  last      INTEGER NOT NULL,
  times     INTEGER NOT NULL,
  arrived   INTEGER NOT NULL DEFAULT 0,   -- when it came in after all; 0: it did not
  detail    TEXT NOT NULL,                -- JSON of store.knocks.Detail, of the last time
  PRIMARY KEY (account, id)
) WITHOUT ROWID;
-- Attempts by the same for the same reason are one row.
CREATE UNIQUE INDEX knock_same ON knock (account, who, sender, cause);
CREATE INDEX knock_last ON knock (account, last);
CREATE INDEX knock_old ON knock (last);

CREATE TABLE admission (
  account INTEGER NOT NULL,
  id      INTEGER NOT NULL,
  knock   INTEGER NOT NULL,               -- for which it was given
  domain  TEXT NOT NULL,                  -- of an aligned sender; '' : network and sender count
  network TEXT NOT NULL,
  sender  TEXT NOT NULL,                  -- folded, as in knock
  at      INTEGER NOT NULL,
  until   INTEGER NOT NULL,
  used    INTEGER,                        -- the acceptance it let in
  PRIMARY KEY (account, id)
) WITHOUT ROWID;
CREATE INDEX admission_until ON admission (until);
