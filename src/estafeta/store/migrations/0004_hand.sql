-- The queue in the hand of operators and senders (queue/hand.py), and who may reach for it by HTTP.

-- What somebody wants of a row that is being attempted, as JSON (queue/wish.py): granted where the
-- attempt leaves it waiting.
ALTER TABLE queue ADD COLUMN wish TEXT NOT NULL DEFAULT '';
CREATE INDEX queue_wish ON queue (destination) WHERE wish <> '';

-- Destinations that are not attempted until somebody says so; '*' is all of them.
CREATE TABLE suspension (
  destination TEXT PRIMARY KEY, reason TEXT NOT NULL, who TEXT NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
-- Destinations whose mail goes to another host for the time being; '*' is all of them.
CREATE TABLE drain (
  destination TEXT PRIMARY KEY, host TEXT NOT NULL, port INTEGER NOT NULL, who TEXT NOT NULL,
  at INTEGER NOT NULL
) WITHOUT ROWID;

-- Bearer tokens of the HTTP API.
CREATE TABLE bearer (
  name    TEXT PRIMARY KEY,
  hash    BLOB NOT NULL UNIQUE,           -- SHA-256 of the token, which is shown once
  account INTEGER,                        -- whose messages it sees; NULL: administration
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL DEFAULT 0,     -- 0: never
  used    INTEGER NOT NULL DEFAULT 0      -- the day since 1970 UTC on which it was used last; 0: never
) WITHOUT ROWID;
