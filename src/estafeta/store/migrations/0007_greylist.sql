-- Who was asked to come again, and who did (store/greylist.py). Written on first sight and on passing.

CREATE TABLE greylist (
  key    BLOB PRIMARY KEY,                -- hash over who, from which sender, to whom
  first  INTEGER NOT NULL,                -- when it was seen first
  passed INTEGER NOT NULL DEFAULT 0,      -- when it came again in time; 0: not yet
  seen   INTEGER NOT NULL                 -- the day since 1970 UTC of the last use; forgotten some time after
) WITHOUT ROWID;
CREATE INDEX greylist_seen ON greylist (seen);
