-- Mail that is held because of a fault of our own set-up, until a check of that very thing passes
-- (queue/parked.py). The row of `queue` is held meanwhile, for the reason that stands here too.

CREATE TABLE parked (
  acceptance INTEGER NOT NULL,
  n          INTEGER NOT NULL,
  fault      TEXT NOT NULL,               -- code, explain/faults.toml
  about      TEXT NOT NULL,               -- what is checked: addresses, domains, zones; one blank between
  family     TEXT NOT NULL,               -- whose servers refused us
  held       TEXT NOT NULL,               -- as in queue.held: another reason there is somebody else's
  since      INTEGER NOT NULL,
  until      INTEGER NOT NULL,            -- returned then
  releases   INTEGER NOT NULL DEFAULT 0,  -- times the check has passed, and the mail was refused again
  next       INTEGER NOT NULL DEFAULT 0,  -- not released again before
  PRIMARY KEY (acceptance, n)
) WITHOUT ROWID;
CREATE INDEX parked_until ON parked (until);
CREATE INDEX parked_fault ON parked (fault, about);

-- What was found of each such thing, and when it is looked at again.
CREATE TABLE fault (
  code    TEXT NOT NULL,
  about   TEXT NOT NULL,
  due     INTEGER NOT NULL,               -- of the next check
  seen    INTEGER NOT NULL,               -- mail was held for it then; it is forgotten a while after
  finding TEXT NOT NULL DEFAULT '',       -- JSON of the last Checked (explain/faults.py)
  PRIMARY KEY (code, about)
) WITHOUT ROWID;
-- Which of them the administrator was told of, by whose servers refused us.
CREATE TABLE fault_told (
  code TEXT NOT NULL, about TEXT NOT NULL, family TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (code, about, family)
) WITHOUT ROWID;
-- What is held is found without looking at all that waits.
CREATE INDEX queue_held ON queue (held) WHERE held <> '';
