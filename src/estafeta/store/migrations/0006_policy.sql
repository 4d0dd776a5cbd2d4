-- What may come in, as administrators and owners of accounts say it (deliver/policy).

CREATE TABLE policy (
  scope TEXT PRIMARY KEY,                 -- '' the installation, a domain, or the address of an account
  rules TEXT NOT NULL,                    -- JSON of what is said there; the rest is as in the wider scope
  who   TEXT NOT NULL,
  at    INTEGER NOT NULL
) WITHOUT ROWID;
