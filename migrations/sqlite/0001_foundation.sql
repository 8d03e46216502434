-- Work to be done after a transaction commits. A finished job is deleted; one that failed for good stays, dead.
CREATE TABLE jobs (
  id              BLOB    NOT NULL PRIMARY KEY,
  kind            TEXT    NOT NULL,
  organization_id BLOB,
  payload         TEXT    NOT NULL,
  state           TEXT    NOT NULL,
  run_at          INTEGER NOT NULL,
  attempts        INTEGER NOT NULL,
  fence           INTEGER NOT NULL,
  lease_until     INTEGER,
  last_error      TEXT,
  created_at      INTEGER NOT NULL,
  CONSTRAINT jobs_state_check CHECK (state IN ('ready', 'running', 'dead')),
  CONSTRAINT jobs_lease_check CHECK ((state = 'running') = (lease_until IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_state_run_at_idx ON jobs (state, run_at, id);
-- Only of what runs: an index that also held the waiting ones was taken to find those, in no order.
CREATE INDEX jobs_lease_until_idx ON jobs (lease_until) WHERE state = 'running';

-- Answers of mutating calls, kept so that a repetition gets the first answer.
CREATE TABLE idempotency_keys (
  principal  TEXT    NOT NULL,
  method     TEXT    NOT NULL,
  key        BLOB    NOT NULL,
  body_hash  BLOB    NOT NULL,
  answer     TEXT,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (principal, method, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at);
