-- Who was asked to come again, and who did (store/greylist.py). Written on first sight and on passing.

CREATE TABLE greylist (
  key    BLOB PRIMARY KEY,                -- hash over who; then, but for the row of who, over sender and recipient
  first  INTEGER NOT NULL,                -- when it was seen first
  passed INTEGER NOT NULL DEFAULT 0,      -- when it came again in time; 0: not yet
  came   INTEGER NOT NULL DEFAULT 0,      -- of who: messages that came again; passed is then of the last
  ends   INTEGER NOT NULL                 -- the last day, since 1970 UTC, on which it counts
) WITHOUT ROWID;
CREATE INDEX greylist_ends ON greylist (ends);

-- Whom an account has written to of late is asked for each stranger.
CREATE INDEX acceptance_by_account ON acceptance (account, id) WHERE account IS NOT NULL;
