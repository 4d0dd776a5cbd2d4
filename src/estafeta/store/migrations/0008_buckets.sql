-- Token buckets that workers and nodes share, each merging what it has taken (store/buckets.py).

CREATE TABLE bucket (
  name  TEXT PRIMARY KEY,                 -- what is limited, and for whom
  level INTEGER NOT NULL,                 -- tokens that are left, in thousand-millionths
  at    INTEGER NOT NULL,                 -- of that level
  ends  INTEGER NOT NULL                  -- when it is full again if nobody takes: forgotten then
) WITHOUT ROWID;
CREATE INDEX bucket_ends ON bucket (ends);

-- Accounts that may send nothing until somebody lets them (submit/outbound.py).
CREATE TABLE stopped_sender (
  account INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  why     TEXT NOT NULL,
  told    INTEGER NOT NULL DEFAULT 0      -- 1: its owner and the administrator know
) WITHOUT ROWID;
